"""One number that leaves its rest and comes back: the shape that every step of a challenge has."""

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """What a swing has to be like.

    It begins above `onset` and counts from `bar` on, both in the unit of the number; it is over
    when it has come back below the share `back` of its peak. It has to stay above `hold` for
    `seconds_min`, where times are known; without them one frame at `bar` is enough.
    """

    onset: float
    bar: float
    back: float
    hold: float
    seconds_min: float


@dataclass(slots=True)
class Found:
    """A swing: the numbers of its frames, and how far it went."""

    start: int
    peak: int
    end: int
    height: float


class Swing:
    """Watches one number for swings of a shape, in constant time for each frame."""

    def __init__(self, shape: Shape, sign: float = 1.0) -> None:
        self._shape = shape
        self.sign = sign
        self._open: Found | None = None
        self._before: tuple[int, float | None, float] | None = None
        self._held = 0.0

    @property
    def height(self) -> float:
        """How far the swing that is under way has gone; 0 at rest."""
        return 0.0 if self._open is None else self._open.height

    def drop(self) -> None:
        """Forget the swing under way, and the number: what it does meanwhile is not known."""
        self._open = self._before = None

    def add(self, number: int, seconds: float | None, value: float) -> Found | None:
        """The swing that ends with this frame, if one does."""
        shape, found = self._shape, self._open
        if found is None and value > shape.onset:
            start = number if self._before is None else self._before[0]
            found, self._held = Found(start, number, number, value), 0.0
            self._open = found
        if found is not None:
            self._hold(seconds, value)
            found.end = number
            if value > found.height:
                found.height, found.peak = value, number
        self._before = (number, seconds, value)
        if found is None or value > max(shape.back * found.height, shape.onset * shape.back):
            return None
        self._open = None
        return found if self._counts(found, seconds) else None

    def end(self) -> Found | None:
        """The swing under way, taken for done although it did not come back."""
        found, self._open = self._open, None
        seconds = None if self._before is None else self._before[1]
        return found if found is not None and self._counts(found, seconds) else None

    def _counts(self, found: Found, seconds: float | None) -> bool:
        is_held = seconds is None or self._held >= self._shape.seconds_min
        return found.height >= self._shape.bar and is_held

    def _hold(self, seconds: float | None, value: float) -> None:
        """Add up the time above `hold`; each edge lies where the line between frames crosses it."""
        _, before_seconds, before = self._before or (0, None, 0.0)
        if seconds is None or before_seconds is None:
            return
        hold, span = self._shape.hold, seconds - before_seconds
        over = value > hold
        if over == (before > hold):
            self._held += span if over else 0.0
            return
        share = (max(value, before) - hold) / max(abs(value - before), 1e-9)
        self._held += span * share


class Recent:
    """The median of the last few numbers."""

    def __init__(self, most: int) -> None:
        self._values: deque[float] = deque(maxlen=most)

    def add(self, value: float) -> None:
        """Take one more number in, and the oldest out."""
        self._values.append(value)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def median(self) -> float:
        """The middle one (the upper of two); NaN without any."""
        ordered = sorted(self._values)
        return ordered[len(ordered) // 2] if ordered else math.nan
