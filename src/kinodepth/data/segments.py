"""``masks/instances/`` (and ``masks/road/``) of a folder recording, from a segmentation network or from masks that are
there already: what methods with objects learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinodepth.data.files import atomic
from kinodepth.data.folder import home
from kinodepth.data.images import read_mask
from kinodepth.data.records import by_stem
from kinodepth.geometry.sampling import resize
from kinodepth.types import InputError, Sequence

# Names, in COCO and Cityscapes, of what moves by itself and of what it moves on.
MOVABLE = frozenset(
    {
        "person",
        "rider",
        "bicycle",
        "car",
        "motorcycle",
        "motorbike",
        "airplane",
        "aeroplane",
        "bus",
        "train",
        "truck",
        "boat",
        "caravan",
        "trailer",
        "bird",
        "cat",
        "dog",
        "horse",
        "sheep",
        "cow",
        "elephant",
        "bear",
        "zebra",
        "giraffe",
    }
)
ROAD = frozenset({"road", "pavement-merged", "sidewalk", "ground"})
LEAST_SCORE = 0.5


@dataclass(frozen=True)
class Segments:
    """Of one frame: ``masks`` N x H x W bool of things that can move, and the ``road`` 1 x H x W, if it is known."""

    masks: Tensor
    road: Tensor | None = None


Reader = Callable[[str, Tensor], Segments]


def write_segments(sequence: Sequence, read: Reader) -> Iterator[int]:
    """Write the masks of every frame into the folder of ``sequence``; yields how many objects it has. Frames that have
    theirs are kept. Raises ``InputError`` for a recording that is no folder."""
    folder = home(sequence) / "masks"
    if not folder.parent.is_dir() or sequence.source == "":
        raise InputError(
            f"{sequence.source or sequence.name} is no folder to put masks/ into; expected the folder contract; run "
            "kinodepth prepare first"
        )
    there = by_stem(folder / "instances")
    for index, record in enumerate(sequence.records):
        if record.name in there:
            yield 0
            continue
        image = sequence.read(index, ()).image
        found = read(record.name, image)
        ids = np.zeros(image.shape[-2:], np.uint16)
        order = found.masks.flatten(1).sum(1).argsort(descending=True, stable=True)
        for number, place in enumerate(order.tolist(), 1):  # the smaller one is in front
            ids[found.masks[place].numpy()] = number
        if found.road is not None:
            _save(folder / "road" / f"{record.name}.png", found.road[0].numpy().astype(np.uint8) * 255)
        _save(folder / "instances" / f"{record.name}.png", ids)  # last: it says that the frame is done
        yield len(found.masks)


def from_folder(path: Path, road: Path | None = None) -> Reader:
    """One binary image per object, <frame>/<i>.png anywhere below ``path``; roads as <frame>.png below ``road``."""
    homes = {folder.name: folder for folder in path.rglob("*") if folder.is_dir()}
    roads = {file.stem: file for file in road.rglob("*.png")} if road else {}

    def read(name: str, image: Tensor) -> Segments:
        files = sorted(homes[name].glob("*.png")) if name in homes else []
        masks = [_at(read_mask(file), image) for file in files]
        level = _at(read_mask(roads[name]), image) if name in roads else None
        return Segments(torch.cat(masks) if masks else torch.zeros(0, *image.shape[-2:], dtype=torch.bool), level)

    return read


def from_detector(weights: Path, device: str = "cpu") -> Reader:
    """torchvision's Mask R-CNN (ResNet-50) with the weights for COCO from a local file; it knows no road."""
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn

    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        network.load_state_dict(state)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:100]
        raise InputError(
            f"{weights} cannot be used ({reason}); expected torchvision's maskrcnn_resnet50_fpn weights; download them"
        ) from None
    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    movable = torch.tensor([name in MOVABLE for name in names], device=device)
    network.to(device).eval()

    def read(name: str, image: Tensor) -> Segments:
        with torch.inference_mode():
            found = network([image.to(device)])[0]
        kept = (found["scores"] >= LEAST_SCORE) & movable[found["labels"]]
        return Segments((found["masks"][kept, 0] > 0.5).cpu())

    return read


def from_model(name: str, device: str = "cpu") -> Reader:
    """A universal segmentation network of transformers (Mask2Former, OneFormer, ...) that tells instances or panoptic
    segments apart, by the name it is published under or the folder it was saved to."""
    try:
        from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation
    except ImportError as error:
        raise InputError(
            f"transformers cannot be used ({error}); masks of a network need it; pip install 'kinodepth[prior]'"
        ) from None
    try:
        processor = AutoImageProcessor.from_pretrained(name)
        network = AutoModelForUniversalSegmentation.from_pretrained(name).to(device).eval()
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the network {name} cannot be loaded ({reason}); expected a universal segmentation model of transformers; "
            "download it where there is a network and give its folder"
        ) from None
    labels: Mapping[int, str] = network.config.id2label

    def read(frame: str, image: Tensor) -> Segments:
        pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        with torch.inference_mode():
            outputs = network(**processor(images=pixels, return_tensors="pt").to(device))
        sizes = [tuple(image.shape[-2:])]
        found = processor.post_process_panoptic_segmentation(outputs, threshold=LEAST_SCORE, target_sizes=sizes)[0]
        return chosen_segments(found["segmentation"].cpu(), found["segments_info"], labels)

    return read


def chosen_segments(segmentation: Tensor, about: list[dict], labels: Mapping[int, str]) -> Segments:
    """The objects and the road of a panoptic map H x W; ``about`` gives ``id`` and ``label_id`` of each segment."""
    ids: dict[bool, list[int]] = {True: [], False: []}
    for segment in about:
        label = str(labels[int(segment["label_id"])]).lower()
        if label in MOVABLE or label in ROAD:
            ids[label in MOVABLE].append(int(segment["id"]))
    masks = torch.stack([segmentation == i for i in ids[True]]) if ids[True] else segmentation.new_zeros(0).bool()
    road = torch.isin(segmentation, torch.tensor(ids[False], dtype=segmentation.dtype))[None]
    return Segments(masks.reshape(-1, *segmentation.shape), road if ids[False] else None)


def _at(mask: Tensor, image: Tensor) -> Tensor:
    return resize(mask[None].float(), image.shape[-2:], "nearest")[0] > 0.5


def _save(path: Path, values: np.ndarray) -> None:
    with atomic(path) as temporary:
        Image.fromarray(values).save(temporary)
