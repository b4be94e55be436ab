"""The histogram of scores and the curves of thresholds, as shapes that a template draws.

Both are on a plane of 720 by 300 with its origin at the upper left, as SVG has it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serve.pictures.sweeps.content import STEPS, Bar, Chance, Curve

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 24, 44
BAR_GAP = 1.0
LABELS_MAX = 6  # on one axis


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    label: str


class Rect(NamedTuple):
    """A bar; `title` says in words what it shows."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


class Line(NamedTuple):
    """A line through `points`, as SVG writes them; `end` is where its label stands."""

    points: str
    kind: str
    label: str
    end: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Shapes, and the two axes that they stand on. `mark` is a place on the horizontal axis, or
    None, and what it means.
    """

    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rects: tuple[Rect, ...] = ()
    lines: tuple[Line, ...] = ()
    mark: Tick | None = None
    level: Tick | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def histogram(bars: Sequence[Bar], threshold: float) -> Chart | None:
    """How many pairs have which similarity, on a logarithmic scale; None without any pair."""
    if not bars:
        return None
    low = min(bars[0].place, int(threshold * STEPS))
    high = max(bars[-1].place + 1, math.ceil(threshold * STEPS + 1e-9))
    most = max(bar.below + bar.found for bar in bars)
    decades = max(1, math.ceil(math.log10(most + 1)))
    width = (WIDTH - RIGHT - LEFT) / (high - low)

    def across(place: float) -> float:
        return round(LEFT + (place - low) * width, 2)

    def up(count: float) -> float:
        share = (math.log10(count) + 0.3) / (decades + 0.3) if count > 0 else 0.0
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 2)

    return Chart(
        x_title="similarity of the pair",
        y_title="pairs",
        x_ticks=tuple(
            Tick(across(place), f"{place / STEPS:.2f}") for place in _spread(low, high)
        ),
        y_ticks=tuple(Tick(up(10**power), f"{10**power:,}") for power in range(decades + 1)),
        rects=tuple(
            Rect(across(bar.place) + BAR_GAP / 2, up(most_of), max(0.5, width - BAR_GAP),
                 round(up(least) - up(most_of), 2), kind, _said(bar))
            for bar in bars
            for least, most_of, kind in _stacked(bar)
        ),
        mark=Tick(across(threshold * STEPS), f"threshold {threshold:.4g}"),
    )  # fmt: skip


def _stacked(bar: Bar) -> Iterator[tuple[int, int, str]]:
    """From where to where the parts of a bar reach, in pairs."""
    if bar.below:
        yield 0, bar.below, "below"
    if bar.found:
        yield bar.below, bar.below + bar.found, "found"


def _said(bar: Bar) -> str:
    ends = f"{bar.place / STEPS:.2f} to {(bar.place + 1) / STEPS:.2f}"
    return f"{ends}: {bar.found:,} at or above the threshold, {bar.below:,} below"


def curves(chance: Chance, threshold: float) -> Chart | None:
    """Which similarity keeps an error rate in a gallery of which size; None where nothing is
    supported by what was seen.
    """
    drawn = [curve for curve in chance.curves if len(curve.points) > 1]
    if not drawn:
        return None
    sizes = [point.size for curve in drawn for point in curve.points]
    heights = [point.similarity for curve in drawn for point in curve.points] + [threshold]
    least, most = math.log10(min(sizes)), math.log10(max(*sizes, chance.gallery_size))
    low = math.floor(min(heights) * 20) / 20
    high = min(1.0, math.floor(max(heights) * 20 + 1) / 20)

    def across(size: float) -> float:
        share = (math.log10(size) - least) / (most - least or 1.0)
        return round(LEFT + share * (WIDTH - RIGHT - LEFT - 60), 2)

    def up(similarity: float) -> float:
        share = (similarity - low) / (high - low or 1.0)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 2)

    def line(number: int, curve: Curve, kind: str) -> Line:
        points = [
            (across(point.size), up(point.similarity))
            for point in curve.points
            if kind == "few" or point.is_supported
        ]
        text = " ".join(f"{x},{y}" for x, y in points)
        end = points[-1] if points else (0.0, 0.0)
        return Line(text, f"curve-{number} {kind}", f"1 in {1 / curve.target:,.0f}", end)

    ticks = [10**power for power in range(math.ceil(least), math.floor(most) + 1)]
    return Chart(
        x_title="faces in the gallery",
        y_title="similarity",
        x_ticks=tuple(Tick(across(size), f"{size:,}") for size in ticks),
        y_ticks=tuple(Tick(up(place / 100), f"{place / 100:.2f}")
                      for place in _spread(round(low * 100), round(high * 100))),
        lines=tuple(line(number, curve, kind) for number, curve in enumerate(drawn)
                    for kind in ("few", "many")),
        mark=Tick(across(chance.gallery_size), f"now {chance.gallery_size:,}"),
        level=Tick(up(threshold), f"threshold {threshold:.4g}"),
    )  # fmt: skip


def _spread(low: int, high: int) -> Iterator[int]:
    """A few round places between two, in hundredths."""
    steps = (1, 2, 5, 10, 20, 50)
    step = next((each for each in steps if (high - low) / each <= LABELS_MAX), 50)
    yield from (place for place in range(low, high + 1) if place % step == 0)
