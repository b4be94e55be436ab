"""A search beside a writer finds what brute force finds at one instant of the time it took.

Twice: with writes put between the steps of a search by a plan, so that every run meets the same
ones and a planted fault is met as well; and with true threads.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from index import scan
from index.arena import Arena
from index.chunks import Chunk, Rows
from index.search import Captured, Piece, Search
from tests.index.history import History, Seen
from tests.index.oracle import Question
from tests.index.templates import People

DIMENSION = 16
PEOPLE = People(DIMENSION)
ROWS = PEOPLE.strangers(3_000)
PROBES = PEOPLE.photos(ROWS[:700:100])
QUESTIONS = [
    Question(limit=3),
    Question(limit=10),
    Question(limit=5_000),
    Question(0.8, 20, exclude="o3"),
    Question(0.9, 5),
    Question(0.9, 1_000),
    Question(-0.5, 40),
]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks, compactions and matrix products, in a gallery that brute force can follow."""
    monkeypatch.setattr("index.chunks.ROWS_MIN", 16)
    monkeypatch.setattr("index.chunks.ROWS_MAX", 256)
    monkeypatch.setattr(scan, "BATCH_MIN", len(QUESTIONS))
    monkeypatch.setattr("index.arena.DEAD_ROWS_MIN", 40)


def planned(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[Seen]:
    """Answers of searches between whose steps a plan has put writes, which no instant explains."""
    chance = np.random.default_rng(seed)
    history = History(Arena(DIMENSION), ROWS[:600], seed)

    def interrupted(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any) -> Any:
            while chance.random() < 0.15 and not history.is_over:
                if not history.arena._erasing.locked():  # noqa: SLF001 (it would wait for itself)
                    history.write()
            return step(*args)

        return stepped

    for name in ("best", "scores", "exact"):
        monkeypatch.setattr(scan, name, interrupted(getattr(scan, name)))
    seen: list[Seen] = []
    while not history.is_over:
        history.write()
        count = int(chance.choice([1, 7]))
        partitions = None if chance.random() < 0.8 else frozenset({1, 2})
        asked = [
            Question(one.floor, one.limit, one.exclude, partitions)
            for one in QUESTIONS[:: 1 if count > 1 else 7]
        ]
        seen += history.search(PROBES[:count], asked)
    assert any(one.until > one.since for one in seen)
    monkeypatch.undo()
    return history.unexplained(PROBES, seen)


@pytest.mark.parametrize("seed", range(8))
def test_writes_between_the_steps_of_a_search_do_not_show(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Every answer is explained by one instant, wherever writes and compactions fell."""
    assert list(planned(monkeypatch, seed)) == []


class Still:
    """A counter that stands still: nobody ever looks twice."""

    def __get__(self, instance: object, owner: type) -> int:
        return 0

    def __set__(self, instance: object, value: int) -> None:
        pass


def wipe_only(chunk: Chunk, rows: Rows) -> None:
    """Bury without a mark."""
    chunk.vectors[rows] = 0


def scan_once(search: Search, captured: Captured, scan: Any = Search.scan) -> None:
    """Never scan what came during the search."""
    if not search._pieces:  # noqa: SLF001
        scan(search, captured)


def believe(_: Search, piece: Piece, number: int, __: np.float32) -> None:
    """Take a list that is full for complete."""
    piece.best.bounds[number] = -np.inf


FAULTS = {
    "no second look": (Arena, "_erasures", Still()),
    "no mark": (Chunk, "bury", wipe_only),
    "no scan of what came meanwhile": (Search, "scan", scan_once),
    "no widening": (Search, "_widen", believe),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The check can fail: without any one of the steps that searches rest on, it does."""
    where, name, planted = FAULTS[fault]
    for seed in range(8):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, planted, raising=False)
            with pytest.MonkeyPatch.context() as plan:
                if list(planned(plan, seed)):
                    return
    pytest.fail(f"{fault} went unnoticed")


@pytest.mark.parametrize("readers", [1, 3])
def test_searches_in_threads_hold_for_an_instant(readers: int) -> None:
    """So it is with one writer and several readers that run as they like."""
    history = History(Arena(DIMENSION), ROWS[:1_500], seed=readers)
    seen: list[list[Seen]] = [[] for _ in range(readers)]

    def read(mine: list[Seen]) -> None:
        while not history.is_over:
            mine += history.search(PROBES, QUESTIONS)
            mine += history.search(PROBES[:1], QUESTIONS[1:2])

    threads = [threading.Thread(target=read, args=(mine,)) for mine in seen]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while not history.is_over:
            history.write()
    finally:
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    every = [one for mine in seen for one in mine]
    assert sum(one.until - one.since > 1 for one in every) > 10
    for mine in seen:
        assert list(history.unexplained(PROBES, mine[:: max(1, len(mine) // 300)])) == []
