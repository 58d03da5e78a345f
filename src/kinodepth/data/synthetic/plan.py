"""What a synthetic recording follows from, and a world in the making: things, light, and where nothing may stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from kinodepth.data.synthetic.mesh import Light
from kinodepth.data.synthetic.paths import Path
from kinodepth.data.synthetic.solids import Solid
from kinodepth.types import InputError

PLACES = ("room", "street")
MOTIONS = ("handheld", "walking", "driving", "rotation", "static")


@dataclass(frozen=True)
class Scene:
    """Everything a synthetic recording follows from; equal scenes give equal bytes.

    ``motion``: by default ``handheld`` in a room and ``driving`` in a street (``driving`` in a room is a small
    robot). ``fps`` defaults to 10 for driving, else 15; ``fov`` is the horizontal field of view in degrees, by default
    drawn from the seed. ``shake`` scales tremble and steps; ``movers`` False leaves everything at rest; ``scale``
    multiplies all lengths, the camera's path among them: at 0.4 a room is a doll's house, its pictures are the same.
    ``exposure`` (largest relative change), ``noise`` (deviation, of 1) and ``blur`` (Gaussian, pixels) spoil the
    images the way cameras do; they are off by default so that brightness is constant.
    """

    seed: int = 0
    kind: str = "room"
    frames: int = 30
    width: int = 320
    height: int = 256
    motion: str | None = None
    fps: float | None = None
    fov: float | None = None
    shake: float = 1.0
    movers: bool = True
    scale: float = 1.0
    exposure: float = 0.0
    noise: float = 0.0
    blur: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in PLACES:
            raise InputError(f"synthetic scene kind {self.kind!r} is unknown; expected one of {', '.join(PLACES)}")
        if self.motion is not None and self.motion not in MOTIONS:
            raise InputError(f"camera motion {self.motion!r} is unknown; expected one of {', '.join(MOTIONS)}")
        if self.frames < 1 or min(self.width, self.height) < 8:
            raise InputError(
                f"synthetic clip of {self.frames} frames of {self.width} x {self.height} pixels is too small; "
                "expected at least 1 frame of 8 x 8 pixels"
            )
        if not 0.01 <= self.scale <= 100:
            raise InputError(f"scale {self.scale} of a synthetic scene; expected 0.01 to 100; 1 is life-size")
        if (self.fps is not None and self.fps <= 0) or (self.fov is not None and not 5 <= self.fov <= 150):
            raise InputError(
                f"fps {self.fps} or fov {self.fov} is not usable; expected fps above 0 and fov in 5 to 150 degrees"
            )

    @property
    def camera_motion(self) -> str:
        return self.motion or ("handheld" if self.kind == "room" else "driving")

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.fps or (10.0 if self.camera_motion == "driving" else 15.0)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the one after the last."""
        return self.frames / self.rate


@dataclass(frozen=True)
class Thing:
    """A solid with an identity: no name is the building or ground; ``path`` None means at rest. A thing that moves is
    there only within its ``span`` of seconds; outside it would be too far to be seen."""

    solid: Solid
    name: str = ""
    movable: bool = False
    path: Path | None = None
    span: tuple[float, float] = (-np.inf, np.inf)


@dataclass
class Plan:
    """A world in the making. ``busy`` holds discs (x, z, radius) that furniture must leave free. What is at rest
    repeats in z after ``period`` metres (0: never)."""

    light: Light
    base: Path
    things: list[Thing] = field(default_factory=list)
    busy: set[tuple[float, float, float]] = field(default_factory=set)
    period: float = 0.0

    def free(self, x: float, z: float, width: float, length: float, yaw: float = 0.0) -> bool:
        """Whether no disc reaches into the rectangle centred on (x, z)."""
        c, s = np.cos(yaw), np.sin(yaw)
        discs = np.array(list(self.busy)).reshape(-1, 3)
        dx, dz = discs[:, 0] - x, discs[:, 1] - z
        right, ahead = np.abs(c * dx - s * dz) - width / 2, np.abs(s * dx + c * dz) - length / 2
        return bool((np.hypot(np.maximum(right, 0), np.maximum(ahead, 0)) > discs[:, 2]).all())

    def reserve(self, path: Path, times: Iterable[float], radius: float) -> None:
        for t in times:
            x, z = path(t)[[0, 2], 3]
            z = z % self.period if self.period else z
            self.busy.add((round(x, 1), round(z, 1), radius))

    def fill(self, x: float, z: float, width: float, length: float, yaw: float = 0.0) -> None:
        """Mark a rectangle as taken."""
        c, s = np.cos(yaw), np.sin(yaw)
        for a in np.linspace(-0.5, 0.5, max(2, int(width / 0.3))) * width:
            for b in np.linspace(-0.5, 0.5, max(2, int(length / 0.3))) * length:
                self.busy.add((x + c * a + s * b, z - s * a + c * b, 0.05))
