"""KITTI's annotated depth (of the raw drives) put beside the odometry sequences (spec dynamic_multiframe 12).

SOURCE/**/<drive>_sync/proj_depth/groundtruth/image_02/NNNNNNNNNN.png, a folder or the zip as downloaded, becomes
DATASET/sequences/SS/image_depth_annotated/NNNNNN.png, byte for byte.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kinodepth.data.files import atomic
from kinodepth.types import InputError

DRIVES = {  # drive, number of its frame that is frame 0 of the sequence, frames
    "00": ("2011_10_03_drive_0027", 0, 4541),
    "01": ("2011_10_03_drive_0042", 0, 1101),
    "02": ("2011_10_03_drive_0034", 0, 4661),
    "03": ("2011_09_26_drive_0067", 0, 801),
    "04": ("2011_09_30_drive_0016", 0, 271),
    "05": ("2011_09_30_drive_0018", 0, 2761),
    "06": ("2011_09_30_drive_0020", 0, 1101),
    "07": ("2011_09_30_drive_0027", 0, 1101),
    "08": ("2011_09_30_drive_0028", 1100, 4071),
    "09": ("2011_09_30_drive_0033", 0, 1591),
    "10": ("2011_09_30_drive_0034", 0, 1201),
}
ENTRY = re.compile(r"(?:^|/)(\d{4}_\d\d_\d\d_drive_\d{4})_sync/proj_depth/groundtruth/image_02/(\d{10})\.png$")
FOLDER = "image_depth_annotated"


@dataclass(frozen=True)
class Plan:
    """What SOURCE has for one sequence: ``entries`` by frame number, and what is ``missing`` of the data set."""

    sequence: str
    folder: Path
    frames: int
    entries: dict[int, str]
    missing: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for people."""
        drive = DRIVES[self.sequence][0]
        found = f"{len(self.entries)} of {self.frames} frames have annotated depth" if self.entries else (
            f"no annotated depth ({drive}_sync is not in the source)"
        )  # fmt: skip
        return f"{self.sequence}: {found}" + (f"; missing: {', '.join(self.missing)}" if self.missing else "")


def plan(source: Path, dataset: Path) -> list[Plan]:
    """What would be written for each sequence folder of ``dataset``. Raises ``InputError`` where there is nothing."""
    folders = [dataset / "sequences" / name for name in DRIVES if (dataset / "sequences" / name).is_dir()]
    if not folders:
        raise InputError(
            f"{dataset} has no folders sequences/00 to sequences/10; expected KITTI's odometry data set; check the path"
        )
    by_drive: dict[str, dict[int, str]] = {}
    for name in _names(source):
        if found := ENTRY.search(name):
            by_drive.setdefault(found[1], {})[int(found[2])] = name
    if not by_drive:
        raise InputError(
            f"{source} has no <drive>_sync/proj_depth/groundtruth/image_02; expected KITTI's annotated depth maps, the "
            "zip or the folder it was unpacked to; check the path"
        )
    return [_plan(folder, dataset, by_drive) for folder in folders]


def _plan(folder: Path, dataset: Path, by_drive: dict[str, dict[int, str]]) -> Plan:
    drive, first, count = DRIVES[folder.name]
    entries = {number - first: name for number, name in sorted(by_drive.get(drive, {}).items())}
    wanted = {
        "image_2": folder / "image_2",
        "calib.txt": folder / "calib.txt",
        "times.txt": folder / "times.txt",
        "mvobj_mask (MonoRec's mvobj_mask.zip)": folder / "mvobj_mask",
        f"poses_dvso/{folder.name}.txt (MonoRec's poses_dvso.zip)": dataset / "poses_dvso" / f"{folder.name}.txt",
    }
    missing = tuple(name for name, path in wanted.items() if not path.exists())
    kept = {frame: name for frame, name in entries.items() if 0 <= frame < count}
    return Plan(folder.name, folder, count, kept, missing)


def write(source: Path, plans: list[Plan]) -> Iterator[Path]:
    """Write the files of ``plans`` and yield each; those that are there already are kept."""
    archive = zipfile.ZipFile(source) if source.is_file() else None
    for each in plans:
        for frame, name in each.entries.items():
            path = each.folder / FOLDER / f"{frame:06d}.png"
            if not path.exists():
                content = archive.read(name) if archive else (source / name).read_bytes()
                with atomic(path) as temporary:
                    temporary.write_bytes(content)
            yield path


def _names(source: Path) -> list[str]:
    if source.is_dir():
        return [path.relative_to(source).as_posix() for path in source.rglob("*.png")]
    try:
        with zipfile.ZipFile(source) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        raise InputError(f"{source} is no folder and no zip file; expected KITTI's annotated depth; check it") from None
