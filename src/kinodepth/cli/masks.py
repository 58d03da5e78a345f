"""``kinodepth masks``: masks of things that can move beside the frames of a recording."""

from __future__ import annotations

EXAMPLES = """
kinodepth masks drive --model facebook/mask2former-swin-tiny-cityscapes-panoptic
kinodepth masks drive --detector maskrcnn_resnet50_fpn_coco.pth
kinodepth masks drive --masks their_masks --road their_roads
"""


def run(
    sequence: str,
    model: str | None = None,
    detector: str | None = None,
    masks: str | None = None,
    road: str | None = None,
    device: str = "auto",
) -> int:
    """Write masks/instances/ of a recording (and masks/road/ where the source knows the road). Give one source.

    The same command again continues where it was interrupted.

    Args:
        sequence: folder recording (docs/data.md) whose masks are written
        model: universal segmentation network of transformers: its published name, or the folder it was saved to
        detector: file with the COCO weights of torchvision's maskrcnn_resnet50_fpn
        masks: folder with one binary image per object, FRAME/1.png, FRAME/2.png, ...
        road: folder with FRAME.png of the road, with --masks
        device: where to run the network: auto, cpu, cuda, cuda:N or mps
    """
    from pathlib import Path

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kinodepth.data import open_sequence
    from kinodepth.data.segments import from_detector, from_folder, from_model, write_segments
    from kinodepth.inference.model import choose_device
    from kinodepth.types import InputError

    if sum(source is not None for source in (model, detector, masks)) != 1:
        raise InputError("masks need one source; expected one of --model, --detector and --masks; give one of them")
    target = open_sequence(sequence, format="folder")
    if masks is not None:
        read = from_folder(Path(masks), Path(road) if road else None)
    elif detector is not None:
        read = from_detector(Path(detector), str(choose_device(device)))
    else:
        read = from_model(str(model), str(choose_device(device)))
    columns = (TextColumn("masks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        new = list(progress.track(write_segments(target, read), total=len(target)))
    print(f"{target.source}/masks: {len(target)} frames, {sum(new)} objects in new ones")
    return 0
