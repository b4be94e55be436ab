"""Work that waits: callbacks, jobs, deadlines. One queue per partition, one way to claim.

A claim moves its member to the end of a lease instead of removing it, so work whose worker was
killed comes back by itself. `publish` wakes workers early; the poll is the safety net.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from serve.domain.callback import CallbackEvent, DeliveryState
from serve.domain.change import Job, JobHeader
from serve.domain.ids import Prefix, Subject, partition_of
from serve.ports import Lease
from serve.store import names
from serve.store.keyring import Keyring
from serve.store.link import now_ms, reaching_redis
from serve.store.records import SealedRecords
from serve.store.scripts import CLAIM, SETTLE, run
from serve.store.sealing import seal

LEASE_MS = 45_000
POLL_S = 1.0
CLAIM_PER_PARTITION_MAX = 64


@dataclass(frozen=True, slots=True)
class Queue:
    """The queues of one kind of work in all partitions. `record` names a member's record."""

    link: Redis
    key: Callable[[int], str]
    record: Callable[[int, str], str] | None
    channel: str = ""

    async def claim(self, limit: int) -> list[tuple[int, str, int]]:
        """Up to `limit` due members as (partition, member, fence), each leased for 45 s.

        Partitions are asked only if they have something due, and take turns by time due.
        """
        due = await self._due()
        claimed: list[tuple[int, str, int]] = []
        for partition in due:
            room = min(limit - len(claimed), CLAIM_PER_PARTITION_MAX)
            if room <= 0:
                break
            prefix = "" if self.record is None else self.record(partition, "")
            with reaching_redis():
                found, _ = await run(
                    self.link, CLAIM, [self.key(partition)], [room, LEASE_MS, prefix]
                )
            members = iter(found)
            claimed += [
                (partition, member.decode(), int(fence))
                for member, fence in zip(members, members, strict=True)
            ]
        return claimed

    async def _due(self) -> list[int]:
        """Partitions with due members, the longest due first."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                pipe.time()
                for partition in names.EVERY_PARTITION:
                    pipe.zrange(self.key(partition), 0, 0, withscores=True)
                (seconds, micros), *heads = await pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        first = [
            (head[0][1], partition)
            for partition, head in zip(names.EVERY_PARTITION, heads, strict=True)
            if head and head[0][1] <= now_ms
        ]
        return [partition for _, partition in sorted(first)]

    async def wake(self) -> None:
        """Tell waiting workers. Nothing is lost when nobody hears it."""
        try:
            await self.link.publish(self.channel, b"")
        except RedisError:
            return

    async def wakeups(self) -> AsyncGenerator[None, None]:
        """Yields at once, then whenever somebody wakes us, and at least every second."""
        yield
        while True:
            try:
                async with self.link.pubsub() as heard:
                    await heard.subscribe(self.channel)
                    while True:
                        await heard.get_message(ignore_subscribe_messages=True, timeout=POLL_S)
                        yield
            except RedisError:
                await asyncio.sleep(POLL_S)
                yield


@dataclass(frozen=True, slots=True)
class RedisOutbox:
    """The `Outbox` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    @property
    def queue(self) -> Queue:
        """Callbacks by their next attempt."""
        return Queue(self.link, names.outbox, names.event, names.WAKE_OUTBOX)

    @property
    def _records(self) -> SealedRecords:
        return SealedRecords(self.link, self.keyring)

    def wakeups(self) -> AsyncGenerator[None, None]:
        """Yields whenever there may be callbacks due."""
        return self.queue.wakeups()

    async def wake(self) -> None:
        """Tell the delivery workers that a callback was written."""
        await self.queue.wake()

    async def claim(self, limit: int) -> list[Lease[CallbackEvent]]:
        """Due callbacks, leased for 45 s: each goes to one claimer at a time."""
        claimed = await self.queue.claim(limit)
        rows = await self._records.read(
            [(names.event(partition, eid), f"event|{eid}") for partition, eid, _ in claimed]
        )
        return [
            Lease(CallbackEvent.model_validate_json(row.document), fence)
            for (_, _, fence), row in zip(claimed, rows, strict=True)
            if row is not None
        ]

    async def settle(self, lease: Lease[CallbackEvent], event: CallbackEvent) -> bool:
        """Write the outcome of an attempt; False, and nothing written, when the lease is lost."""
        partition = partition_of(Prefix.EVENT, event.id)
        key = names.event(partition, event.id)
        (found,) = await self._records.read([(key, f"event|{event.id}")])
        data_key = None if found is None else await self._records.data_key(found.subject)
        if data_key is None:
            return False
        sealed = seal(data_key, event.dump(), f"event|{event.id}")
        following = "" if event.next_attempt_at_ms is None else event.next_attempt_at_ms
        return await self._settle(lease, [lease.fence, event.id, following, sealed])

    async def defer(self, lease: Lease[CallbackEvent], delay_ms: int) -> None:
        """Give a claim back untried, due again after `delay_ms`."""
        due_ms = await now_ms(self.link) + delay_ms
        await self._settle(lease, [lease.fence, lease.item.id, due_ms, ""])

    async def resend(self, event: CallbackEvent) -> CallbackEvent:
        """Make a callback due now, whatever became of it; the schedule starts afresh."""
        partition = partition_of(Prefix.EVENT, event.id)
        key = names.event(partition, event.id)
        clock_ms = await now_ms(self.link)
        with reaching_redis():
            fence = await self.link.hincrby(key, "fence", 1)
        due = event.model_copy(
            update={
                "state": DeliveryState.PENDING,
                "failures": 0,
                "next_attempt_at_ms": clock_ms,
            }
        )
        await self.settle(Lease(event, fence), due)
        await self.wake()
        return due

    async def _settle(
        self, lease: Lease[CallbackEvent], arguments: list[int | str | bytes]
    ) -> bool:
        partition = partition_of(Prefix.EVENT, lease.item.id)
        keys = [names.event(partition, lease.item.id), names.outbox(partition)]
        with reaching_redis():
            done, _ = await run(self.link, SETTLE, keys, arguments)
        return bool(done)


@dataclass(frozen=True, slots=True)
class RedisJobs:
    """The `Jobs` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    @property
    def queue(self) -> Queue:
        """Jobs by when they may be claimed."""
        return Queue(self.link, names.jobs, names.job, names.WAKE_JOBS)

    def wakeups(self) -> AsyncGenerator[None, None]:
        """Yields whenever there may be new work."""
        return self.queue.wakeups()

    async def wake(self) -> None:
        """Tell the workers that a job was written."""
        await self.queue.wake()

    async def claim(self, limit: int) -> list[tuple[Subject, Job]]:
        """Due jobs, leased for 45 s."""
        claimed = await self.queue.claim(limit)
        rows = await SealedRecords(self.link, self.keyring).read(
            [(names.job(partition, jid), f"job|{jid}") for partition, jid, _ in claimed]
        )
        return [
            (row.subject, Job(JobHeader.model_validate_json(row.header), row.document))
            for row in rows
            if row is not None
        ]


@dataclass(frozen=True, slots=True)
class RedisDeadlines:
    """Sessions that time alone will move."""

    link: Redis

    async def claim(self, limit: int) -> list[tuple[Subject, str]]:
        """Sessions whose time has come, with their owner; gone ones are dropped."""
        claimed = await Queue(self.link, names.deadlines, names.session).claim(limit)
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition, session_id, _ in claimed:
                    pipe.hget(names.session(partition, session_id), "u")
                owners = await pipe.execute()
        return [
            (names.located(owner.decode()), session_id)
            for (_, session_id, _), owner in zip(claimed, owners, strict=True)
            if owner is not None
        ]
