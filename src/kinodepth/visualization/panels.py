"""Pictures made of an image and its depth: side by side, contact sheets, error maps, labels. All H x W x 3 uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kinodepth.visualization.colormap import Range, as_array, colorize, colorize_error


def to_picture(image: np.ndarray | Tensor) -> np.ndarray:
    """A 3 x H x W image in [0, 1] as H x W x 3 uint8."""
    array = image.detach().float().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    return (array.transpose(1, 2, 0).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def fit(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture scaled (aspect kept) to the largest size within ``width`` x ``height``; never enlarged."""
    scale = min(width / picture.shape[1], height / picture.shape[0], 1.0)
    if scale == 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def label(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with ``text`` on a dark plate in its top left corner."""
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(max(11, min(picture.shape[:2]) // 16))
    left, top, right, bottom = draw.textbbox((8, 6), text, font=font)
    draw.rectangle((left - 5, top - 4, right + 5, bottom + 4), fill=(0, 0, 0, 150))
    draw.text((8, 6), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(canvas)


def image_and_depth(image: np.ndarray | Tensor, depth: np.ndarray | Tensor, span: Range, text: str = "") -> np.ndarray:
    """The image beside its coloured depth (below it if the image is wide), at the size of the image."""
    picture = to_picture(image)
    height, width = picture.shape[:2]
    colors = colorize(depth, span)
    if colors.shape != picture.shape:
        colors = np.asarray(Image.fromarray(colors).resize((width, height), Image.Resampling.BILINEAR))
    joined = np.concatenate([picture, colors], axis=0 if width > 2 * height else 1)
    return label(joined, text) if text else joined


def error_map(depth: np.ndarray | Tensor, truth: np.ndarray | Tensor, largest: float = 0.5) -> np.ndarray:
    """|depth - truth| / truth from 0 to ``largest`` in colour, grey where ``truth`` is 0; both H x W."""
    predicted, measured = as_array(depth), as_array(truth)
    known = measured > 0
    error = np.where(known, np.abs(predicted - measured) / np.where(known, measured, 1), np.nan)
    return colorize_error(error, largest)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 4, gap: int = 4) -> np.ndarray:
    """Pictures (sizes may differ) row by row on white, each in a cell of the largest size."""
    height = max(p.shape[0] for p in pictures)
    width = max(p.shape[1] for p in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def depth_legend(span: Range, height: int = 160) -> np.ndarray:
    """A vertical bar from far (top) to near (bottom) with its values, to be shown beside coloured depth."""
    near, far = span
    inverse = np.linspace(1 / far, 1 / near, height, dtype=np.float32)[:, None]
    bar = colorize(1 / inverse.repeat(18, 1), span)
    canvas = Image.new("RGB", (72, height), "white")
    canvas.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(12)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        row = part * (height - 1)
        value = 1 / (1 / far + part * (1 / near - 1 / far))
        draw.text((24, min(max(row - 7, 0), height - 15)), f"{value:.3g}", font=font, fill="black")
    return np.asarray(canvas)
