"""The metrics of streams of frames. None says whose they are."""

from serve.errors import STATUSES
from serve.observe.registry import SECONDS, counter, gauge, histogram

_sockets = gauge("limen_stream_sockets", "Streams that are open now.", "livesum")
_ended = counter("limen_streams_total", "Streams that have ended, by closing code.", "close_code")
_frames = counter(
    "limen_stream_frames_total", "Frames that came over streams, by what became of them.", "fate"
)
_hint_seconds = histogram(
    "limen_stream_hint_seconds", "Seconds from a frame's arrival to its hint or its end.", SECONDS
)

_CLOSE_CODES = {1000, 1001, 1006, 1009, *(4_000 + status for status in STATUSES.values())}
EXAMINED, DROPPED, REFUSED = "examined", "dropped", "refused"


def hold_sockets(number: int) -> None:
    """Streams opened, or ended when negative."""
    _sockets.inc(number)


def count_end(close_code: int) -> None:
    """One stream has ended; 1006 is a connection that was lost. What else a client says is `other`:
    it may say anything.
    """
    _ended.labels(str(close_code) if close_code in _CLOSE_CODES else "other").inc()


def count_frame(fate: str) -> None:
    """One frame was looked at, was dropped for a newer one, or found no room."""
    _frames.labels(fate).inc()


def observe_hint(seconds: float) -> None:
    """How long one frame took until what it shows could be told."""
    _hint_seconds.observe(seconds)
