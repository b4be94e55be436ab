"""The sweep benchmark as a picture: pairs a second, searches beside a sweep, and rings."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.sweeps.figures import LIMEN, Sweeping
from serve.bench.sweeps.live import Live
from serve.bench.sweeps.rings import AtBar, RingsFound
from serve.bench.sweeps.speed import all_threads

_PANEL_IN = (5.2, 4.6)
_GALLERY_IN = 1.0  # of the first panel's width, so that its labels stand beside each other
_DPI = 110
_MILLION = 1e6


def draw_sweeps(
    sweepings: Sequence[Sweeping], live: Live | None, rings: RingsFound | None
) -> bytes:
    """PNG bytes: a panel of speeds, and one of each other thing that was measured."""
    stream = io.BytesIO()
    figure = sweeps_figure(sweepings, live, rings)
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def sweeps_figure(
    sweepings: Sequence[Sweeping], live: Live | None, rings: RingsFound | None
) -> Figure:
    """The same before it is written."""
    others = (live is not None) + (2 if rings is not None else 0)
    widths = [max(1, len(sweepings) * _GALLERY_IN / _PANEL_IN[0]), *[1.0] * others]
    figure = Figure(figsize=(sum(widths) * _PANEL_IN[0], _PANEL_IN[1]), layout="constrained")
    axes = iter(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0])
    _draw_speeds(next(axes), sweepings)
    if live is not None:
        _draw_live(next(axes), live)
    if rings is not None:
        _draw_largest(next(axes), rings)
        _draw_rings(next(axes), rings)
    return figure


def _draw_speeds(axes: Axes, sweepings: Sequence[Sweeping]) -> None:
    """With all threads, a bar for each way in each gallery."""
    threads = all_threads()
    speeds = [each.speeds(threads) for each in sweepings]
    names = list(dict.fromkeys(name for found in speeds for name in found))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        places = [
            place + (number - (len(names) - 1) / 2) * width for place in range(len(sweepings))
        ]
        heights = [found.get(name, 0.0) / _MILLION for found in speeds]
        hatch = "//" if name == LIMEN else None
        axes.bar(places, heights, width, color=f"C{number}", label=name, hatch=hatch)
    labels = [each.name.replace(", ", "\n").replace(" on ", "\non ") for each in sweepings]
    axes.set_xticks(range(len(sweepings)), labels, fontsize=7)
    axes.margins(y=0.35)  # room for the legend
    axes.set_ylabel(f"million pairs a second, {threads} threads")
    _finish(axes)


def _draw_live(axes: Axes, live: Live) -> None:
    """Alone and beside a sweep: the median and the 99th percentile."""
    for place, (name, found) in enumerate((("alone", live.alone), ("beside", live.beside))):
        values = (found.p50_ms, found.p99_ms)
        axes.bar([place / 2.5, 1 + place / 2.5], values, 0.36, color=f"C{place}", label=name)
    axes.set_xticks([0.2, 1.2], ["p50", "p99"])
    axes.set_ylabel(f"ms for one probe among {live.faces:,}")
    axes.set_xlabel(f"a sweep works {live.share:.0%} of the time")
    _finish(axes)


def _draw_largest(axes: Axes, rings: RingsFound) -> None:
    """How many accounts the largest group has, over how many strangers chance ties to a face."""
    chances = [each.chance for each in rings.bars]
    for name, largest in (
        ("rings", [each.limen.largest for each in rings.bars]),
        ("connected components", [each.components.largest for each in rings.bars]),
    ):
        axes.plot(chances, largest, marker="o", label=name)
    axes.axhline(rings.largest, color="0.5", linestyle=":", label="the largest true one")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylabel("accounts in the largest")
    _finish(axes, "strangers that chance ties to a face")


def _draw_rings(axes: Axes, rings: RingsFound) -> None:
    """Precision and recall of pairs, over the same."""
    chances = [each.chance for each in rings.bars]
    for color, (name, found) in enumerate(
        (("rings", _limen), ("connected components", _components))
    ):
        precision = [found(each)[0] for each in rings.bars]
        recall = [found(each)[1] for each in rings.bars]
        for values, line, what in ((precision, "-", "precision"), (recall, ":", "recall")):
            axes.plot(chances, values, line, color=f"C{color}", marker="o", label=f"{name}, {what}")
    axes.set_xscale("log")
    axes.set_ylabel("share of pairs")
    _finish(axes, "strangers that chance ties to a face")


def _limen(at: AtBar) -> tuple[float, float]:
    return at.limen.precision, at.limen.recall


def _components(at: AtBar) -> tuple[float, float]:
    return at.components.precision, at.components.recall


def _finish(axes: Axes, label: str = "") -> None:
    if label:
        axes.set_xlabel(label)
    axes.legend(fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)
