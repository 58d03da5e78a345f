"""``kinodepth check``: what a recording provides, and what is wrong with it, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kinodepth.data.checks import Finding
    from kinodepth.types import Sequence
    from kinodepth.visualization.html import Section

EXAMPLES = """
kinodepth check drive.mp4 --fov 65
kinodepth check recordings/ --out looked_at
"""
PICTURES = 6


def run(path: str, format: str | None = None, fov: float | None = None, out: str | None = None) -> int:
    """Say what a recording holds and whether a depth method can learn from it; leaves report.html.

    The exit status is 1 if something is found that makes training on camera motion impossible.

    Args:
        path: video, folder of images, recording in any format we read, or a folder of these
        format: format of the recording; default: detected
        fov: horizontal field of view in degrees, for recordings without intrinsics
        out: folder for report.html; default: the name of the recording with _check
    """
    from pathlib import Path

    from kinodepth.data import open_sequences
    from kinodepth.data.checks import check
    from kinodepth.data.files import atomic
    from kinodepth.data.selection import training_frames
    from kinodepth.engine.recordings import with_camera
    from kinodepth.visualization import html

    sections, fatal = [], False
    for whole in open_sequences(path, format=format):
        sequence = training_frames(whole)
        if fov is not None and "camera" not in sequence.provides:
            sequence = with_camera(sequence, fov)
        about, findings = describe(sequence), check(sequence)
        if len(sequence) < len(whole):
            about["frames"] += f" of {len(whole)}, selected for training by frame_index.txt"
        print(f"{sequence.name}\n" + "\n".join(f"  {name}: {value}" for name, value in about.items()))
        print("\n".join(f"  {f.severity}: {f.message}" for f in findings) or "  nothing is wrong with it")
        sections.append(_section(sequence, about, findings))
        fatal |= any(finding.severity == "fatal" for finding in findings)
    page = Path(out or f"{Path(path).resolve().stem}_check") / "report.html"
    with atomic(page) as temporary:
        temporary.write_text(html.page(f"Check of {Path(path).name}", sections), encoding="utf-8")
    print(f"report: {page}")
    return int(fatal)


def describe(sequence: Sequence) -> dict[str, str]:
    """Size, length, view and content of ``sequence`` in words."""
    from kinodepth.types import InputError

    about = {"frames": str(len(sequence))}
    try:
        height, width = sequence.read(0, ()).image.shape[-2:]
        about["size"] = f"{width} x {height}"
    except InputError as error:
        about["size"] = str(error)
    times = [record.timestamp for record in sequence.records if record.timestamp is not None]
    if len(times) == len(sequence) > 1 and times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])
        about["duration"] = f"{times[-1] - times[0] + 1 / rate:.2f} s at {rate:.4g} frames/s"
    camera = sequence.records[0].camera
    about["field of view"] = "unknown"
    if camera is not None:
        horizontal, vertical = camera.field_of_view
        about["field of view"] = f"{horizontal:.1f} x {vertical:.1f} degrees"
    about["every frame has"] = ", ".join(sorted(sequence.provides))
    return about


def _section(sequence: Sequence, about: dict[str, str], findings: list[Finding]) -> Section:
    """The card of one recording: facts, findings, a few frames."""
    import numpy as np
    from PIL import Image

    from kinodepth.types import InputError
    from kinodepth.visualization import html

    pictures = []
    for index in np.unique(np.linspace(0, len(sequence) - 1, PICTURES).round().astype(int)):
        try:
            frame = sequence.read(int(index), ())
        except InputError:
            continue
        picture = Image.fromarray((frame.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
        picture.thumbnail((640, 640))
        pictures.append((frame.name, np.asarray(picture)))
    said = [html.paragraph(f"{f.severity.capitalize()}, {f.kind}: {f.message}.") for f in findings]
    said = said or [html.paragraph("Nothing is wrong with it.")]
    return html.Section(sequence.name, [html.facts(about), *said, html.gallery(pictures)])
