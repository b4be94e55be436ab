"""How far a sweep has come, when it will be done, and when it is better given up."""

from dataclasses import dataclass
from typing import Self

from serve.domain.sweeps.sweep import PAIRS_MAX, Sweep, SweepStatus

JUDGED_TILES = 8  # tiles done, or
JUDGED_SHARE = 0.05  # this share of all, until the rest is judged by them
CLEARLY = 2.0  # times too many: tiles differ
AT_ONCE, AT_ONCE_SHARE = 8.0, 0.1  # so many times, by so much of what is too many: at any tile


@dataclass(frozen=True, slots=True)
class Progress:
    """`share` of the tiles that are done, 0 to 1. `pairs_per_s` that were compared since the start,
    by all workers; `eta_s` seconds until the last tile is done, at that pace; `expected_found`
    pairs at or above the threshold in the end. None where nothing is known of it yet.
    """

    share: float
    pairs_per_s: float | None
    eta_s: float | None
    expected_found: int | None

    @classmethod
    def of(cls, sweep: Sweep, now_ms: int) -> Self:
        """Of a sweep as it stands at `now_ms`."""
        if sweep.started_at_ms is None:
            return cls(0.0, None, None, None)
        until_ms = now_ms if sweep.ended_at_ms is None else sweep.ended_at_ms
        elapsed_s = max(0, until_ms - sweep.started_at_ms) / 1_000
        share = share_of(sweep)
        pace = sweep.compared / elapsed_s if elapsed_s > 0 and sweep.compared else None
        eta_s = elapsed_s * (1 - share) / share if share > 0 else None
        if sweep.status.is_over:
            eta_s = 0.0
        return cls(share, pace, eta_s, expected_found(sweep))


def share_of(sweep: Sweep) -> float:
    """Of the tiles, how many are done; 1 for a sweep that is done, whatever there was to do."""
    if sweep.status is SweepStatus.DONE:
        return 1.0
    return min(1.0, sweep.tiles_done / sweep.tiles) if sweep.tiles else 0.0


def expected_found(sweep: Sweep) -> int | None:
    """Pairs at or above the threshold in the end, if the rest is like what was compared; None
    before anything was.
    """
    if sweep.status.is_over:
        return sweep.found
    if not sweep.compared or sweep.threshold is None:
        return None
    return round(sweep.found * max(1.0, sweep.to_compare / sweep.compared))


def has_too_many(sweep: Sweep, pairs_max: int = PAIRS_MAX) -> bool:
    """Whether more pairs were found than a threshold can mean, or clearly will be."""
    if sweep.threshold is None:
        return False
    if sweep.found > pairs_max:
        return True
    expected = expected_found(sweep) or 0
    if sweep.found > AT_ONCE_SHARE * pairs_max and expected > AT_ONCE * pairs_max:
        return True
    is_judged = sweep.tiles_done >= min(JUDGED_TILES, max(1, JUDGED_SHARE * sweep.tiles))
    return is_judged and expected > CLEARLY * pairs_max


def why_too_many(sweep: Sweep, similarity: float, better: float) -> str:
    """The reason in a sentence. `similarity` is the threshold as it was asked for, `better` one
    that keeps few enough pairs of what was looked at.
    """
    rate = sweep.found / max(1, sweep.compared)
    return (
        f"{sweep.found:,} of {sweep.compared:,} pairs compared ({rate:.2%}) are at or above the "
        f"threshold {similarity:.4g}: so many are chance. A threshold of {better:.4g} would do."
    )
