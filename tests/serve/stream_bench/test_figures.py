"""The arithmetic of the benchmark of streams, on counters made by hand."""

from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from serve.bench.counters import Counters, Tally
from serve.bench.generator import DIGITS, LATENCY_US_MAX
from serve.bench.streams.figures import Idle, Place, Point, most_held, percentiles
from serve.bench.streams.goals import goals
from serve.bench.streams.play import Played
from serve.cli.liveness.stream_tables import print_streams
from serve.pictures.stream_bench import draw_streams

SPENT = Counters(
    {"front door": 2.0, "redis": 0.5},
    engine_s=1.5,
    batches=Tally(50, 200),
    frames={"examined": 95, "dropped": 4, "refused": 1},
)


def histogram(*milliseconds: float) -> str:
    """Latencies as the phones hand them over."""
    made = HdrHistogram(1, LATENCY_US_MAX, DIGITS)
    for value in milliseconds:
        made.record_value(round(1000 * value))
    return str(made.encode().decode())


def point(sockets: int = 2, pace: float = 5.0, engine: str = "local", **overrides: Any) -> Point:
    """Two seconds that count: 100 frames made, 80 sent, 95 of 100 in all looked at."""
    played: dict[str, Any] = {
        "answers": {"approved": 9, "needs_review": 1}, "made": 100, "sent": 80, "all_sent": 100,
        "hints": 40, "window_s": 2.0, "wall_s": 3.0, "covering": histogram(10, 20, 300),
        "newest": histogram(*range(1, 101)), "finishing": histogram(50), "greeting": histogram(),
        "late_ms": 0.5, "cpu_s": 0.1, "without_token": 0,
    }  # fmt: skip
    fields: dict[str, Any] = {"spent": SPENT}
    for name, value in overrides.items():
        (played if name in played else fields)[name] = value
    return Point(Place(engine, sockets, pace), Played(**played), **fields)


def idle(**overrides: Any) -> Idle:
    """Two thousand sockets that add 20 KiB each, 25 with all that active streams take."""
    fields: dict[str, Any] = {
        "engine": "local", "state": "after their hello", "sockets": 2_000, "open": 2_000,
        "seconds": 3.0, "refused": {}, "before_bytes": 100 * 2**20,
        "full_bytes": 100 * 2**20 + 2_000 * 20 * 2**10, "after_bytes": 101 * 2**20,
        "beside_bytes": 100 * 2**20 + 2_000 * 25 * 2**10,
    }  # fmt: skip
    return Idle(**{**fields, **overrides})


def test_a_frame_that_nobody_looked_at_is_dropped() -> None:
    """Whether for want of a credit or of room: made less looked at, in the seconds that count."""
    found = point()
    assert (found.made_per_s, found.sent_per_s) == (50.0, 40.0)
    assert found.examined_share == pytest.approx(0.95)
    assert found.examined_per_s == pytest.approx(38.0)
    assert found.dropped_per_s == pytest.approx(12.0)


def test_cost_is_that_of_frames_looked_at() -> None:
    """Seconds of every process over those frames, and the models' share; unknown where a process
    died or no frame was looked at.
    """
    found = point()
    assert found.cpu_ms["front door"] == pytest.approx(2000 / 95)
    assert found.share == pytest.approx(0.6)
    for unknown in (point(lost=("replica",)), point(spent=Counters({"front door": 1.0}))):
        assert (unknown.cpu_ms, unknown.share) == ({}, None)


def test_held_means_looked_at_and_approved() -> None:
    """Nearly every frame, and each stream that ended; a machine holds what it held."""
    all_seen = {"examined": 100.0}
    good: dict[str, Any] = {
        "sent": 100,
        "answers": {"approved": 10},
        "spent": Counters({}, frames=all_seen),
    }
    assert point(**good).is_held
    assert not point(**{**good, "sent": 98}).is_held
    assert not point(**{**good, "answers": {"approved": 9, "no_answer": 1}}).is_held
    assert not point(**{**good, "answers": {}}).is_held
    points = [point(sockets=n, **good) for n in (1, 5)] + [point(sockets=9), point(1, 8.0, **good)]
    held = [(each.place.sockets, each.place.frames_per_s) for each in most_held(points)]
    assert held == [(5, 5.0), (1, 8.0)]


def test_a_point_is_reported_whole() -> None:
    """Rates, latencies, batches and ends; no percentiles of nothing."""
    found = point().encode()
    assert found["hint_ms"] == pytest.approx(
        {"p50": 50, "p95": 95, "p99": 99, "max": 100}, rel=1e-3
    )
    assert (found["hello_ms"], found["mean_batch"]) == (None, 4.0)
    assert (found["streams"], found["approved"], found["errors"]) == (10, 9, {"needs_review": 1})
    assert percentiles(histogram()) is None


def test_a_stream_that_came_to_nothing_is_still_a_point() -> None:
    """When nothing was sent the figures are zeros, not an exception."""
    nothing: dict[str, Any] = {
        "answers": {},
        "made": 0,
        "sent": 0,
        "newest": histogram(),
        "spent": Counters({}),
    }
    found = point(**nothing).encode()
    assert (found["examined_per_s"], found["held"], found["hint_ms"]) == (0.0, False, None)


def test_memory_is_that_of_each_socket_that_was_there() -> None:
    """What the door grew by over the sockets open at the end, with and without active streams."""
    found = idle()
    assert (found.kib_each, found.beside_kib_each) == (20.0, 25.0)
    assert idle(open=1_000).kib_each == 40.0
    assert idle(beside_bytes=None).beside_kib_each is None
    assert found.encode()["kept_after_closing_kib"] == 1_024


def test_the_goal_is_a_ceiling_for_each_figure_of_memory() -> None:
    """30 KiB; the name of the goal says how many sockets, and how far they had come."""
    met, beside = goals([idle()])
    assert (met.name, met.is_met) == ("KiB a socket, 2,000 after their hello", True)
    assert beside.is_met
    (missed,) = goals([idle(open=1_000, beside_bytes=None)])
    assert not missed.is_met


def test_whatever_was_measured_can_be_drawn() -> None:
    """Points, idle sockets, or both, and points without a figure."""
    points = [point(), point(10, 10.0, "ray", lost=("replica",)), point(newest=histogram())]
    for drawn in (draw_streams(points, [idle()]), draw_streams(points, []), draw_streams([], [])):
        assert drawn.startswith(b"\x89PNG")


def test_a_report_is_told_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table: rates, cost by process, idle sockets and goals; what is held, in a sentence."""
    monkeypatch.setenv("COLUMNS", "240")
    all_seen = Counters({"front door": 1.0}, 0.5, frames={"examined": 100.0})
    held = point(5, sent=100, answers={"approved": 10}, spent=all_seen)
    points = [held, point(lost=("replica",)), point(newest=histogram(), spent=Counters({}))]
    report = {
        "machine": {"processor": "toy", "cores": 2, "commit": "abc"},
        "command": "limen bench stream", "frame": "480x640", "held_min": 0.99,
        "goals": [goal.encode() for goal in goals([idle()])],
        "held": [each.encode() for each in most_held(points)],
        "points": [each.encode() for each in points],
        "idle": [idle().encode(), idle(open=1_999, refused={"closed": 1}).encode()],
    }  # fmt: skip
    print_streams(report)
    told = capsys.readouterr().out
    for part in (
        "toy, 2 cores, commit abc", "local holds 5 sockets x 5/s: 50 frames/s", "lost: replica",
        "10 of 10 approved", "9 of 10 approved, 1 needs_review", "50 / 99",
        "1,999 of 2,000 after their hello, 1 closed", "KiB a socket, 2,000 after their hello",
    ):  # fmt: skip
        assert part in told
    print_streams({**report, "points": [], "held": [], "idle": [], "goals": []})
    assert "99%" in capsys.readouterr().out
