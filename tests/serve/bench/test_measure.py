"""Clocks and summaries: rivals alternate, medians are per image, absent figures stay absent."""

from serve.bench.measure import Timing, describe_machine, time_work
from serve.bench.stages import Row
from serve.bench.summary import summarise


def row(group: str, name: str, cpu_ms: float, batch: int = 1, threads: int = 1) -> Row:
    """A measured line; two threads are twice as fast."""
    wall_ms = cpu_ms / threads
    return Row(group, name, "720x960", batch, threads, Timing(wall_ms, cpu_ms, 1000 / wall_ms, 9))


def test_rivals_take_turns() -> None:
    """Each is called once unmeasured, and then in every round, in alternation."""
    calls: list[str] = []

    def work(name: str) -> None:
        if calls[-1:] != [name]:
            calls.append(name)

    timings = time_work({"a": (lambda: work("a"), 4), "b": (lambda: work("b"), 1)}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert timings["a"].images % 4 == 0
    assert all(timing.images_per_s > 0 for timing in timings.values())


def test_summary_quotes_the_best_of_each() -> None:
    """The cheapest embedding, dlib beside it, and the fastest layout of the whole path."""
    rows = [
        row("embedding", "limen", 6.0, batch=1),
        row("embedding", "limen", 5.0, batch=8),
        row("embedding", "dlib", 75.0),
        row("whole", "selfie", 12.0, batch=1),
        row("whole", "selfie", 10.0, batch=8),
        row("whole", "selfie", 11.0, batch=8, threads=2),
    ]
    summary = summarise(rows)
    assert summary["embedding_cpu_ms"] == 5.0
    assert summary["dlib_over_embedding_cpu"] == 15.0
    whole = summary["whole_720x960"]
    assert (whole["cpu_ms"], whole["over_embedding_cpu"]) == (10.0, 2.0)
    assert (whole["best_batch"], whole["best_threads"]) == (8, 2)


def test_absent_dlib_is_no_number() -> None:
    """Without dlib its figures are None, never zero."""
    summary = summarise([row("embedding", "limen", 5.0)])
    assert summary["dlib_cpu_ms"] is None
    assert summary["dlib_over_embedding_cpu"] is None


def test_the_machine_is_described() -> None:
    """Every report can say on what it was measured."""
    assert set(describe_machine()) == {"processor", "cores", "system", "python", "commit"}
    assert all(describe_machine().values())
