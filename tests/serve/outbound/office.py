"""A store with callbacks in it, workers that deliver them, and an answer that is held back."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from aiohttp import web
from redis.asyncio import Redis

from serve.deps import Deps
from serve.domain.audit import AuditEntry
from serve.domain.callback import CallbackEvent
from serve.domain.change import Change
from serve.domain.ids import Mode
from serve.domain.operation import Operation
from serve.domain.tenancy.tenant import SigningSecret
from serve.errors import Code, ServeError
from serve.flows.delivery import run_delivery
from serve.outbound.sender import open_sender
from serve.ports import Lease
from serve.settings import Callbacks
from serve.store import names
from serve.store.queues import RedisOutbox
from tests.helpers.records import a_callback, a_customer, a_session

PATIENCE_S = 30.0  # of a test that would otherwise hang for ever
SETTINGS = Callbacks(allow_private=True, timeout_s=PATIENCE_S)
SECRET = f"whsec_{'A' * 32}"


@dataclass
class WatchedOutbox:
    """The real outbox, and what it was told."""

    inner: RedisOutbox
    settled: asyncio.Queue[CallbackEvent] = field(default_factory=asyncio.Queue)
    outages: int = 0  # claims still to fail

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        return self.inner.wakeups()

    async def wake(self, partition: int) -> None:
        await self.inner.wake(partition)

    async def claim(
        self, limit: int, partitions: Collection[int] | None = None
    ) -> list[Lease[CallbackEvent]]:
        if self.outages:
            self.outages -= 1
            raise ServeError(Code.STATE_UNAVAILABLE, "planned")
        return await self.inner.claim(limit, partitions)

    async def settle(self, lease: Lease[CallbackEvent], event: CallbackEvent) -> bool:
        done = await self.inner.settle(lease, event)
        if done:
            self.settled.put_nowait(event)
        return done

    async def defer(self, lease: Lease[CallbackEvent], delay_ms: int) -> None:
        await self.inner.defer(lease, delay_ms)

    async def resend(
        self, event: CallbackEvent, op: Operation | None = None, audit: AuditEntry | None = None
    ) -> CallbackEvent:
        return await self.inner.resend(event, op, audit)

    async def next_settled(self) -> CallbackEvent:
        async with asyncio.timeout(PATIENCE_S):
            return await self.settled.get()


@dataclass
class Office:
    """A store with callbacks in it, and as many workers as a test runs."""

    link: Redis
    deps: Deps
    outbox: WatchedOutbox

    async def write(self, url: str, count: int = 1, tenant_id: str = "ten_a") -> list[str]:
        """Callbacks to `url`, due now, each of a customer of its own; their ids."""
        await self.deps.directory.put_secrets(
            tenant_id, [SigningSecret(secret=SECRET, created_at_ms=0)]
        )
        return [await self._write_one(url, number, tenant_id) for number in range(count)]

    async def _write_one(self, url: str, number: int, tenant_id: str) -> str:
        subject = self.deps.ledger.subject(tenant_id, Mode.TEST, f"customer-{number}")
        snapshot = await self.deps.ledger.snapshot(subject)
        salt = 1000 * crc32(tenant_id.encode()) + number
        session = a_session(
            subject.partition, salt, tenant_id=tenant_id, created_at_ms=snapshot.now_ms,
            updated_at_ms=snapshot.now_ms, expires_at_ms=snapshot.now_ms + 600_000,
        )  # fmt: skip
        event = a_callback(
            session, salt, url=url, created_at_ms=snapshot.now_ms,
            next_attempt_at_ms=snapshot.now_ms,
        )  # fmt: skip
        change = Change(customer=a_customer(), sessions=(session,), callbacks=(event,))
        await self.deps.ledger.commit(snapshot, change, f"{tenant_id}-{number}")
        return event.id

    async def make_due(self) -> None:
        """Let time pass until every callback is due and every lease has run out."""
        for partition in names.EVERY_PARTITION:
            members: Any = await self.link.zrange(names.outbox(partition), 0, -1)
            for member in members:
                await self.link.zadd(names.outbox(partition), {member: 0})
            if members:
                await self.outbox.wake(partition)

    async def event(self, event_id: str, tenant_id: str = "ten_a") -> CallbackEvent:
        found = await self.deps.listings.event(tenant_id, Mode.TEST, event_id)
        assert found is not None
        return found

    @asynccontextmanager
    async def worker(
        self,
        *,
        inflight_max: int = 256,
        settings: Callbacks = SETTINGS,
        random: Callable[[], float] = lambda: 0.5,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A delivery worker at work, stopped at the end."""
        stop = asyncio.Event()
        async with open_sender(settings) as sender:
            run = run_delivery(self.deps, sender, stop, random=random, inflight_max=inflight_max)
            task = asyncio.create_task(run)
            try:
                yield task
            finally:
                stop.set()
                if not task.cancelling():
                    await task


@dataclass
class Gate:
    """An answer that is held back until the test lets it go."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    inside: int = 0
    inside_max: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.inside += 1
        self.inside_max = max(self.inside_max, self.inside)
        self.arrived.release()
        await self.opened.wait()
        self.inside -= 1
        return web.Response(status=200)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                await self.arrived.acquire()
