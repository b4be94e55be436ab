"""The metrics of 1:N search. None says whose faces they are."""

from collections.abc import Mapping

from serve.observe.registry import BATCH_SIZES, SECONDS, counter, gauge, histogram

LAG_SECONDS = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)

_seconds = histogram(
    "limen_search_seconds",
    "Seconds of one search for a face in one holder of the index, waiting included.",
    SECONDS,
)
_lag_seconds = histogram(
    "limen_search_lag_seconds",
    "Seconds that a search waited for its holder to follow the log of faces; 0 where it had.",
    LAG_SECONDS,
)
_batches = histogram(
    "limen_search_batch_probes", "Faces that were searched for in one scan.", BATCH_SIZES
)
_incomplete = counter(
    "limen_searches_incomplete_total", "Searches with partitions that nobody answered for."
)
_refused = counter(
    "limen_index_refused_entries_total",
    "Entries of the log of faces that could not be opened or are no template, and are not found.",
)
_faces = gauge(
    "limen_index_faces", "Faces that a front door or shard can find, by list.", "livemax", "list"
)
_dead_rows = gauge(
    "limen_index_dead_rows", "Rows of erased faces that are not swept out yet.", "livemax"
)
_size_bytes = gauge("limen_index_bytes", "Bytes of the rows of the index.", "livemax")


def observe_search(seconds: float, *, is_complete: bool) -> None:
    """One search, and whether everybody was looked at."""
    _seconds.observe(seconds)
    if not is_complete:
        _incomplete.inc()


def observe_lag(seconds: float) -> None:
    """How long one search waited for the log."""
    _lag_seconds.observe(seconds)


def observe_batch(probes: int) -> None:
    """How many were searched for at once."""
    _batches.observe(probes)


def count_refused(entries: int) -> None:
    """Entries of the log that nobody will find."""
    _refused.inc(entries)


def set_rows(live: Mapping[str, int], dead: int, size_bytes: int) -> None:
    """How many faces there are on each list, how many rows are dead, and what they take."""
    for kind, faces in live.items():
        _faces.labels(kind).set(faces)
    _dead_rows.set(dead)
    _size_bytes.set(size_bytes)
