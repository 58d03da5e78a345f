"""``prior/`` of a folder recording: depth from another network, map by map, with what the numbers are in prior.json.

prior/<stem>.npy is H x W float32 at image size. prior.json says ``quantity`` (depth or inverse_depth), ``scale``
(metric: metres or 1/m; affine: up to factor and shift, of each frame its own) and ``source``. Unknown is 0, but NaN in
affine inverse depth, where 0 is far away (``folder.prior_maps`` reads it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinodepth.data.calibration import read_json
from kinodepth.data.files import atomic
from kinodepth.data.folder import home
from kinodepth.data.images import read_depth, read_map
from kinodepth.data.predictions import open_predictions
from kinodepth.data.records import by_stem
from kinodepth.geometry.sampling import resize
from kinodepth.types import InputError, Sequence

ABOUT = "prior.json"
QUANTITIES, SCALES = ("depth", "inverse_depth"), ("metric", "affine")
KNOWN = {  # what the networks of transformers estimate, by model type (their documentation)
    "dpt": ("inverse_depth", "affine"),
    "glpn": ("depth", "metric"),
    "zoedepth": ("depth", "metric"),
    "depth_pro": ("depth", "metric"),
}


@dataclass(frozen=True)
class Source:
    """Where priors come from: ``read`` gives 1 x h x w values of any size for the name of a frame."""

    read: Callable[[str], Tensor]
    quantity: str
    scale: str
    name: str

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES or self.scale not in SCALES:
            raise InputError(
                f"{self.name} is said to hold {self.quantity} of scale {self.scale}; expected depth or inverse_depth, "
                "metric or affine; give --quantity and --scale"
            )


def check_home(sequence: Sequence) -> Path:
    """The place for prior/ of ``sequence``. Raises ``InputError`` for a recording that is no folder."""
    folder = home(sequence) / "prior"
    if not folder.parent.is_dir() or sequence.source == "":
        raise InputError(
            f"{sequence.source or sequence.name} is no folder to put prior/ into; expected the folder contract; run "
            "kinodepth prepare first"
        )
    return folder


def write_prior(sequence: Sequence, source: Source, overwrite: bool = False) -> Iterator[bool]:
    """Write the prior of every frame into the folder of ``sequence``; yields whether it was new. What is there is kept.

    Raises ``InputError`` for a recording that is no folder, and for other priors there unless ``overwrite``.
    """
    folder = check_home(sequence)
    about = {"quantity": source.quantity, "scale": source.scale, "source": source.name}
    before = read_json(folder / ABOUT) if (folder / ABOUT).is_file() else None
    there = by_stem(folder)
    if before != about and (before or there) and not overwrite:
        raise InputError(
            f"{folder} holds priors of {(before or {}).get('source', 'unknown origin')}; expected none, or those of "
            f"{source.name}; add --overwrite to replace them"
        )
    if overwrite:
        for file in there.values():
            file.unlink()
        there = {}
    with atomic(folder / ABOUT) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    known = torch.isfinite if _is_affine_inverse(source.quantity, source.scale) else _is_positive
    for index, record in enumerate(sequence.records):
        if record.name not in there:
            values = _fitted(source.read(record.name), sequence.read(index, ()).image.shape[-2:], known)
            if not bool(known(values).any()):
                raise InputError(
                    f"{source.name} says nothing about frame {record.name}; expected {source.quantity} above 0; check "
                    "it, or --quantity"
                )
            with atomic(folder / f"{record.name}.npy") as temporary:
                np.save(temporary, values[0].numpy())
        yield record.name not in there


def _is_affine_inverse(quantity: str, scale: str) -> bool:
    return (quantity, scale) == ("inverse_depth", "affine")


def _is_positive(values: Tensor) -> Tensor:
    return values.isfinite() & (values > 0)


def _fitted(values: Tensor, size: torch.Size, known: Callable[[Tensor], Tensor]) -> Tensor:
    """1 x H x W at image ``size``; smoothly resized where every pixel is known."""
    if values.shape[-2:] == size:
        return values
    is_whole = bool(known(values).all())
    return resize(values[None], size, "bilinear" if is_whole else "nearest", antialias=is_whole)[0]


def from_maps(path: Path, quantity: str | None, scale: str | None, divisor: float | None) -> Source:
    """The maps of a folder (.npy, .npz, 16-bit .png by frame name), or of what ``kinodepth predict`` wrote."""
    found = open_predictions(path, quantity, scale, divisor)
    if scale is None and "scale" not in found.about:
        raise InputError(f"{path} does not say how far its values can be trusted; expected --scale metric or affine")
    if quantity is None and "quantity" not in found.about:
        raise InputError(f"{path} does not say what its values are; expected --quantity depth or inverse_depth")

    trust = "metric" if found.scale == "metric" else "affine"

    def read(name: str) -> Tensor:
        if name not in found:
            raise InputError(f"{path} has no map for frame {name}; expected one per frame; complete it or rename files")
        return found.stored(name, read_map if _is_affine_inverse(found.quantity, trust) else read_depth)

    return Source(read, found.quantity, trust, str(path.resolve()))


def from_model(
    name: str, images: Sequence, quantity: str | None = None, scale: str | None = None, device: str = "cpu"
) -> Source:
    """A depth-estimation network of transformers, by the name it is published under or the folder it was saved to."""
    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils import logging
    except ImportError as error:
        raise InputError(
            f"transformers cannot be used ({error}); priors of a network need it; pip install 'kinodepth[prior]'"
        ) from None
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        processor = AutoImageProcessor.from_pretrained(name)
        network = AutoModelForDepthEstimation.from_pretrained(name).to(device).eval()
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the network {name} cannot be loaded ({reason}); expected a depth-estimation model of transformers; "
            "download it where there is a network and give its folder"
        ) from None
    known = _meaning(network.config)
    place = {record.name: index for index, record in enumerate(images.records)}

    def read(frame: str) -> Tensor:
        if frame not in place:
            raise InputError(f"{images.name} has no frame {frame}; expected the same frame names; check the sequence")
        image = images.read(place[frame], ()).image
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        with torch.inference_mode():
            outputs = network(**processor(images=pixels, return_tensors="pt").to(device))
            sizes = [tuple(image.shape[-2:])]
            found = processor.post_process_depth_estimation(outputs, target_sizes=sizes)[0]["predicted_depth"]
        values: Tensor = found.float().cpu().reshape(1, *image.shape[-2:])
        return values

    return Source(read, quantity or known[0], scale or known[1], name)


def _meaning(config: Any) -> tuple[str, str]:
    kind = str(config.model_type)
    if kind == "depth_anything":
        is_metric = config.depth_estimation_type == "metric"
        return ("depth", "metric") if is_metric else ("inverse_depth", "affine")
    return KNOWN.get(kind, ("unknown quantity", "unknown"))
