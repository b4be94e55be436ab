"""A child: announced, restarted, given up."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serve.processes.child import (
    BACKOFF_FIRST_S,
    BACKOFF_S_MAX,
    CRASHES_MAX,
    CRASHES_WINDOW_S,
    EXIT_REFUSED,
    Child,
    Crashes,
    GaveUpError,
    PartState,
    Program,
)

DEADLINE_S = 60.0
PROGRAM = (sys.executable, "-m", "tests.serve.processes.child_program")
COMMANDS = {
    "idle": (*PROGRAM, "idle"),
    "deaf": (*PROGRAM, "deaf"),
    "crash": (sys.executable, "-c", "raise SystemExit(1)"),
    "refuse": (sys.executable, "-c", "raise SystemExit(2)"),
}


@asynccontextmanager
async def kept(mode: str) -> AsyncIterator[tuple[Child, "asyncio.Task[None]"]]:
    """A child of this mode while somebody keeps it running."""
    reading, writing = os.pipe()
    child = Child(Program("child", COMMANDS[mode]), os.environ, reading)
    keeper = asyncio.create_task(child.keep())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield child, keeper
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await child.stop(DEADLINE_S)
        os.close(reading)
        os.close(writing)


async def is_ready(child: Child, *, other_than: int = 0) -> int:
    """The process id once a process, another one than before, is ready."""
    while child.state is not PartState.READY or child.pid == other_than:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return child.pid


async def test_a_child_is_ready_when_it_says_so() -> None:
    """It starts as starting and becomes ready by its own announcement."""
    async with kept("idle") as (child, _):
        states = [child.state]
        await child.first_ready.wait()
        states.append(child.state)
        assert states == [PartState.DOWN, PartState.READY]


async def test_a_killed_child_is_started_again() -> None:
    """Another process takes its place, and becomes ready in turn."""
    async with kept("idle") as (child, keeper):
        first = await is_ready(child)
        os.kill(first, signal.SIGKILL)
        second = await is_ready(child, other_than=first)
        assert second != first
        assert not keeper.done()


async def test_a_child_that_keeps_dying_is_given_up() -> None:
    """After so many deaths in a minute there is no further start."""
    async with kept("crash") as (child, keeper):
        with pytest.raises(GaveUpError) as caught:
            await keeper
        assert caught.value.exit_status == 1
        assert child.state is PartState.DOWN


async def test_a_child_that_refuses_to_start_is_not_tried_again() -> None:
    """A coded error would be met again: the service ends with its exit status."""
    async with kept("refuse") as (_, keeper):
        with pytest.raises(GaveUpError) as caught:
            await keeper
        assert caught.value.exit_status == EXIT_REFUSED


async def test_a_child_that_does_not_listen_is_killed() -> None:
    """Its time to stop is bounded, whatever it is doing."""
    async with kept("deaf") as (child, keeper):
        pid = await is_ready(child)
        keeper.cancel()
        await child.stop(0.1)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_each_death_doubles_the_wait() -> None:
    """From the first back-off to the largest, then given up."""
    crashes = Crashes("part")
    delays = [crashes.delay_s(float(number)) for number in range(CRASHES_MAX)]
    assert delays == [
        min(BACKOFF_FIRST_S * 2**number, BACKOFF_S_MAX) for number in range(CRASHES_MAX)
    ]
    with pytest.raises(GaveUpError):
        crashes.delay_s(float(CRASHES_MAX))


def test_deaths_of_long_ago_are_forgotten() -> None:
    """A part that dies now and then is always started again, soon."""
    crashes = Crashes("part")
    apart_s = CRASHES_WINDOW_S + 1
    delays = {crashes.delay_s(number * apart_s, was_ready=True) for number in range(100)}
    assert delays == {BACKOFF_FIRST_S}


def test_a_part_that_had_been_ready_comes_back_at_once() -> None:
    """Only starts that fail in a row are spaced out."""
    crashes = Crashes("part")
    delays = [crashes.delay_s(0.0, was_ready=ready) for ready in (False, False, True, False)]
    assert delays == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S]
