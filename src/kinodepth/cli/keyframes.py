"""``kinodepth keyframes``: which frames of a posed recording are predicted, and what they are matched with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from kinodepth.data.keyframes import KeyframeRule, Row

EXAMPLES = """
kinodepth keyframes recording/ --out choice
kinodepth keyframes recording/ --measurements 3 --distance 0.15
kinodepth keyframes recording/ --simple 10
"""


def run(
    source: str,
    out: str | None = None,
    measurements: int = 2,
    buffer: int = 30,
    distance: float = 0.1,
    translation: float = 0.15,
    rotation: float = 0.0,
    simple: int | None = None,
    dataset: str | None = None,
    format: str | None = None,
) -> int:
    """Choose keyframes and their measurement frames; writes the list in the published form and draws the choice.

    Args:
        source: a recording with poses, in any format we read
        out: output folder; default: the name of the source with _keyframes
        measurements: measurement frames per keyframe, at most
        buffer: keyframes that are kept, the current one included
        distance: combined pose distance to the last keyframe that makes a new one
        translation: metres to a measurement frame that are best
        rotation: rotation distance to a measurement frame that is best
        simple: take every SIMPLE-th frame instead, matched with those before it
        dataset: name of the data set in the file name; default: the folder above the source
        format: format of the source; default: detected
    """
    from pathlib import Path

    import numpy as np

    from kinodepth.data import keyframes, open_sequence
    from kinodepth.data.files import atomic
    from kinodepth.types import InputError
    from kinodepth.visualization.keyframes import keyframe_picture

    if measurements < 1 or buffer < 2 or (simple is not None and simple < 1):
        raise InputError(
            f"--measurements {measurements}, --buffer {buffer}, --simple {simple} choose nothing; expected at least 1, "
            "2 and 1; raise them"
        )
    sequence = open_sequence(source, format=format)
    poses = [record.cam_to_world for record in sequence.records]
    if not any(keyframes.is_known(pose) for pose in poses):
        raise InputError(f"{source} has no poses; expected a posed recording (docs/data.md); add poses.txt")
    rule = keyframes.KeyframeRule(buffer, distance, translation, rotation)
    decisions, rows = _choose(poses, measurements, rule, simple)
    chosen = [row for row in rows if isinstance(row, tuple)]
    folder = Path(out) if out is not None else Path(f"{Path(source).resolve().stem}_keyframes")
    above = dataset or Path(source).resolve().parent.name
    method = "keyframe" if simple is None else f"simple{simple}"
    index = folder / keyframes.index_name(method, above, sequence.name, measurements)
    keyframes.write_index(index, rows, keyframes.image_names(sequence))
    matrices = np.full((len(poses), 4, 4), np.nan)
    for place, pose in enumerate(poses):
        if pose is not None and keyframes.is_known(pose):
            matrices[place] = pose.double().numpy()
    title = f"{sequence.name}: {len(poses)} frames, {len(chosen)} keyframes"
    with atomic(folder / "keyframes.png") as temporary:
        temporary.write_bytes(keyframe_picture(matrices, decisions, chosen, title))
    print(title)
    print("  " + ", ".join(f"{name} {decisions.count(name)}" for name in dict.fromkeys(decisions)))
    moves = keyframes.measurement_moves(poses, rows)
    if len(moves):
        metres, degrees = moves.quantile(0.5, dim=0).tolist()
        print(f"  keyframe to measurement frame, median: {metres:.3f} m, {degrees:.1f} degrees")
    print(f"list: {index}\npicture: {folder / 'keyframes.png'}")
    return 0


def _choose(
    poses: list[Tensor | None], count: int, rule: KeyframeRule, simple: int | None
) -> tuple[list[str], list[Row]]:
    """What becomes of each frame, in words, and the rows of the list."""
    from kinodepth.data import keyframes

    if simple is None:
        decisions, rows = keyframes.keyframe_rows(poses, count, rule)
        codes = dict(enumerate(decisions))
    else:
        looked, rows = keyframes.simple_rows(poses, count, simple)
        codes = {index: keyframes.SIMPLE[published] for index, published in looked}
    words = {index: code.name.lower().replace("_", " ") for index, code in codes.items()}
    return [words.get(index, "not looked at") for index in range(len(poses))], rows
