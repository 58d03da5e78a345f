"""Still images, depth maps and masks from disk, whatever they were saved as."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from kinodepth.types import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def read_image(path: Path) -> Tensor:
    """3 x H x W float32 RGB in [0, 1]. Grey is repeated, alpha dropped, 16 bits kept, the EXIF orientation honoured.

    Raises ``InputError`` naming a file that is missing, truncated or no image.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
            grey = np.asarray(upright, np.float32) / (1.0 if upright.mode == "F" else 65535.0)
            return torch.from_numpy(np.repeat(grey.clip(0, 1)[None], 3, 0))
        pixels = np.array(upright.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div_(255)


def read_depth(path: Path, divisor: float = 1.0) -> Tensor:
    """1 x H x W float32 depth from .png (integer), .npy or .npz; value / ``divisor``, 0 = no measurement.

    An .npz holds ``depth``, a single array, or a scipy sparse matrix. Negative and non-finite values become 0.
    Raises ``InputError`` for a file that cannot be read or is no map.
    """
    depth = read_map(path, divisor)
    return torch.where(torch.isfinite(depth) & (depth > 0), depth, 0.0)


def read_map(path: Path, divisor: float = 1.0) -> Tensor:
    """1 x H x W float32, value / ``divisor``, from a file as ``read_depth`` takes; whatever the values are."""
    values = read_array(path)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):  # 1 x H x W, as many networks save it
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2:
        raise InputError(
            f"{path} has shape {values.shape}; expected a single H x W depth map; export depth, not colours"
        )
    return torch.from_numpy(np.asarray(values, np.float32) / np.float32(divisor))[None]


def read_mask(path: Path) -> Tensor:
    """1 x H x W bool, true where the map is not 0."""
    return read_ids(path) != 0


def dynamic_from_colors(segmentation: Tensor, dynamic_colors: Tensor) -> Tensor:
    """Pixels of an RGB ``segmentation`` (3 x H x W, 0..255) whose colour equals a row of ``dynamic_colors`` (N x 3).

    Returns 1 x H x W bool. Spec sc_depth 13.4 (exact colours, no resize).
    """
    equal = segmentation.to(torch.int64)[None] == dynamic_colors.to(torch.int64).reshape(-1, 3, 1, 1)
    return equal.all(1).any(0)[None]


def read_color_mask(path: Path, dynamic_colors: Tensor) -> Tensor:
    """1 x H x W bool: the pixel of an RGB or palette image has one of ``dynamic_colors`` (N x 3, 0..255)."""
    with _opened(path) as image:
        return dynamic_from_colors(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1), dynamic_colors)


def read_ids(path: Path) -> Tensor:
    """1 x H x W int32 values of an integer map; of a colour map the index of the palette, or 1 where not black."""
    values = read_array(path)
    if values.ndim == 3:
        values = np.asarray(values[..., :3].any(-1))
    return torch.from_numpy(values.astype(np.int32))[None]


def read_array(path: Path) -> np.ndarray:
    """The values of a .png, .npy or .npz file as they are stored."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return _from_npz({key: file[key] for key in file.files}, path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as a NumPy file ({error}); expected an intact file; write it again"
        ) from None
    with _opened(path) as image:
        return np.array(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright image, from its header."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise _broken(path, error) from None
    return (height, width) if turned else (width, height)


def list_images(folder: Path) -> list[Path]:
    """Image files of ``folder`` sorted by name; hidden files are left out."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise _broken(path, error) from None
    return image


def _broken(path: Path, error: Exception) -> InputError:
    if not path.exists():
        return InputError(f"{path} does not exist; expected an image; check the path")
    reason = "truncated or damaged" if "truncated" in str(error) or "broken" in str(error) else "not a readable image"
    return InputError(f"{path} is {reason}; expected an intact image file; copy it again or remove it")


def _from_npz(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    if {"format", "shape", "data"} <= set(arrays):
        return _dense(arrays)
    for key in ("depth", "values", "arr_0"):
        if key in arrays:
            return arrays[key]
    maps = [value for value in arrays.values() if value.ndim >= 2]
    if len(maps) == 1:
        return maps[0]
    raise InputError(
        f"{path} holds {', '.join(arrays) or 'nothing'}; expected one map called depth; save it under that name"
    )


def _dense(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """A matrix saved by ``scipy.sparse.save_npz``."""
    from scipy import sparse

    kind = arrays["format"].item()
    kind = kind.decode() if isinstance(kind, bytes) else kind
    shape = tuple(arrays["shape"])
    if kind == "coo":
        return sparse.coo_matrix((arrays["data"], (arrays["row"], arrays["col"])), shape=shape).toarray()
    maker = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[kind]
    return maker((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape).toarray()
