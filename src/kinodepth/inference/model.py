"""A method with its weights on a device, ready to predict: ``load``."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from kinodepth import methods
from kinodepth.inference import stream
from kinodepth.inference.odometry import SelfPosedPredictor
from kinodepth.methods.base import Conversion, Method, Predictor
from kinodepth.methods.weights import read_weights
from kinodepth.types import Frame, InputError, Prediction, Sequence

Precision = Literal["fp32", "bf16"]
Resolution = Literal["image", "network"]


@dataclass(frozen=True)
class DepthModel:
    """A method's network on a device. ``source`` names the weights file, ``weights_sha256`` is its hash; ``outputs``
    are predicted besides depth (see ``with_outputs``). ``odometry`` predicts the poses of video without
    (see ``with_odometry``)."""

    method: Method
    network: nn.Module
    device: torch.device
    precision: Precision = "fp32"
    source: str = "untrained"
    weights_sha256: str | None = None
    outputs: frozenset[str] = frozenset()
    odometry: DepthModel | None = None

    @property
    def needs(self) -> frozenset[str]:
        """The fields that a frame must carry."""
        needs = self.method.requires.inference.union(*(self.method.outputs[name] for name in self.outputs))
        return needs if self.odometry is None else (needs - {"cam_to_world"}) | self.odometry.needs

    @property
    def predictor(self) -> Predictor:
        """The step API: ``state = predictor.init(); prediction, state = predictor.step(frame, state)``."""
        wanted = (self.outputs,) if self.outputs else ()
        own = _OnDevice(self.method.predictor(self.network, *wanted), self.device, self.precision)
        return own if self.odometry is None else SelfPosedPredictor(own, self.odometry.predictor)

    def predict(
        self,
        source: Sequence | Iterable[Frame],
        resolution: Resolution = "image",
        latency: stream.Latency | None = None,
    ) -> Iterator[Prediction]:
        """Yield one prediction per frame, at the size of the image or of the network, in the processor's memory.

        Nothing is kept.
        """
        frames = self.frames(source) if isinstance(source, Sequence) else source
        if resolution == "network":
            yield from (found.cpu() for found in stream.predict(frames, self.predictor, latency=latency))
            return
        size = [0, 0]

        def watched() -> Iterator[Frame]:
            for frame in frames:
                size[:] = frame.image.shape[-2:]
                yield frame

        for prediction in stream.predict(watched(), self.predictor, latency=latency):
            yield stream.resize_prediction(prediction, size[1], size[0]).cpu()

    def frames(self, sequence: Sequence, indices: Iterable[int] | None = None) -> Iterator[Frame]:
        """Read the frames with no more than the method needs. Raises ``InputError`` if the recording lacks a field."""
        self.check(sequence)
        for index in range(len(sequence)) if indices is None else indices:
            yield sequence.read(index, self.needs)

    def check(self, sequence: Sequence, elsewhere: frozenset[str] = frozenset()) -> None:
        """Raise ``InputError`` unless ``sequence`` has frames and provides what the method needs and does not get from
        ``elsewhere``."""
        if len(sequence) == 0:
            raise InputError(f"{sequence.source or sequence.name} has no frames; expected at least one image")
        missing = self.method.requires.missing(self.needs - elsewhere, sequence)
        if missing:
            hint = ", take it from a pose network (predict --poses RUN)" if self._could_have_poses(missing) else ""
            raise InputError(
                f"{sequence.source or sequence.name} has no {', '.join(missing)} for every frame; {self.method.name} "
                f"needs that to predict; add it to the folder (see docs/data.md){hint} or use a method without this "
                "need"
            )

    def _could_have_poses(self, missing: list[str]) -> bool:
        return missing == ["cam_to_world"] and self.method.one_picture


def load(
    method: str,
    weights: str | Path | None = None,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    config: Mapping[str, Any] | None = None,
) -> DepthModel:
    """Load ``method`` with ``weights``: our safetensors file, a run folder (its best, else its last checkpoint) or a
    published checkpoint. Our files know their method, so that their path alone will do: ``load("run")``.

    ``config`` overrides settings, e.g. height and width. Without weights those that kinodepth ships are taken; if there
    are none the network is untrained, which is warned of.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision {precision!r} is unknown; expected fp32 or bf16")
    place = choose_device(device)
    if method not in methods.available() and not Path(method).exists():
        raise InputError(
            f"there is no file or folder {method}, and no method of that name; expected weights, a run folder or "
            f"one of {', '.join(methods.available())}; check the path"
        )
    if weights is None and method not in methods.available() and Path(method).exists():
        method, weights = _method_of(find_weights(method)), method
    chosen = methods.load(method)
    weights = weights or chosen.shipped
    if weights is None:
        warnings.warn(f"{method} without weights is untrained: its depth means nothing", stacklevel=2)
        return DepthModel(chosen, build(chosen, chosen.config(), config).to(place).eval(), place, precision)
    path = find_weights(weights)
    conversion = read(chosen, path)
    if conversion.unexpected:
        warnings.warn(f"{path}: {'; '.join(report(conversion))}", stacklevel=2)
    network = build(chosen, conversion.config, config)
    fill(network, conversion.state_dict, path)
    return DepthModel(chosen, network.to(place).eval(), place, precision, str(path), sha256(path))


def with_outputs(model: DepthModel, names: Iterable[str]) -> DepthModel:
    """``model`` that also predicts ``names`` of ``model.method.outputs``; ``depth`` is always predicted.

    Raises ``InputError`` for a name that the method cannot give.
    """
    wanted = frozenset(names) - {"depth"}
    unknown = ", ".join(sorted(wanted - set(model.method.outputs)))
    if unknown:
        known = ", ".join(["depth", *model.method.outputs])
        able = [name for name in methods.available() if wanted <= set(methods.load(name).outputs)]
        hint = f"; {', '.join(able)} can" if able else ""
        raise InputError(f"{model.method.name} cannot predict {unknown}; expected some of {known}{hint}")
    return replace(model, outputs=wanted)


def load_odometry(path: str, model: DepthModel) -> DepthModel:
    """The run or weights at ``path``, whose poses ``model`` is to use, on its device and in its precision."""
    if not is_ours(path):
        raise InputError(
            f"--poses {path} is no run folder or weights file of kinodepth; expected those of a method that predicts "
            "poses, as rm_depth; recorded poses belong into the folder of the recording (docs/data.md)"
        )
    return load(path, device=str(model.device), precision=model.precision)


def with_odometry(model: DepthModel, poses: DepthModel) -> DepthModel:
    """``model`` fed with the poses that ``poses`` predicts; its depth is then known up to one factor.

    Raises ``InputError`` if the one has no use for poses of another unit or the other does not predict them.
    """
    name = model.method.name
    if "cam_to_world" not in model.method.requires.inference:
        raise InputError(f"{name} does without poses; expected a method that needs some; leave --poses out")
    if not model.method.one_picture:
        able = ", ".join(other for other in methods.available() if methods.load(other).one_picture)
        raise InputError(
            f"{name} sees no depth in a frame without pose, by which predicted poses could be scaled; expected one of "
            f"{able}; use that, or record poses (docs/data.md)"
        )
    return replace(model, odometry=with_outputs(poses, ["poses"]))


def read(method: Method, path: Path) -> Conversion:
    """The weights in ``path``, our own or published. Raises ``InputError`` for those of another method."""
    if path.suffix != ".safetensors":
        return method.convert(path)
    name, stored, state, _ = read_weights(path)
    if name != method.name:
        raise InputError(f"{path} holds weights of {name}; expected {method.name}; give that method or other weights")
    return Conversion(method.config(**stored), state)


def build(method: Method, settings: Any, overrides: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of ``settings``, with seeded random weights; nothing is downloaded for a start that is replaced."""
    changes = dict(overrides or {})
    known = {f.name for f in fields(settings)}
    unknown = ", ".join(sorted(set(changes) - known))
    if unknown:
        raise InputError(f"{method.name} has no setting {unknown}; expected some of {', '.join(sorted(known))}")
    if "pretrained" in known:
        changes.setdefault("pretrained", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return method.build(replace(settings, **changes))


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into ``network``. Raises ``InputError`` unless every tensor has its place and its size."""
    try:
        found = network.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # sizes differ
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"{path} does not fit the network ({first}); expected weights of this configuration") from None
    if found.missing_keys or found.unexpected_keys:
        examples = ", ".join([*found.missing_keys, *found.unexpected_keys][:3])
        raise InputError(
            f"{path} does not fit the network: {len(found.missing_keys)} tensors missing, "
            f"{len(found.unexpected_keys)} unknown ({examples}); expected weights of this method and configuration"
        )


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of ``name``; ``auto`` is the first there is of cuda, mps, cpu."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"device {name!r} is not here; expected auto, cpu, cuda, cuda:N or mps; use auto") from None
    return device


def is_ours(path: str | Path) -> bool:
    """Whether ``path`` is a run folder or a weights file of kinodepth, which know their method."""
    return Path(path).suffix == ".safetensors" or (Path(path) / "checkpoints").is_dir()


def find_weights(path: str | Path) -> Path:
    """The weights file of a file or run folder (its best, else its last checkpoint)."""
    path = Path(path)
    if path.is_dir():
        candidates = [path / "checkpoints" / f"{name}.safetensors" for name in ("best", "last")]
        found = [c for c in candidates if c.is_file()]
        if not found:
            raise InputError(
                f"{path} is a folder without checkpoints/best.safetensors or last.safetensors; expected a run folder; "
                "give a weights file or the folder that kinodepth train wrote"
            )
        return found[0]
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected a weights file or a run folder; check the path")
    return path


def report(conversion: Conversion) -> list[str]:
    """Sentences about the keys of a converted checkpoint that did not match."""
    lines = [f"{len(conversion.state_dict)} tensors matched"]
    for keys, meaning in ((conversion.missing, "missing from it"), (conversion.unexpected, "in it but not used")):
        if keys:
            lines.append(f"{len(keys)} {meaning}: {', '.join(keys)}")
    if conversion.surplus:
        lines.append(f"{len(conversion.surplus)} in it that this method never uses")
    return lines


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _OnDevice:
    """A predictor fed on its device, in its precision."""

    def __init__(self, inner: Predictor, device: torch.device, precision: Precision) -> None:
        self.inner, self.device, self.precision = inner, device, precision

    def init(self) -> Any:
        return self.inner.init()

    def step(self, frame: Frame, state: Any) -> tuple[Prediction | None, Any]:
        def move(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.to(self.device)

        frame = replace(
            frame, image=frame.image.to(self.device), depth=move(frame.depth), prior_depth=move(frame.prior_depth)
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            prediction, state = self.inner.step(frame, state)
        if prediction is not None and prediction.depth.dtype != torch.float32:
            prediction = replace(prediction, depth=prediction.depth.float())
        return prediction, state


def _method_of(path: Path) -> str:
    if path.suffix != ".safetensors":
        raise InputError(
            f"{path} does not say its method; expected our safetensors; give the method and --weights {path}"
        )
    return read_weights(path)[0]
