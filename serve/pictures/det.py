"""The detection error trade-off as a picture (ISO/IEC 19795-1): FNMR over FMR.

Both axes are normal deviates, on which normally distributed scores give straight lines and rare
errors get as much room as common ones. A rate of exactly zero has no place on such an axis; it
is drawn on the edge, beyond what the number of comparisons can resolve.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pipeline.decision.error_rates import ErrorRates, Floats, Proportion, normal_deviate

CURVES_MAX = 12  # more cannot be told apart
PictureFormat = Literal["png", "svg"]

_SIDE_INCHES = 7.0
_DOTS_PER_INCH = 150
_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_EDGE_MIN, _EDGE_MAX = 1e-7, 0.02  # of the left and the lower edge
_ROOMY, _WHOLE = 0.5, 0.995  # upper ends of the axes: for good systems, for those near chance
_EER_ROOMY_MAX = 0.25
# Okabe and Ito's palette, which colour-blind readers can tell apart; then again, dashed.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_DASHES = ("-", "--")


def draw_det(
    curves: Mapping[str, ErrorRates], threshold: float, picture_format: PictureFormat
) -> bytes:
    """One curve for each name, its operating point at `threshold` marked; encoded.

    The bars at a mark are the 95 % intervals. Left out are sets without a curve and those after
    the first CURVES_MAX; the title says how many. The same arguments give the same bytes.
    """
    with_curve = {name: rates for name, rates in curves.items() if rates.det}
    drawn = dict(list(with_curve.items())[:CURVES_MAX])
    figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_title(threshold, len(curves) - len(drawn)), fontsize=10)
    frame = _Frame.around(list(drawn.values()))
    _furnish(axes, frame)
    for number, (name, rates) in enumerate(drawn.items()):
        _draw(axes, frame, number, name, rates)
    if drawn:
        legend = axes.legend(loc="upper right", fontsize=8, framealpha=0.9)
        for text in legend.get_texts():
            text.set_parse_math(parse_math=False)  # names are the user's, dollar signs and all
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "limen"}):  # else the ids of elements are random
        metadata = {"Date": None} if picture_format == "svg" else {"Software": None}
        figure.savefig(picture, format=picture_format, dpi=_DOTS_PER_INCH, metadata=metadata)
    return picture.getvalue()


def _title(threshold: float, left_out: int) -> str:
    title = f"Detection error trade-off; marks: similarity {threshold:g} with 95 % intervals"
    if left_out == 0:
        return title
    return f"{title}\n({left_out} not drawn: without a curve, or after the first {CURVES_MAX})"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The rates at the left, the lower and both upper edges."""

    left: float
    bottom: float
    upper: float

    @classmethod
    def around(cls, curves: Sequence[ErrorRates]) -> "_Frame":
        """The frame that shows all curves and every mark that is not exactly zero."""
        marks = [mark.rate or 0.0 for rates in curves for mark in (rates.fmr, rates.fnmr)]
        is_roomy = max(marks, default=0.0) < _ROOMY and all(
            (rates.eer or 0.0) <= _EER_ROOMY_MAX for rates in curves
        )
        return cls(
            _edge([rates.fmr.trials for rates in curves]),
            _edge([rates.fnmr.trials for rates in curves]),
            _ROOMY if is_roomy else _WHOLE,
        )

    def x(self, fmr: ArrayLike) -> Floats:
        """Positions along the horizontal axis; what lies outside is drawn on the edge."""
        return normal_deviate(np.clip(np.asarray(fmr, np.float64), self.left, self.upper))

    def y(self, fnmr: ArrayLike) -> Floats:
        """Positions along the vertical axis; what lies outside is drawn on the edge."""
        return normal_deviate(np.clip(np.asarray(fnmr, np.float64), self.bottom, self.upper))


def _edge(trials: Sequence[int]) -> float:
    """Half of one error in the largest set: no curve reaches it but by having none."""
    return min(_EDGE_MAX, max(_EDGE_MIN, 0.5 / max(trials, default=1000)))


def _furnish(axes: Axes, frame: _Frame) -> None:
    for axis, edge, place in (
        (axes.xaxis, frame.left, frame.x),
        (axes.yaxis, frame.bottom, frame.y),
    ):
        shown = [rate for rate in _TICKS if edge < rate < frame.upper]
        axis.set_ticks(place(shown), [f"{100 * rate:g} %" for rate in shown])
    axes.set_xlim(*frame.x([frame.left, frame.upper]))
    axes.set_ylim(*frame.y([frame.bottom, frame.upper]))
    axes.set_xlabel("False match rate (left edge: none seen)")
    axes.set_ylabel("False non-match rate (lower edge: none seen)")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    equal = [max(frame.left, frame.bottom), frame.upper]
    axes.plot(frame.x(equal), frame.y(equal), color="#aaaaaa", linewidth=0.8)


def _draw(axes: Axes, frame: _Frame, number: int, name: str, rates: ErrorRates) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    axes.plot(
        frame.x([point.fmr for point in rates.det]),
        frame.y([point.fnmr for point in rates.det]),
        color=colour,
        linestyle=_DASHES[number // len(_COLOURS) % len(_DASHES)],
        linewidth=1.4,
        # The name comes last: matplotlib hides labels that begin with an underscore.
        label=f"EER {100 * (rates.eer or 0.0):.3g} %   {name}",
    )
    x, left, right = frame.x(_mark(rates.fmr))
    y, below, above = frame.y(_mark(rates.fnmr))
    axes.plot([left, right], [y, y], color=colour, linewidth=0.8)
    axes.plot([x, x], [below, above], color=colour, linewidth=0.8)
    axes.plot([x], [y], "o", color=colour, markersize=6, clip_on=False)


def _mark(proportion: Proportion) -> list[float]:
    """The rate and the ends of its interval."""
    assert proportion.rate is not None  # where there is a curve, there were trials
    return [proportion.rate, proportion.low, proportion.high]
