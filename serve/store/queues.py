"""Work that waits: callbacks, jobs, deadlines. One queue per partition, one way to claim.

A claim moves its member to the end of a lease instead of removing it, so work whose worker was
killed comes back by itself. `publish` wakes workers early and says where to look; the poll of
all partitions is the safety net.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from serve.domain.audit import AuditEntry, Concern
from serve.domain.callback import CallbackEvent, DeliveryState
from serve.domain.change import Job, JobHeader
from serve.domain.ids import Prefix, Subject, partition_of
from serve.domain.operation import Operation
from serve.observe import metrics
from serve.ports import Lease
from serve.store import names
from serve.store.audit import added_at, fields_of
from serve.store.link import now_ms, reaching_redis
from serve.store.records import SealedRecords
from serve.store.scripts import CLAIM, RESEND, SETTLE, Argument, check_reached, run, run_each
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import seal, unseal

LEASE_MS = 45_000
POLL_S = 1.0
CLAIM_PER_PARTITION_MAX = 64


@dataclass(frozen=True, slots=True)
class Claimed:
    """A member that was claimed: which claim of it this is, its owner and the fields asked for.

    `wrapped_key` is the owner's data key, None when there is no such customer.
    """

    partition: int
    member: str
    fence: int
    claimed_at_ms: int
    subject: Subject
    wrapped_key: bytes | None = field(repr=False)
    fields: tuple[bytes | None, ...] = field(repr=False)

    def opened(self, keyring: Keyring, label: str) -> tuple[bytes, bytes] | None:
        """The data key and the sealed field, the first; None where either has gone."""
        sealed = self.fields[0]
        if self.wrapped_key is None or sealed is None:
            return None
        data_key = keyring.unwrap(self.wrapped_key, self.subject.key)
        return data_key, unseal(data_key, sealed, f"{label}|{self.member}")


@dataclass(frozen=True, slots=True)
class Queue:
    """The queues of one kind of work in all partitions. `record` names a member's record, of
    which a claim reads `fields`.
    """

    link: Redis
    key: Callable[[int], str]
    record: Callable[[int, str], str]
    fields: tuple[str, ...] = ()
    channel: str = ""
    replicas: tuple[int, int] = (0, 0)

    async def claim(self, limit: int, partitions: Collection[int] | None = None) -> list[Claimed]:
        """Up to `limit` due members, each leased for 45 s.

        All partitions are asked when none are named, but only if they have something due. Each
        gets its share of the limit, the longest due first.
        """
        due = await self._due() if partitions is None else sorted(partitions)
        claimed: list[Claimed] = []
        while due and len(claimed) < limit:
            room = limit - len(claimed)
            asked, rest = due[:room], due[room:]
            share = min(room // len(asked), CLAIM_PER_PARTITION_MAX)
            found = await self._claim(asked, share)
            for members in found:
                claimed += members
            due = rest + [
                partition
                for partition, members in zip(asked, found, strict=True)
                if len(members) == share
            ]
        return claimed

    async def _claim(self, partitions: Sequence[int], share: int) -> list[list[Claimed]]:
        """Up to `share` due members of each partition."""
        calls: list[tuple[list[str], list[Argument]]] = []
        for partition in partitions:
            prefixes = self.record(partition, ""), names.customer_key(partition, "")
            calls.append(([self.key(partition)], [share, LEASE_MS, *prefixes, *self.fields]))
        with reaching_redis():
            answers = await run_each(self.link, CLAIM, calls, self.replicas)
        return [
            [
                Claimed(
                    partition, member.decode(), fence, clock_ms,
                    names.located(owner.decode()), wrapped_key, tuple(fields),
                )
                for member, fence, wrapped_key, owner, *fields in members
            ]
            for partition, (clock_ms, members) in zip(partitions, answers, strict=True)
        ]  # fmt: skip

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

    async def wake(self, partition: int) -> None:
        """Tell waiting workers where to look. Nothing is lost when nobody hears it."""
        try:
            await self.link.publish(self.channel, partition)
        except RedisError:
            return

    async def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields the partition that somebody names, and None at once and every second."""
        yield None
        clock_s = asyncio.get_running_loop().time
        while True:
            try:
                async with self.link.pubsub() as heard:
                    await heard.subscribe(self.channel)
                    poll_s = clock_s() + POLL_S
                    while True:
                        wait_s = max(0.0, poll_s - clock_s())
                        told = await heard.get_message(
                            ignore_subscribe_messages=True, timeout=wait_s
                        )
                        if told is not None:
                            yield _partition(told["data"])
                        if clock_s() >= poll_s:
                            poll_s = clock_s() + POLL_S
                            yield None
            except RedisError:
                await asyncio.sleep(POLL_S)
                yield None


def _partition(told: bytes) -> int | None:
    """The partition that a message names; anything else means all of them."""
    return int(told) if told.isdigit() and int(told) in names.EVERY_PARTITION else None


@dataclass(frozen=True, slots=True)
class RedisOutbox:
    """The `Outbox` port. `replicas` is how many must hold a callback before it is sent, and for how
    many ms to wait: what a primary alone knows, its successor would tell again.
    """

    link: Redis
    keyring: Keyring = field(repr=False)
    replicas: tuple[int, int] = (0, 0)

    @property
    def queue(self) -> Queue:
        """Callbacks by their next attempt."""
        return Queue(self.link, names.outbox, names.event, ("d",), names.WAKE_OUTBOX, self.replicas)

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields the partition where callbacks may be due, None for all."""
        return self.queue.wakeups()

    async def wake(self, partition: int) -> None:
        """Tell the delivery workers that a callback was written there."""
        await self.queue.wake(partition)

    async def claim(
        self, limit: int, partitions: Collection[int] | None = None
    ) -> list[Lease[CallbackEvent]]:
        """Due callbacks, leased for 45 s: each goes to one claimer at a time."""
        leases = []
        for claimed in await self.queue.claim(limit, partitions):
            if (opened := claimed.opened(self.keyring, "event")) is not None:
                data_key, document = opened
                event = CallbackEvent.model_validate_json(document)
                leases.append(Lease(event, claimed.fence, data_key, claimed.claimed_at_ms))
        return leases

    async def settle(self, lease: Lease[CallbackEvent], event: CallbackEvent) -> bool:
        """Write the outcome of an attempt; False, and nothing written, when the lease is lost.

        A record that went with its customer has no fence, so the key of the lease is enough.
        """
        sealed = seal(lease.data_key, event.dump(), f"event|{event.id}")
        following = "" if event.next_attempt_at_ms is None else event.next_attempt_at_ms
        return await self._settle(lease, [lease.fence, event.id, following, sealed])

    async def defer(self, lease: Lease[CallbackEvent], delay_ms: int) -> None:
        """Give a claim back untried, due again after `delay_ms`."""
        due_ms = lease.claimed_at_ms + delay_ms
        await self._settle(lease, [lease.fence, lease.item.id, due_ms, ""])

    async def resend(
        self, event: CallbackEvent, op: Operation | None = None, audit: AuditEntry | None = None
    ) -> CallbackEvent:
        """Make a callback due now, whatever became of it; the schedule starts afresh.

        The same operation again, unless another came between, leaves it as it is.
        """
        partition = partition_of(Prefix.EVENT, event.id)
        key, label = names.event(partition, event.id), f"event|{event.id}"
        (found,) = await SealedRecords(self.link, self.keyring).read([(key, label)])
        if found is None:
            return event
        if op is not None:
            op.subject, op.data_key = found.subject, found.data_key
        event = CallbackEvent.model_validate_json(found.document)
        due_ms = await now_ms(self.link)
        fresh = {"state": DeliveryState.PENDING, "failures": 0, "next_attempt_at_ms": due_ms}
        due = event.model_copy(update=fresh)
        sealed = seal(found.data_key, due.dump(), label)
        op_id = "" if op is None else op.id
        with reaching_redis():
            keys = [key, names.outbox(partition)]
            arguments: list[Argument] = [op_id, event.id, due_ms, sealed]
            if audit is not None:
                subject = found.subject
                keys.append(names.audit(partition, subject.tenant_id, subject.mode))
                fields = fields_of(Concern.of(subject), audit)
                arguments += [names.AUDIT_KEPT_MS, *added_at(due_ms, fields)]
            done, reached = await run(self.link, RESEND, keys, arguments, self.replicas)
        check_reached(reached, self.replicas)
        if not done:
            return event
        if audit is not None:
            metrics.count_audit(audit.action)
        await self.wake(partition)
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
        return Queue(self.link, names.jobs, names.job, ("d", "h"), names.WAKE_JOBS)

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields whenever there may be new work."""
        return self.queue.wakeups()

    async def claim(self, limit: int) -> list[tuple[Subject, Job]]:
        """Due jobs, leased for 45 s."""
        jobs = []
        for claimed in await self.queue.claim(limit):
            opened, header = claimed.opened(self.keyring, "job"), claimed.fields[1]
            if opened is not None and header is not None:
                _, image = opened
                jobs.append((claimed.subject, Job(JobHeader.model_validate_json(header), image)))
        return jobs


@dataclass(frozen=True, slots=True)
class RedisDeadlines:
    """Sessions that time alone will move."""

    link: Redis

    async def claim(self, limit: int) -> list[tuple[Subject, str]]:
        """Sessions whose time has come, with their owner; gone ones are dropped."""
        due = await Queue(self.link, names.deadlines, names.session).claim(limit)
        return [(claimed.subject, claimed.member) for claimed in due]
