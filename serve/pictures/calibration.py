"""A calibration as a picture: who errs at which score, and how thresholds rise with the gallery."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.domain.search.evidence import ERRORS_MIN
from serve.domain.sweeps.bars import lowest_score
from serve.domain.sweeps.calibration import (
    CalibratedThreshold,
    Calibration,
    bin_of,
    edge_of,
)

_SIZE_IN = (12.0, 4.6)
_DPI = 120
_SIZES = 60
_LEAST = 100  # faces; smaller galleries say nothing

Similarity = Callable[[float], float]


def draw_calibration(
    calibration: Calibration,
    thresholds: Sequence[CalibratedThreshold],
    targets: Sequence[float],
    similarity: Similarity,
) -> bytes:
    """Two panels as PNG bytes: FPIR over the score with its 95 % interval and the thresholds, and
    the score at which chance shows as few as each target, over the size of the gallery.

    `similarity` maps native scores to the scale that is shown.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_fpir(left, calibration, thresholds, similarity)
    _draw_sizes(right, calibration, targets, similarity)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_fpir(
    axes: Axes,
    calibration: Calibration,
    thresholds: Sequence[CalibratedThreshold],
    similarity: Similarity,
) -> None:
    places = [place for place in calibration.erring if place > bin_of(calibration.complete_from)]
    scores = [edge_of(place) for place in sorted({*places, *(place + 1 for place in places)})]
    shares = [calibration.fpir(score) for score in scores]
    shown = [similarity(score) for score in scores]
    least = 0.3 / max(1, calibration.probes)  # where none errs: below one in all
    axes.fill_between(
        shown,
        [max(share.low, least) for share in shares],
        [share.high for share in shares],
        step="post", alpha=0.25, label="95 % interval",
    )  # fmt: skip
    axes.step(
        shown, [max(share.rate or 0.0, least) for share in shares], where="post", label="FPIR"
    )
    for each in thresholds:
        axes.plot(similarity(each.threshold), each.target_fpir, "v", color="C3", markersize=7)
        axes.axhline(each.target_fpir, color="C3", linewidth=0.5, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("similarity")
    axes.set_ylabel(f"searches that show a stranger, of {calibration.probes:,} faces")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_sizes(
    axes: Axes, calibration: Calibration, targets: Sequence[float], similarity: Similarity
) -> None:
    """By the rate of pairs, where ten errors support it; dashed beyond the size it holds for."""
    most = max(2 * _LEAST, calibration.gallery_size * 10)
    sizes = np.geomspace(_LEAST, most, _SIZES)
    for number, target in enumerate(targets):
        points = [
            (size, similarity(score))
            for size in sizes.tolist()
            if calibration.impostors_from(score := _score(calibration, target, size)) >= ERRORS_MIN
            and score > calibration.complete_from
        ]
        for is_held, style in ((True, "-"), (False, "--")):
            some = [
                point for point in points if (point[0] < calibration.expires_at_size) == is_held
            ]
            if some:
                label = f"{target:g}" if is_held else None
                axes.plot(*zip(*some, strict=True), style, color=f"C{number}", label=label)
    axes.axvline(calibration.expires_at_size, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("faces in the gallery (dotted: from there on a new sweep is needed)")
    axes.set_ylabel("similarity at which a search shows so many strangers")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _score(calibration: Calibration, target: float, size: float) -> float:
    return lowest_score(calibration, target, round(size), calibration.complete_from)
