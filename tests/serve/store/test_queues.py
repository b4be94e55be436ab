"""Queues with leases, on a real Redis: claimed once, back after a crash, gone when settled."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.callback import DeliveryState
from serve.domain.change import Change, Job, JobHeader
from serve.domain.ids import Mode, Prefix
from serve.domain.operation import Operation
from serve.store import names
from serve.store.ledger import RedisLedger
from serve.store.queues import LEASE_MS, RedisDeadlines, RedisJobs, RedisOutbox
from serve.store.vault.keyring import Keyring
from tests.helpers.records import TENANT, a_callback, a_customer, a_session, an_id


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, 64_000_000, backup_retention_days=7)


@pytest.fixture
def outbox(link: Redis, keyring: Keyring) -> RedisOutbox:
    return RedisOutbox(link, keyring)


async def fill(ledger: RedisLedger, count: int, *, due_in_ms: int = -1) -> set[str]:
    """Customers with a callback, a job and a session each; the callbacks' ids."""
    ids = set()
    for number in range(count):
        subject = ledger.subject(TENANT, Mode.TEST, f"customer-{number}")
        snapshot = await ledger.snapshot(subject)
        due_ms = snapshot.now_ms + due_in_ms
        session = a_session(subject.partition, number, updated_at_ms=snapshot.now_ms,
                            created_at_ms=snapshot.now_ms, expires_at_ms=due_ms)  # fmt: skip
        event = a_callback(session, number, next_attempt_at_ms=due_ms,
                           created_at_ms=snapshot.now_ms)  # fmt: skip
        header = JobHeader(id=an_id(Prefix.JOB, subject.partition, number),
                           session_id=session.id, op_id="op", accepted_at_ms=0)  # fmt: skip
        change = Change(customer=a_customer(), sessions=(session,), callbacks=(event,),
                        jobs=(Job(header, b"image"),))  # fmt: skip
        await ledger.commit(snapshot, change, f"fill-{number}")
        ids.add(event.id)
    return ids


async def lapse(link: Redis) -> None:
    """Let every lease run out, as if its 45 seconds had gone by."""
    for partition in names.EVERY_PARTITION:
        for queue in (names.outbox(partition), names.jobs(partition), names.deadlines(partition)):
            members: Any = await link.zrange(queue, 0, -1)
            for member in members:
                await link.zincrby(queue, -LEASE_MS - 1, member)


async def test_each_callback_goes_to_one_claimer(ledger: RedisLedger, outbox: RedisOutbox) -> None:
    """Workers that claim at the same time share what is due, and nobody gets one twice."""
    expected = await fill(ledger, 50)
    claims = await asyncio.gather(*(outbox.claim(20) for _ in range(5)))
    found = [lease.item.id for claim in claims for lease in claim]
    assert sorted(found) == sorted(expected)
    assert await outbox.claim(20) == []


async def test_what_is_not_due_stays(ledger: RedisLedger, outbox: RedisOutbox) -> None:
    """A callback whose next attempt lies ahead is not claimed."""
    await fill(ledger, 5, due_in_ms=60_000)
    assert await outbox.claim(20) == []


async def test_a_claim_whose_worker_died_comes_back(
    ledger: RedisLedger, outbox: RedisOutbox, link: Redis
) -> None:
    """After the lease another worker gets the callback, and the first one's outcome is refused."""
    await fill(ledger, 1)
    (first,) = await outbox.claim(1)
    await lapse(link)
    (second,) = await outbox.claim(1)
    assert second.item == first.item
    done = first.item.model_copy(
        update={"state": DeliveryState.DELIVERED, "next_attempt_at_ms": None}
    )
    assert not await outbox.settle(first, done)
    assert await outbox.settle(second, done)
    await lapse(link)
    assert await outbox.claim(1) == []


async def test_a_failed_attempt_is_due_again_later(
    ledger: RedisLedger, outbox: RedisOutbox, link: Redis
) -> None:
    """Settled with a next attempt, a callback waits for it; deferred, it comes back unchanged."""
    await fill(ledger, 1)
    (lease,) = await outbox.claim(1)
    partition = int(lease.item.id[4:6])
    later = lease.item.model_copy(update={"failures": 1, "next_attempt_at_ms": 2**50})
    assert await outbox.settle(lease, later)
    assert await link.zscore(names.outbox(partition), lease.item.id) == 2**50
    again = await outbox.resend(later)
    (claimed,) = await outbox.claim(1)
    assert (claimed.item.failures, again.state) == (0, DeliveryState.PENDING)
    await outbox.defer(claimed, -1)
    (deferred,) = await outbox.claim(1)
    assert deferred.item == claimed.item


async def test_an_operation_sends_again_once(
    ledger: RedisLedger, outbox: RedisOutbox, link: Redis
) -> None:
    """Asked for again under its id it leaves a callback as it is; another operation does not."""
    await fill(ledger, 1)
    (lease,) = await outbox.claim(1)
    op = Operation("op", may_repeat=True)
    due = await outbox.resend(lease.item, op)
    assert (op.subject, op.data_key) == (ledger.subject(TENANT, Mode.TEST, "customer-0"),
                                         lease.data_key)  # fmt: skip
    (second,) = await outbox.claim(1)
    done = due.model_copy(update={"state": DeliveryState.DELIVERED, "next_attempt_at_ms": None})
    assert not await outbox.settle(lease, done)
    assert await outbox.settle(second, done)
    assert await outbox.resend(lease.item, op) == done
    assert await outbox.claim(1) == []
    assert (await outbox.resend(lease.item, Operation("other"))).state is DeliveryState.PENDING
    assert len(await outbox.claim(1)) == 1
    gone = lease.item.model_copy(update={"id": an_id(Prefix.EVENT, 0, 99)})
    assert await outbox.resend(gone, op) == gone
    assert not await link.exists(names.event(0, gone.id))


async def test_only_the_named_partitions_are_asked(
    ledger: RedisLedger, outbox: RedisOutbox
) -> None:
    """A claim that names partitions takes theirs, up to its limit, and leaves the others'."""
    expected = await fill(ledger, 12)
    partitions = sorted({int(event_id[4:6]) for event_id in expected})
    assert await outbox.claim(20, set()) == []
    first = await outbox.claim(20, partitions[:1])
    assert {int(lease.item.id[4:6]) for lease in first} == {partitions[0]}
    rest = await outbox.claim(3, partitions)
    assert len(rest) == 3
    rest += await outbox.claim(20, partitions)
    assert {lease.item.id for lease in (*first, *rest)} == expected


async def test_a_script_that_redis_forgot_is_brought_again(
    ledger: RedisLedger, outbox: RedisOutbox, link: Redis
) -> None:
    """After a restart of Redis without its scripts a claim of many partitions goes through."""
    expected = await fill(ledger, 8)
    await link.script_flush()
    assert {lease.item.id for lease in await outbox.claim(20)} == expected


async def test_an_erased_customer_s_work_is_dropped(
    ledger: RedisLedger, outbox: RedisOutbox, link: Redis, keyring: Keyring
) -> None:
    """A member whose record is gone is claimed by nobody and leaves the queue."""
    (event_id,) = await fill(ledger, 1)
    partition = int(event_id[4:6])
    await link.delete(names.event(partition, event_id))
    assert await outbox.claim(1) == []
    assert await link.zcard(names.outbox(partition)) == 0
    subject = ledger.subject(TENANT, Mode.TEST, "customer-0")
    await link.delete(names.customer(subject))  # its key is gone, so nothing opens
    assert await RedisJobs(link, keyring).claim(1) == []


async def test_a_job_comes_with_its_image(
    ledger: RedisLedger, link: Redis, keyring: Keyring
) -> None:
    """A claimed job names its customer and holds the bytes that were accepted."""
    await fill(ledger, 1)
    ((subject, job),) = await RedisJobs(link, keyring).claim(5)
    assert subject == ledger.subject(TENANT, Mode.TEST, "customer-0")
    assert (job.image, job.header.op_id) == (b"image", "op")


async def test_a_session_s_time_comes(ledger: RedisLedger, link: Redis) -> None:
    """A session past its time is claimed with its owner, and again if nobody wrote it down."""
    await fill(ledger, 1)
    deadlines = RedisDeadlines(link)
    subject = ledger.subject(TENANT, Mode.TEST, "customer-0")
    expected = [(subject, an_id(Prefix.SESSION, subject.partition))]
    assert await deadlines.claim(5) == expected
    assert await deadlines.claim(5) == []
    await lapse(link)
    assert await deadlines.claim(5) == expected


async def test_a_commit_wakes_the_workers(ledger: RedisLedger, link: Redis) -> None:
    """What is written for workers is told to both kinds in the same step, with where it lies."""
    async with link.pubsub() as heard:
        await heard.subscribe(names.WAKE_OUTBOX, names.WAKE_JOBS)
        (event_id,) = await fill(ledger, 1)
        told: list[Any] = []
        async with asyncio.timeout(10):
            while len(told) < 2:
                if message := await heard.get_message(ignore_subscribe_messages=True, timeout=1):
                    told.append((message["channel"].decode(), int(message["data"])))
    partition = int(event_id[4:6])
    assert sorted(told) == sorted(
        (channel, partition) for channel in (names.WAKE_OUTBOX, names.WAKE_JOBS)
    )


async def test_a_worker_is_woken(outbox: RedisOutbox) -> None:
    """A wake-up reaches a waiting worker at once and says where; the poll comes without one."""
    heard = outbox.wakeups()
    assert await anext(heard) is None
    waiting = asyncio.ensure_future(anext(heard))
    while (await outbox.link.pubsub_numsub(names.WAKE_OUTBOX))[0][1] == 0:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await outbox.wake(7)
    assert await waiting == 7
    assert await anext(heard) is None  # nobody woke it this time
    await outbox.link.publish(names.WAKE_OUTBOX, b"64")
    assert await anext(heard) is None
    await heard.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(heard)
