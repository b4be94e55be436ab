"""The HTTP benchmark as a picture: throughput against latency, batches, and who spends what."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.figures import Point
from serve.bench.processes import DOOR, REPLICA
from serve.inference.room import BATCH_MAX

_SIZE_IN = (15.0, 4.6)
_DPI = 110
_MARKERS = "osD^v"
_MODELS = "decode and models"
_COLOURS = {  # the same process has the same colour in every picture
    _MODELS: "#4477aa", "replica": "#66ccee", "engine": "#228833", "front door": "#ccbb44",
    "redis": "#ee6677", "worker": "#aa3377", "Ray control": "#bbbbbb", "supervisor": "#444444",
    "sweeper": "#999933",
}  # fmt: skip


def draw_front_door(points: Sequence[Point]) -> bytes:
    """Three panels for each frame as PNG bytes: latency percentiles by images/s, batch and
    envelope by load, CPU ms per image by process.
    """
    frames = list(dict.fromkeys(point.place.frame for point in points))
    width_in, height_in = _SIZE_IN
    figure = Figure(figsize=(width_in, height_in * len(frames)), layout="constrained")
    for frame, row in zip(frames, figure.subplots(len(frames), 3, squeeze=False), strict=True):
        found = [point for point in points if point.place.frame == frame]
        _draw_latency(row[0], found)
        _draw_batches(row[1], found)
        _draw_processes(row[2], [point for point in found if point.place.load is None])
        row[0].set_title(frame, loc="left", fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_latency(axes: Axes, points: Sequence[Point]) -> None:
    """The loads of an engine are the points of its two lines."""
    for number, engine in enumerate(_engines(points)):
        found = [p for p in _open_loop(points, engine) if p.approved]
        rates = [point.images_per_s for point in found]
        for name, style in (("p50", "-"), ("p99", "--")):
            axes.plot(
                rates, [point.latency_ms()[name] for point in found], style, color=f"C{number}",
                marker=_MARKERS[number % len(_MARKERS)], markersize=5, label=f"{engine}, {name}",
            )  # fmt: skip
        for point in found:
            axes.annotate(
                str(point.place), (point.images_per_s, point.latency_ms()["p99"]), fontsize=7,
                textcoords="offset points", xytext=(0, 6), ha="center",
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.3)  # room for the legend
    axes.set_xlabel("images/s done, at parts of each engine's peak offered")
    axes.set_ylabel("ms from scheduled arrival to answer")
    _finish(axes)


def _draw_batches(axes: Axes, points: Sequence[Point]) -> None:
    for number, engine in enumerate(_engines(points)):
        found = _open_loop(points, engine)
        for name, style in (("batch", "-"), ("envelope", ":")):
            means = [
                (100 * (p.place.load or 0.0), tally.mean)
                for p in found
                if (tally := p.spent.batches if name == "batch" else p.spent.envelopes).mean
            ]
            if means:
                axes.plot(
                    *zip(*means, strict=True), style, color=f"C{number}",
                    marker=_MARKERS[number % len(_MARKERS)], markersize=5,
                    label=f"{engine}, {name}",
                )  # fmt: skip
    axes.set_ylim(0, 1.4 * BATCH_MAX)
    axes.axhline(BATCH_MAX, color="0.6", linewidth=0.8)
    axes.annotate("largest", (0.01, BATCH_MAX), xycoords=("axes fraction", "data"), fontsize=8,
                  va="bottom", color="0.4")  # fmt: skip
    axes.set_xlabel("% of the engine's peak offered")
    axes.set_ylabel("mean images together")
    _finish(axes)


def _draw_processes(axes: Axes, points: Sequence[Point]) -> None:
    """A bar for each engine: the models' part first, taken out of the process that holds them."""
    points = [point for point in points if point.approved]
    names = [f"{point.place.engine}\n{point.images_per_s:.0f} images/s" for point in points]
    parts = [_parts(point) for point in points]
    bottoms = [0.0] * len(points)
    known = {name for part in parts for name in part}
    order = [name for name in _COLOURS if name in known]
    for name in (*order, *sorted(known - set(order))):
        heights = [part.get(name, 0.0) for part in parts]
        axes.bar(names, heights, bottom=bottoms, label=name, width=0.6, color=_COLOURS.get(name))
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    for place, point in enumerate(points):
        if point.share is not None:
            axes.annotate(
                f"{100 * point.share:.1f} %", (place, bottoms[place]), ha="center", va="bottom"
            )
    axes.set_ylabel("CPU ms per image, saturated")
    axes.set_ylim(top=1.35 * max(bottoms, default=1.0))
    _finish(axes)


def _parts(point: Point) -> dict[str, float]:
    """CPU ms per image by process, that of the models apart from the process that ran them."""
    parts, models_ms = dict(point.cpu_ms), point.engine_ms or 0.0
    holder = REPLICA if REPLICA in parts else DOOR
    parts[holder] = max(0.0, parts.get(holder, 0.0) - models_ms)
    return {_MODELS: models_ms, **parts}


def _engines(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.place.engine for point in points))


def _open_loop(points: Sequence[Point], engine: str) -> list[Point]:
    return [p for p in points if p.place.engine == engine and p.place.load is not None]


def _finish(axes: Axes) -> None:
    axes.legend(fontsize=7, loc="upper left", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
