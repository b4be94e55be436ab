"""The metrics of bulk sweeps. None says whose faces they are."""

from serve.observe.registry import counter

_tiles = counter("limen_sweep_tiles_total", "Tiles of bulk sweeps done.")
_pairs = counter("limen_sweep_pairs_total", "Pairs of faces compared by bulk sweeps.")
_busy_seconds = counter(
    "limen_sweep_busy_seconds_total", "Seconds that threads have worked on tiles."
)
_failures = counter(
    "limen_sweep_tile_failures_total", "Tiles that failed and are tried again, if not too often."
)
_ended = counter(
    "limen_sweeps_ended_total",
    "Sweeps that ended: done, or the reason they were given up.",
    "outcome",
)


def count_tile(pairs: int, busy_seconds: float) -> None:
    """One tile done."""
    _tiles.inc()
    _pairs.inc(pairs)
    _busy_seconds.inc(busy_seconds)


def count_tile_failure() -> None:
    """One tile that failed."""
    _failures.inc()


def count_ended(outcome: str) -> None:
    """One sweep that ended, by its status or the reason."""
    _ended.labels(outcome).inc()
