"""Sockets that are open and say nothing: before their first message, or after the hello."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from serve.bench.generator import AGENT, NO_ANSWER
from serve.outbound.phone import Refused, Start, connected, opened

TOGETHER = 32  # sockets that are being opened at a time


@dataclass(frozen=True, slots=True)
class Hold:
    """So many `sockets`; each sends one token and takes its hello, or says nothing without any."""

    url: str
    sockets: int
    tokens: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Hold":
        """The plan that a line of JSON says."""
        return cls(**{**found, "tokens": tuple(found["tokens"])})


@dataclass(slots=True)
class Held:
    """How many are open, how long opening them took, and what became of the others."""

    open: int = 0
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def hold(plan: Hold) -> AsyncIterator[Held]:
    """The sockets, open for as long as the block runs; afterwards `open` counts those that the
    server had not closed by then.
    """
    loop = asyncio.get_running_loop()
    held, refused, start_s = Held(), Counter[str](), loop.time()
    release, slots = asyncio.Event(), asyncio.Semaphore(TOGETHER)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        asyncio.TaskGroup() as sockets,
    ):
        ready = [asyncio.Event() for _ in range(plan.sockets)]

        async def one(number: int) -> None:
            async with AsyncExitStack() as stack:
                try:
                    async with slots:
                        silence = await _silent(stack, http, plan, number)
                    held.open += 1
                except Refused as error:
                    refused[error.ended.word] += 1
                    return
                except (ConnectionError, TimeoutError, aiohttp.ClientError):
                    refused[NO_ANSWER] += 1
                    return
                finally:
                    ready[number].set()
                await _either(silence, release)
                if not release.is_set():
                    held.open -= 1
                    refused["closed"] += 1

        for number in range(plan.sockets):
            sockets.create_task(one(number))
        for each in ready:
            await each.wait()
        held.seconds, held.refused = loop.time() - start_s, dict(refused)
        try:
            yield held
        finally:
            held.refused = dict(refused)
            release.set()


async def _silent(
    stack: AsyncExitStack, http: aiohttp.ClientSession, plan: Hold, number: int
) -> asyncio.Task[Any]:
    """One socket, opened; what ends when the server has closed it."""
    agent = {"User-Agent": AGENT}
    if plan.tokens:
        start = Start(plan.url, plan.tokens[number], headers=agent)
        phone = await stack.enter_async_context(opened(http, start))
        return _owned(stack, asyncio.create_task(phone.closed()))
    socket = await stack.enter_async_context(connected(http, plan.url, agent))
    return _owned(stack, asyncio.create_task(socket.receive()))


def _owned(stack: AsyncExitStack, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    async def end() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(end)
    return task


async def _either(ended: asyncio.Task[Any], release: asyncio.Event) -> None:
    waiting = asyncio.create_task(release.wait())
    try:
        await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
