"""The scores of the liveness suite as a picture: a row of marks for each species."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.liveness.judgement import SCORE_MIN
from serve.bench.liveness.figures import Tally
from serve.bench.liveness.species import Class

_WIDTH_IN, _ROW_IN = 8.0, 0.34
_DPI = 110
_BINS = 40
_COLORS = {Class.BONA_FIDE: "C2", Class.ATTACK: "C3", Class.RECORDING: "0.5"}
_NAMES = {
    Class.BONA_FIDE: "rendered bona fides",
    Class.ATTACK: "attacks",
    Class.RECORDING: "right recordings, expected to pass",
}


def draw_liveness(found: Sequence[Tally]) -> bytes:
    """PNG bytes: a histogram of scores for each species, and the threshold."""
    figure = Figure(figsize=(_WIDTH_IN, 1.2 + _ROW_IN * len(found)), layout="constrained")
    axes = figure.subplots()
    for row, tally in enumerate(found):
        _draw_row(axes, len(found) - 1 - row, tally)
    for kind, color in _COLORS.items():
        axes.bar([0.0], [0.0], color=color, label=_NAMES[kind])
    axes.axvline(SCORE_MIN, color="0.2", linestyle=":", linewidth=1)
    axes.set_yticks(
        range(len(found)),
        [f"{each.species.text} ({each.presented:,})" for each in reversed(found)],
        fontsize=7,
    )
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.2, len(found))
    axes.set_xlabel("score; from the dotted line on a clip passes")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=7, loc="outside upper right", ncols=len(_COLORS))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_row(axes: Axes, base: int, tally: Tally) -> None:
    """One histogram, its highest bar nearly as high as the row."""
    counts, edges = np.histogram(tally.scores, _BINS, (0.0, 1.0))
    heights = 0.85 * counts / max(int(counts.max()), 1)
    axes.bar(
        edges[:-1], heights, np.diff(edges), bottom=base, align="edge",
        color=_COLORS[tally.species.kind],
    )  # fmt: skip
    axes.axhline(base, color="0.85", linewidth=0.5)
