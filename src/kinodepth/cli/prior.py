"""``kinodepth prior``: depth of another network beside the frames of a recording, for methods that learn from it."""

from __future__ import annotations

DEFAULT = "depth-anything/Depth-Anything-V2-Small-hf"  # Apache-2.0, 25 M parameters
EXAMPLES = """
kinodepth prior drive
kinodepth prior drive.mp4 --out drive --model models/depth-anything-small
kinodepth prior drive --maps their_depth --quantity inverse_depth --scale affine
"""


def run(
    sequence: str,
    model: str = DEFAULT,
    maps: str | None = None,
    out: str | None = None,
    quantity: str | None = None,
    scale: str | None = None,
    png_divisor: float | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> int:
    """Write prior/ of a recording: depth from a network of transformers, or from maps that are there already.

    The same command again continues where it was interrupted. prior/prior.json says what the values are.

    Args:
        sequence: recording whose images the network sees, such as a folder that kinodepth prepare wrote
        model: depth-estimation network of transformers: its published name, or the folder it was saved to
        maps: instead of a network, a folder of depth maps (npz, npy, png by frame name), or kinodepth predictions
        out: folder recording (docs/data.md) with these frames whose prior/ is written; default: the sequence itself
        quantity: what the values are: depth or inverse_depth; default: what the network or the folder says
        scale: how far to trust them: metric or affine (up to factor and shift); default: as for quantity
        png_divisor: stored value / divisor = depth, for maps of 16-bit PNG
        device: where to run the network: auto, cpu, cuda, cuda:N or mps
        overwrite: replace priors of another origin
    """
    from pathlib import Path

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from kinodepth.data import open_sequence
    from kinodepth.data.prior import check_home, from_maps, from_model, write_prior
    from kinodepth.inference.model import choose_device

    seen = open_sequence(sequence)
    target = seen if out is None else open_sequence(out, format="folder")
    check_home(target)
    if maps is not None:
        source = from_maps(Path(maps), quantity, scale, png_divisor)
    else:
        source = from_model(model, seen, quantity, scale, str(choose_device(device)))
    columns = (TextColumn("prior"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        new = sum(progress.track(write_prior(target, source, overwrite), total=len(target)))
    print(f"{target.source}/prior: {len(target)} frames, {new} new; {source.quantity}, {source.scale}, {source.name}")
    return 0
