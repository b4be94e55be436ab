"""Receivers that cost a sender the most: almost too slow, silent, cut off, a byte a second.

The worker, the sender and Redis are real. TEST_BAD_CALLBACKS lengthens a run.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from redis.asyncio import Redis

from serve.domain.callback import DeliveryState
from serve.flows.delivery.endpoints import ENDPOINT_INFLIGHT_MAX
from serve.settings import Callbacks
from serve.store.queues import RedisOutbox
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import deps_on
from tests.helpers.receivers import Receiver, Talk, receiver, talking
from tests.serve.outbound.office import PATIENCE_S, Office, WatchedOutbox

CALLBACKS = int(os.environ.get("TEST_BAD_CALLBACKS", "40"))  # to each receiver
GOOD = 3
INFLIGHT_MAX = 48
SLOW_S = 14.9  # of the 15 that an attempt may take
SETTINGS = Callbacks(allow_private=True, inflight_max=INFLIGHT_MAX)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"


@dataclass
class Watch:
    """Connections to bad receivers: open now, the most at once, and how many slow ones answered."""

    open_now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    most_in_all: int = 0
    ended: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def connection(self, kind: str) -> AsyncIterator[None]:
        self.open_now[kind] += 1
        self.most[kind] = max(self.most[kind], self.open_now[kind])
        self.most_in_all = max(self.most_in_all, self.open_now.total())
        try:
            yield
        finally:
            self.open_now[kind] -= 1
            self.ended[kind] += 1


@pytest.fixture
def office(link: Redis, keyring: Keyring) -> Office:
    deps = deps_on(link, keyring)
    assert isinstance(deps.outbox, RedisOutbox)
    outbox = WatchedOutbox(deps.outbox)
    return Office(link, replace(deps, outbox=outbox), outbox)


async def test_bad_receivers_keep_nobody_else_waiting(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """All callbacks of the other tenants are delivered while the first attempts at a slow, a
    silent and a dripping receiver are still under way; at most 8 of each are, and all of them
    together leave sockets free.
    """
    watch = Watch()
    async with AsyncExitStack() as opened:
        bad = {
            kind: await opened.enter_async_context(talking(talk))
            for kind, talk in talks(watch).items()
        }
        good = [await opened.enter_async_context(receiver()) for _ in range(GOOD)]
        for kind, url in bad.items():
            await office.write(url, CALLBACKS, f"ten_{kind}")
        async with office.worker(settings=SETTINGS, inflight_max=INFLIGHT_MAX):
            await until(lambda: all(watch.most[kind] == ENDPOINT_INFLIGHT_MAX for kind in WAITING))
            for number, each in enumerate(good):
                await office.write(each.url, CALLBACKS, f"ten_good_{number}")
            await until(lambda: delivered(good) == GOOD * CALLBACKS)
            ended = sum(watch.ended[kind] for kind in WAITING)
            reset = watch.ended["reset"]
        settled = []
        while not office.outbox.settled.empty():
            settled.append(office.outbox.settled.get_nowait())
    states = Counter(event.state for event in settled if "good" in event.tenant_id)
    with capsys.disabled():
        print(
            f"\nbad receivers: {delivered(good)} of {GOOD * CALLBACKS} callbacks of others "
            f"delivered beside {len(bad)} bad receivers with {CALLBACKS} each, of which {ended} "
            f"waiting ones had ended and {reset} had been reset; at most {dict(watch.most)} at "
            f"once, {watch.most_in_all} in all"
        )
    assert ended == 0
    assert states == {DeliveryState.DELIVERED: GOOD * CALLBACKS}
    assert [len({post.headers["webhook-id"] for post in each.posted}) for each in good] == (
        [CALLBACKS] * GOOD
    )
    assert max(watch.most.values()) <= ENDPOINT_INFLIGHT_MAX
    assert watch.most_in_all < INFLIGHT_MAX
    slow = [event for event in settled if event.tenant_id == "ten_slow"]
    assert {event.state for event in slow} == {DeliveryState.DELIVERED}
    assert len(slow) >= ENDPOINT_INFLIGHT_MAX


WAITING = ("slow", "silent", "dripping")


def talks(watch: Watch) -> dict[str, Talk]:
    """What each bad receiver does with a request."""

    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with watch.connection("slow"):
            await asyncio.sleep(SLOW_S)
            writer.write(HEAD)
            await writer.drain()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        async with watch.connection("silent"):
            while await reader.read(2**16):
                pass

    async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with watch.connection("dripping"):
            for byte in HEAD:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1.0)

    async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with watch.connection("reset"):
            writer.write(HEAD[:20])
            await writer.drain()
            writer.transport.abort()

    return {"slow": slow, "silent": silent, "dripping": dripping, "reset": reset}


def delivered(good: list[Receiver]) -> int:
    """How many callbacks good receivers have got."""
    return sum(len(each.posted) for each in good)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, but for no test to hang."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
