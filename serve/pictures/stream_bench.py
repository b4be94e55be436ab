"""The benchmark of streams as a picture: frames held, hints, where the processor's time goes."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.processes import DOOR, REPLICA
from serve.bench.streams.figures import Idle, Point, percentiles
from serve.bench.streams.goals import IDLE_KIB_MAX

_PANEL_IN = (5.2, 4.6)
_DPI = 110
_MARKERS = "osD^v"
_MODELS = "decode and models"
_HINT_MS_MAX = 250.0  # as often as hints are told


def draw_streams(points: Sequence[Point], idles: Sequence[Idle]) -> bytes:
    """PNG bytes: frames looked at and the latency of hints over frames made, the cost of a frame
    by process, and the memory of idle sockets; a panel of each that was measured.
    """
    panels = (3 if points else 0) + bool(idles)
    figure = Figure(figsize=(max(1, panels) * _PANEL_IN[0], _PANEL_IN[1]), layout="constrained")
    axes = iter(figure.subplots(1, max(1, panels), squeeze=False)[0])
    if points:
        plain = [point for point in points if not point.place.idle] or list(points)
        _draw_frames(next(axes), plain)
        _draw_hints(next(axes), plain)
        _draw_cost(next(axes), plain)
    if idles:
        _draw_idle(next(axes), idles)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _lines(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """The points of each engine and pace, by sockets."""
    kinds = dict.fromkeys((point.place.engine, point.place.frames_per_s) for point in points)
    return [
        (
            f"{engine}, {pace:g}/s each",
            [p for p in points if (p.place.engine, p.place.frames_per_s) == (engine, pace)],
        )
        for engine, pace in kinds
    ]


def _draw_frames(axes: Axes, points: Sequence[Point]) -> None:
    most = max(point.made_per_s for point in points)
    axes.plot([0, most], [0, most], color="0.8", linewidth=0.8)
    for number, (name, found) in enumerate(_lines(points)):
        made, seen = [p.made_per_s for p in found], [p.examined_per_s for p in found]
        axes.plot(made, seen, marker=_MARKERS[number % len(_MARKERS)], markersize=5, label=name)
        for point in found:
            axes.annotate(
                str(point.place.sockets), (point.made_per_s, point.examined_per_s), fontsize=7,
                textcoords="offset points", xytext=(0, 5), ha="center",
            )  # fmt: skip
    axes.set_xlabel("frames/s that cameras took, of the sockets named")
    axes.set_ylabel("frames/s looked at")
    _finish(axes)


def _draw_hints(axes: Axes, points: Sequence[Point]) -> None:
    for number, (name, found) in enumerate(_lines(points)):
        told = [(p.made_per_s, ms) for p in found if (ms := percentiles(p.played.newest))]
        for percentile, style in (("p50", "-"), ("p99", "--")):
            if told:
                axes.plot(
                    [made for made, _ in told], [ms[percentile] for _, ms in told], style,
                    color=f"C{number}", marker=_MARKERS[number % len(_MARKERS)], markersize=4,
                    label=f"{name}, {percentile}",
                )  # fmt: skip
    axes.axhline(_HINT_MS_MAX, color="0.6", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("frames/s that cameras took")
    axes.set_ylabel("ms from a frame to the hint that names it")
    _finish(axes)


def _draw_cost(axes: Axes, points: Sequence[Point]) -> None:
    """A bar for the busiest point of each engine and pace, the models' part first."""
    busiest = [max(found, key=lambda p: p.place.sockets) for _, found in _lines(points)]
    busiest = [point for point in busiest if point.cpu_ms]
    names = [f"{point.place.engine}\n{point.place}" for point in busiest]
    parts = [_parts(point) for point in busiest]
    bottoms = [0.0] * len(parts)
    for kind in dict.fromkeys(name for part in parts for name in part):
        heights = [part.get(kind, 0.0) for part in parts]
        axes.bar(names, heights, bottom=bottoms, width=0.6, label=kind)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("CPU ms for each frame looked at")
    axes.set_ylim(top=1.4 * max(bottoms, default=1.0))
    _finish(axes)


def _parts(point: Point) -> dict[str, float]:
    parts = dict(point.cpu_ms)
    models_ms = (point.share or 0.0) * sum(parts.values())
    holder = REPLICA if REPLICA in parts else DOOR
    parts[holder] = max(0.0, parts.get(holder, 0.0) - models_ms)
    return {_MODELS: models_ms, **parts}


def _draw_idle(axes: Axes, idles: Sequence[Idle]) -> None:
    bars = [(f"{idle.open:,}\n{idle.state}", idle.kib_each) for idle in idles]
    bars += [
        (f"{idle.open:,}, active\ncounted in", each)
        for idle in idles
        if (each := idle.beside_kib_each) is not None
    ]
    axes.bar([name for name, _ in bars], [each for _, each in bars], width=0.6, color="#66ccee")
    axes.axhline(IDLE_KIB_MAX, color="0.4", linestyle=":", label="at most")
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("KiB of the front door for each idle socket")
    _finish(axes)


def _finish(axes: Axes) -> None:
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
