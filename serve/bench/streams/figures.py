"""What the counters of one measured point of streams amount to, and what an idle socket costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from serve.bench.counters import Counters
from serve.bench.generator import APPROVED
from serve.bench.streams.play import Played

EXAMINED, DROPPED, REFUSED = "examined", "dropped", "refused"
HELD_MIN = 0.99  # of the frames that cameras took must have been looked at
KIB = 2**10


@dataclass(frozen=True, slots=True)
class Place:
    """What was measured: so many sockets whose cameras take so many frames a second each, beside
    `idle` sockets that say nothing.
    """

    engine: str
    sockets: int
    frames_per_s: float
    idle: int = 0

    def __str__(self) -> str:
        return f"{self.sockets} x {self.frames_per_s:g}/s"


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point: what phones saw, what the service counted and spent meanwhile.

    `lost` names parts of the service that died, `others` is the part of the machine that something
    else took.
    """

    place: Place
    played: Played
    spent: Counters
    lost: tuple[str, ...] = ()
    others: float = 0.0

    @property
    def streams(self) -> int:
        """Those that ended, however."""
        return sum(self.played.answers.values())

    @property
    def approved(self) -> int:
        """Those that ended in approval."""
        return self.played.answers.get(APPROVED, 0)

    @property
    def errors(self) -> dict[str, int]:
        """Every other end, by what was said."""
        return {name: n for name, n in self.played.answers.items() if name != APPROVED}

    @property
    def made_per_s(self) -> float:
        """Frames that cameras took, over the time in which all were open."""
        return self.played.made / self.played.window_s

    @property
    def sent_per_s(self) -> float:
        """Those of them for which there was a credit."""
        return self.played.sent / self.played.window_s

    @property
    def examined_share(self) -> float | None:
        """Of the frames that came, the part that the models looked at; None where none came."""
        fates = self.spent.frames
        total = sum(fates.values())
        return fates.get(EXAMINED, 0.0) / total if total else None

    @property
    def examined_per_s(self) -> float:
        """Frames that were sent and looked at."""
        return self.sent_per_s * (self.examined_share or 0.0)

    @property
    def dropped_per_s(self) -> float:
        """Frames that a camera took and nobody looked at: for want of a credit, or of room."""
        return self.made_per_s - self.examined_per_s

    @property
    def is_held(self) -> bool:
        """Whether nearly all frames were looked at and every stream was approved."""
        enough = self.examined_per_s >= HELD_MIN * self.made_per_s
        return enough and self.approved == self.streams > 0

    @property
    def share(self) -> float | None:
        """Of the service's processor seconds, the part spent in decoding and models; 0 to 1."""
        total_s = sum(self.spent.cpu_s.values())
        return self.spent.engine_s / total_s if self._has_cost and total_s > 0 else None

    @property
    def cpu_ms(self) -> dict[str, float]:
        """Processor milliseconds for each frame that was looked at, by process: streams from hello
        to verdict. None where a process took what it had spent along.
        """
        if not self._has_cost:
            return {}
        frames = self.spent.frames[EXAMINED]
        return {name: 1000 * seconds / frames for name, seconds in self.spent.cpu_s.items()}

    @property
    def _has_cost(self) -> bool:
        return self.spent.frames.get(EXAMINED, 0.0) > 0 and not self.lost

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        played = self.played
        return {
            "engine": self.place.engine,
            "sockets": self.place.sockets,
            "frames_per_s": self.place.frames_per_s,
            "idle_sockets": self.place.idle,
            "held": self.is_held,
            "made_per_s": round(self.made_per_s, 2),
            "sent_per_s": round(self.sent_per_s, 2),
            "examined_per_s": round(self.examined_per_s, 2),
            "dropped_per_s": round(self.dropped_per_s, 2),
            "frames": {name: int(count) for name, count in self.spent.frames.items()},
            "hint_ms": percentiles(played.newest),
            "covering_hint_ms": percentiles(played.covering),
            "hello_ms": percentiles(played.greeting),
            "done_ms": percentiles(played.finishing),
            "mean_batch": _rounded(self.spent.batches.mean, 2),
            "cpu_ms_per_frame": {name: round(ms, 3) for name, ms in self.cpu_ms.items()},
            "share_in_decode_and_models": _rounded(self.share, 4),
            "streams": self.streams,
            "approved": self.approved,
            "errors": self.errors,
            "lost": list(self.lost),
            "others_share_of_machine": round(self.others, 3),
            "generator_late_ms": round(played.late_ms, 2),
            "generator_cpu_s": round(played.cpu_s, 2),
            "sockets_without_session": played.without_token,
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """What sockets cost that say nothing, in resident bytes of the front door.

    `state` is how far they have come; `open` are those that were there at the end of `sockets`.
    `beside` is the most that was resident while others streamed, None where none did, and `after`
    what was when all were closed.
    """

    engine: str
    state: str
    sockets: int
    open: int
    seconds: float
    refused: Mapping[str, int]
    before_bytes: int
    full_bytes: int
    after_bytes: int
    beside_bytes: int | None = None

    @property
    def kib_each(self) -> float:
        """KiB that each has added."""
        return (self.full_bytes - self.before_bytes) / KIB / max(1, self.open)

    @property
    def beside_kib_each(self) -> float | None:
        """The same with all that active streams took meanwhile counted in."""
        if self.beside_bytes is None:
            return None
        return (self.beside_bytes - self.before_bytes) / KIB / max(1, self.open)

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        return {
            "engine": self.engine,
            "state": self.state,
            "sockets": self.sockets,
            "open": self.open,
            "refused": dict(self.refused),
            "opened_in_s": round(self.seconds, 2),
            "kib_each": round(self.kib_each, 2),
            "kib_each_beside_active": _rounded(self.beside_kib_each, 2),
            "kept_after_closing_kib": round((self.after_bytes - self.before_bytes) / KIB),
            "door_before_mib": round(self.before_bytes / 2**20, 1),
        }


def percentiles(encoded: str) -> dict[str, float] | None:
    """Milliseconds of a histogram of microseconds; None of an empty one."""
    histogram = HdrHistogram.decode(encoded)
    if not histogram.get_total_count():
        return None
    found = {f"p{p}": histogram.get_value_at_percentile(p) / 1000 for p in (50, 95, 99)}
    return {**found, "max": histogram.get_max_value() / 1000}


def most_held(points: list[Point]) -> list[Point]:
    """Of each engine and pace, the point with the most sockets of which everything was held."""
    best: dict[tuple[str, float], Point] = {}
    for point in points:
        key = point.place.engine, point.place.frames_per_s
        if point.is_held and (key not in best or best[key].place.sockets < point.place.sockets):
            best[key] = point
    return list(best.values())


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
