"""The index benchmark as a picture: latency over the size of the gallery, and what is missed."""

import io
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.search.gallery import LIMEN, Contender, Gallery

_SIZE_IN = (15.0, 4.6)
_DPI = 110
_MARKERS = "osD^vP"
_PER = 10_000

_Value = Callable[[Contender], float | None]


def draw_index(galleries: Sequence[Gallery]) -> bytes:
    """Three panels as PNG bytes: one probe alone, a probe in a large batch, missed mates."""
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    alone, together, missed = figure.subplots(1, 3)
    _draw_lines(alone, galleries, lambda each: each.single.p50_ms if each.single else None)
    alone.set_ylabel("ms for one probe, median, one thread")
    largest = max(size for each in galleries for one in each.contenders for size in one.batches)
    _draw_lines(
        together,
        galleries,
        lambda each: each.batches[largest].cpu_ms if largest in each.batches else None,
    )
    together.set_ylabel(f"CPU ms per probe, in batches of {largest}")
    _draw_missed(missed, galleries)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_lines(axes: Axes, galleries: Sequence[Gallery], value: _Value) -> None:
    """A line for each contender and dimension, over the size of the gallery."""
    for number, name in enumerate(_names(galleries)):
        for dimension in sorted({gallery.dimension for gallery in galleries}):
            points = [
                (gallery.faces, found)
                for gallery in sorted(galleries, key=lambda each: each.faces)
                if gallery.dimension == dimension
                and (each := gallery.contender(name)) is not None
                and (found := value(each)) is not None
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True), "-" if dimension == 128 else ":",
                    color=f"C{number}", marker=_MARKERS[number % len(_MARKERS)], markersize=5,
                    linewidth=2.2 if name == LIMEN else 1.2, label=f"{name}, {dimension}-d",
                )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("faces in the gallery")
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_missed(axes: Axes, galleries: Sequence[Gallery]) -> None:
    """A bar for each contender in each gallery; who misses nobody has none."""
    names = _names(galleries)
    width = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        for place, gallery in enumerate(galleries):
            each = gallery.contender(name)
            if each is None or each.missed is None:
                continue
            per = each.missed * _PER / max(1, gallery.found_by_oracle)
            label = name if place == 0 else None
            at = place + (number - len(names) / 2) * width
            axes.bar(at, per, width, color=f"C{number}", label=label)
            axes.annotate(f"{per:.0f}", (at, per), ha="center", va="bottom", fontsize=7)
    axes.set_xticks(range(len(galleries)), [each.name for each in galleries], fontsize=7)
    axes.set_ylabel(f"mates missed of {_PER:,} that float64 finds")
    axes.set_ylim(bottom=0, top=max(1.0, 1.25 * axes.get_ylim()[1]))
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _names(galleries: Sequence[Gallery]) -> list[str]:
    return list(dict.fromkeys(one.name for each in galleries for one in each.contenders))
