"""From files matched by stem to a ``Sequence``: what every format needs, and nothing a format knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kinodepth.data.calibration import read_numbers
from kinodepth.data.images import list_images, read_array, read_color_mask, read_depth, read_ids, read_image, read_mask
from kinodepth.types import Camera, InputError, Record, Sequence

MAP_SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff")
Loaders = Mapping[str, Callable[[], Tensor]]


def by_stem(folder: Path, suffixes: tuple[str, ...] = MAP_SUFFIXES) -> dict[str, Path]:
    """Files of ``folder`` by stem; empty if there is no such folder. Two files of one stem raise ``InputError``."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise InputError(
                    f"{path} and {found[path.stem].name} are both called {path.stem}; expected one; remove one"
                )
            found[path.stem] = path
    return found


def depth_maps(
    folder: Path, divisor: float = 1.0, read: Callable[[Path, float], Tensor] = read_depth
) -> dict[str, Callable[[], Tensor]]:
    """Readers of depth maps by stem; ``divisor`` for integer images, arrays hold the unit itself."""
    return {
        stem: partial(read, path, divisor if path.suffix not in (".npy", ".npz") else 1.0)
        for stem, path in by_stem(folder).items()
    }


def mask_maps(folder: Path, ids: bool = False) -> dict[str, Callable[[], Tensor]]:
    """Readers of masks (bool) or instance ids (int32) by stem."""
    return {stem: partial(read_ids if ids else read_mask, path) for stem, path in by_stem(folder).items()}


def color_masks(folder: Path) -> dict[str, Callable[[], Tensor]]:
    """Readers of dynamic masks (bool) by stem: RGB .png whose colours dynamic_colors.txt lists (spec sc_depth 13.4)."""
    file = folder / "dynamic_colors.txt"
    rows = read_numbers(file) if file.is_file() else []
    if not rows or any(len(row) != 3 or not all(v in range(256) for v in row) for row in rows):
        raise InputError(
            f"{folder} has no usable dynamic_colors.txt; expected one 'R G B' row (0 to 255) per dynamic class; add it"
        )
    colors = torch.tensor(rows).long()
    return {stem: partial(read_color_mask, path, colors) for stem, path in by_stem(folder, (".png",)).items()}


def array_maps(folder: Path) -> dict[str, Callable[[], Tensor]]:
    """Readers of C x H x W float arrays by stem."""
    return {stem: partial(_array, path) for stem, path in by_stem(folder, (".npz", ".npy")).items()}


def sequence_of(
    name: str,
    images: list[Path],
    source: Path,
    camera: Camera | None = None,
    poses: Mapping[str, Tensor] | None = None,
    timestamps: Mapping[str, float] | None = None,
    maps: Mapping[str, Mapping[str, Callable[[], Tensor]]] | None = None,
) -> Sequence:
    """A recording of ``images`` with what is known about them, see ``joined``. Two images of one stem, and none at all,
    raise ``InputError``."""
    if not images:
        raise InputError(f"{source} has no images; expected files such as .jpg or .png; check the folder")
    stems = [path.stem for path in images]
    if len(set(stems)) < len(stems):
        twice = next(s for s in stems if stems.count(s) > 1)
        raise InputError(f"{source} has two images called {twice}; expected one file per frame; remove one")
    records = [Record(path.stem, {"image": partial(read_image, path)}) for path in images]
    return joined(Sequence(name, records, str(source)), camera, poses, timestamps, maps)


def joined(
    sequence: Sequence,
    camera: Camera | None = None,
    poses: Mapping[str, Tensor] | None = None,
    timestamps: Mapping[str, float] | None = None,
    maps: Mapping[str, Mapping[str, Callable[[], Tensor]]] | None = None,
) -> Sequence:
    """``sequence`` with ``poses``, ``timestamps`` and ``maps`` (by field, then stem) of the frames of those names.

    Frames without an entry simply lack that field. A field none of whose stems is a frame's name raises ``InputError``.
    """
    stems = [record.name for record in sequence.records]
    for field, entries in {"poses": poses, "timestamps": timestamps, **(maps or {})}.items():
        if entries and not set(entries) & set(stems):
            raise InputError(
                f"{sequence.source}: none of the {len(entries)} {field} entries (such as {next(iter(entries))}) "
                f"belongs to an image (such as {stems[0]}); expected equal names; rename one side"
            )
    records = []
    for record in sequence.records:
        load = {field: entries[record.name] for field, entries in (maps or {}).items() if record.name in entries}
        time, pose = (timestamps or {}).get(record.name, record.timestamp), (poses or {}).get(record.name)
        records.append(Record(record.name, {**record.load, **load}, time, camera, pose))
    return Sequence(sequence.name, records, sequence.source)


def images_in(folder: Path) -> list[Path]:
    """Images of ``folder`` in name order. Raises ``InputError`` where there is none."""
    found = list_images(folder)
    if not found:
        raise InputError(f"{folder} has no images; expected files such as .jpg or .png; check the folder")
    return found


def _array(path: Path) -> Tensor:
    values = torch.from_numpy(read_array(path)).float()
    return values if values.ndim == 3 else values[None]
