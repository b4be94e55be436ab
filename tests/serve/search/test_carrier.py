"""Searches on their way to a shard: together, but none held back by another."""

import asyncio
from collections.abc import Sequence

import pytest

from serve.errors import Code, ServeError
from serve.inference.search import carrier
from serve.inference.search.carrier import CALLS_MAX, SEARCHES_MAX, Carrier
from serve.inference.search.fanout import ShardLostError
from tests.serve.search.scripted_shards import until


class Calls:
    """Calls that are answered when a test says so, each search with itself."""

    def __init__(self) -> None:
        self.made: list[Sequence[bytes]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def __call__(self, searches: Sequence[bytes]) -> Sequence[bytes]:
        self.made.append(searches)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return searches

    def answer(self, place: int) -> None:
        self.answers[place].set_result(None)


def asking(made: Carrier, number: int) -> "list[asyncio.Task[bytes]]":
    """So many searches, all at once."""
    return [asyncio.create_task(made.carry(b"%d" % place)) for place in range(number)]


async def test_what_is_asked_at_once_goes_together() -> None:
    """In calls of 64 at most, two at a time; what comes meanwhile goes with the next."""
    calls = Calls()
    made = Carrier(calls, 1_024)
    tasks = asking(made, 2 * SEARCHES_MAX + 10)
    await until(lambda: len(calls.answers) == CALLS_MAX)
    assert [len(call) for call in calls.made] == [SEARCHES_MAX] * CALLS_MAX
    late = asking(made, 5)
    await asyncio.sleep(0)
    calls.answer(1)
    await until(lambda: len(calls.answers) == CALLS_MAX + 1)
    assert len(calls.made[2]) == 15
    calls.answer(0)
    calls.answer(2)
    assert await asyncio.gather(*tasks, *late) == [
        b"%d" % place for place in (*range(len(tasks)), *range(5))
    ]


async def test_a_call_that_waits_for_the_log_holds_nobody_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a while it counts no longer."""
    monkeypatch.setattr(carrier, "YOUNG_S", 0.01)
    calls = Calls()
    made = Carrier(calls, 1_024)
    slow = asking(made, 2 * SEARCHES_MAX)
    await until(lambda: len(calls.answers) == CALLS_MAX)
    (quick,) = asking(made, 1)
    await until(lambda: len(calls.answers) == CALLS_MAX + 1)
    calls.answer(2)
    assert await quick == b"0"
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_who_gave_up_is_not_sent() -> None:
    """Their search stays behind; the others' answers are theirs."""
    calls = Calls()
    made = Carrier(calls, 1_024)
    tasks = asking(made, 3)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await until(lambda: len(calls.answers) == 1)
    assert calls.made == [[b"0", b"2"]]
    calls.answer(0)
    assert [await tasks[0], await tasks[2]] == [b"0", b"2"]


async def test_what_a_call_met_all_of_it_met() -> None:
    """A lost shard is lost to each of its searches, and the next call is tried."""
    calls = Calls()
    made = Carrier(calls, 1_024)
    tasks = asking(made, 3)
    await until(lambda: len(calls.answers) == 1)
    calls.answers[0].set_exception(ShardLostError("shard-0"))
    met = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in met] == [ShardLostError] * 3
    (again,) = asking(made, 1)
    await until(lambda: len(calls.answers) == 2)
    calls.answer(1)
    assert await again == b"0"


async def test_one_search_too_many_is_refused() -> None:
    """Where as many wait as may, the next is told to come back."""
    made = Carrier(Calls(), 4)
    tasks = asking(made, 4)
    await asyncio.sleep(0)
    with pytest.raises(ServeError) as refused:
        await made.carry(b"5")
    assert (refused.value.code, refused.value.retry_after_s) == (Code.OVERLOADED, 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
