"""The HTTP benchmark as a picture: how long an answer takes, and who spends the processor."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.figures import DOOR, Point

_SIZE_IN = (11.0, 4.2)
_DPI = 130
_WIDTH = 0.8


def draw_front_door(points: Sequence[Point]) -> bytes:
    """Two panels as PNG bytes: latency percentiles by frame, CPU ms per image by process."""
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_latency(left, [point for point in points if point.offered_per_s is not None])
    _draw_processes(right, [point for point in points if point.offered_per_s is None])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_latency(axes: Axes, points: Sequence[Point]) -> None:
    for number, point in enumerate(points):
        found = point.latency_ms()
        names = [name for name in found if name != "max"]
        width = _WIDTH / max(1, len(points))
        places = [place + number * width for place in range(len(names))]
        label = f"{point.frame} at {point.offered_per_s:.0f}/s"
        bars = axes.bar(places, [found[name] for name in names], width=width, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
        axes.set_xticks([place + (_WIDTH - width) / 2 for place in range(len(names))], names)
    axes.set_ylabel("ms from scheduled arrival to answer")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_processes(axes: Axes, points: Sequence[Point]) -> None:
    """A bar for each frame: the models' part of the front door first, then everything else."""
    points = [point for point in points if point.approved]
    frames = [f"{point.frame}\n{point.images_per_s:.0f} images/s" for point in points]
    engine_ms = [1000 * point.spent.engine_s / point.approved for point in points]
    parts = {"decode and models": engine_ms}
    for process in dict.fromkeys(name for point in points for name in point.cpu_ms):
        whole = [point.cpu_ms.get(process, 0.0) for point in points]
        if process == DOOR:
            rest = [ms - inside for ms, inside in zip(whole, engine_ms, strict=True)]
            parts["front door otherwise"] = rest
        else:
            parts[process] = whole
    bottoms = [0.0] * len(points)
    for name, heights in parts.items():
        axes.bar(frames, heights, bottom=bottoms, label=name, width=0.6)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    for place, point in enumerate(points):
        if point.share is not None:
            axes.annotate(
                f"{100 * point.share:.1f} %", (place, bottoms[place]), ha="center", va="bottom"
            )
    axes.set_ylabel("CPU ms per image, saturated")
    axes.set_ylim(top=1.4 * max(bottoms, default=1.0))
    axes.legend(fontsize=8, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
