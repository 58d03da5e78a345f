"""The choice of keyframes as one picture: the camera's path from above, and what became of every frame."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Decisions in the order of their strip's legend; what is none of these is grey.
COLORS = {
    "first": "#2ca25f",
    "keyframe": "#2f7ed8",
    "too close": "#c9d3de",
    "no pose": "#f2b134",
    "lost": "#c0392b",
    "still lost": "#7b241c",
    "not looked at": "#e9edf1",
}
_LINK, _PATH = "#e4672a", "#9aa4b0"


def keyframe_picture(
    poses: np.ndarray, decisions: Sequence[str], rows: Sequence[tuple[int, ...]], title: str = ""
) -> bytes:
    """PNG of the path of N ``poses`` (N x 4 x 4 cam_to_world in metres, NaN where unknown) with its ``decisions`` (keys
    of ``COLORS``) and ``rows`` (frame, measurement frames ...)."""
    figure = Figure(figsize=(10, 9.2), dpi=110, layout="constrained")
    above, strip, moves = figure.subplots(3, 1, height_ratios=(7, 0.55, 1.6))
    _path(above, poses, decisions, rows)
    above.set_title(title, loc="left", fontsize=11)
    _strip(strip, decisions)
    _moves(moves, poses, rows)
    moves.set_xlim(strip.get_xlim())
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def from_above(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions N x 2 (metres, the path's longest side along x) and viewing directions N x 2 as seen from above: along
    the mean down direction of the cameras, right for a camera that is carried upright, whatever the world's axes."""
    known = np.isfinite(poses).all((1, 2))
    down = poses[known, :3, 1].mean(0)
    if np.linalg.norm(down) < 0.2:  # looks everywhere: the world's own axis
        down = np.array([0.0, 1.0, 0.0])
    down = down / np.linalg.norm(down)
    centred = poses[:, :3, 3] - poses[known, :3, 3].mean(0)
    flat = centred[known] - np.outer(centred[known] @ down, down)
    right = np.linalg.svd(flat, full_matrices=True)[2][0]
    right = right - (right @ down) * down
    right = right / np.linalg.norm(right)
    if flat[-1] @ right < flat[0] @ right:
        right = -right
    axes = np.stack([right, np.cross(right, down)])  # seen from above, not mirrored
    return centred @ axes.T, poses[:, :3, 2] @ axes.T


def _path(axes: Axes, poses: np.ndarray, decisions: Sequence[str], rows: Sequence[tuple[int, ...]]) -> None:
    places, views = from_above(poses)
    axes.plot(*places.T, color=_PATH, linewidth=0.8, zorder=1)  # a gap where the pose is unknown
    links = [(places[row[0]], places[other]) for row in rows for other in row[1:]]
    axes.add_collection(LineCollection(links, colors=_LINK, linewidths=0.9, alpha=0.45, zorder=2))
    span = max(float(np.nanmax(np.ptp(places[np.isfinite(places).all(1)], axis=0))), 1e-6)
    keys = np.array([row[0] for row in rows], int)
    ticks = [(places[i], places[i] + 0.03 * span * views[i]) for i in keys]
    axes.add_collection(LineCollection(ticks, colors=COLORS["keyframe"], linewidths=0.9, zorder=3))
    axes.scatter(
        places[keys, 0], places[keys, 1], s=14, color=COLORS["keyframe"], zorder=4, label="keyframe, and where it looks"
    )
    first = [i for i, decision in enumerate(decisions) if decision == "first"]
    axes.scatter(
        places[first, 0],
        places[first, 1],
        s=60,
        color=COLORS["first"],
        marker="^",
        zorder=5,
        label="first: nothing to match",
    )
    known = np.flatnonzero(np.isfinite(places).all(1))
    lost = [int(known[known < i].max()) for i, d in enumerate(decisions) if d == "lost" and (known < i).any()]
    if lost:
        axes.scatter(
            places[lost, 0],
            places[lost, 1],
            s=70,
            color=COLORS["lost"],
            marker="x",
            zorder=5,
            label="tracking lost after this",
        )
    axes.plot([], [], color=_LINK, linewidth=1.2, label="to its measurement frames")
    axes.set(xlabel="metres", ylabel="metres, seen from above", aspect="equal")
    axes.set_adjustable("datalim")
    axes.margins(0.06)
    axes.grid(alpha=0.2)
    axes.legend(fontsize=8, frameon=False)


def _strip(axes: Axes, decisions: Sequence[str]) -> None:
    order = list(COLORS)
    codes = np.array([[order.index(decision) for decision in decisions]])
    axes.imshow(
        codes, ListedColormap(list(COLORS.values())), vmin=-0.5, vmax=len(order) - 0.5, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)
    counts = {name: sum(decision == name for decision in decisions) for name in order}
    patches = [Patch(color=COLORS[name], label=f"{name} {count}") for name, count in counts.items() if count]
    axes.legend(handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=7, fontsize=8, frameon=False)


def _moves(axes: Axes, poses: np.ndarray, rows: Sequence[tuple[int, ...]]) -> None:
    frames = [row[0] for row in rows for _ in row[1:]]
    metres = [np.linalg.norm(poses[row[0], :3, 3] - poses[other, :3, 3]) for row in rows for other in row[1:]]
    axes.scatter(frames, metres, s=7, color=_LINK)
    axes.set(xlabel="frame", ylabel="baseline, metres", ylim=(0, None))
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
