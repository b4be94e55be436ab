"""Calls that come all at once run one in each pass of the event loop."""

import asyncio
from functools import partial

from serve.turns import Turns


async def test_each_pass_runs_one() -> None:
    """In their order; what else waits for the loop gets its turn between them."""
    turns, ran = Turns(), list[object]()
    for number in range(4):
        turns.put(partial(ran.append, number))
    assert ran == []
    for done in range(4):
        assert ran == list(range(done))
        await asyncio.sleep(0)
    assert ran == [0, 1, 2, 3]


async def test_a_call_may_bring_another() -> None:
    """It joins at the end, and no pass runs two."""
    turns, ran = Turns(), list[object]()

    def first() -> None:
        ran.append("first")
        turns.put(partial(ran.append, "third"))

    turns.put(first)
    turns.put(partial(ran.append, "second"))
    for number, _ in enumerate(("first", "second", "third"), start=1):
        await asyncio.sleep(0)
        assert len(ran) == number
    assert ran == ["first", "second", "third"]


async def test_hurried_calls_run_once() -> None:
    """All at once, and not again in their turns; who comes later waits again."""
    turns, ran = Turns(), list[object]()
    for number in range(3):
        turns.put(partial(ran.append, number))
    turns.hurry()
    assert ran == [0, 1, 2]
    turns.put(partial(ran.append, 3))
    assert ran == [0, 1, 2]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ran == [0, 1, 2, 3]
