"""Whether the index says what the log says: the truth is found true, and every lie is found."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from index.entry import START
from serve.domain.change import Change
from serve.domain.ids import PARTITIONS, Subject
from serve.flows.customers import EnrolAnswer, erase
from serve.flows.search.upkeep import (
    Difference,
    Fault,
    Verified,
    ask_rebuild,
    holders,
    rebuilt,
    verify,
)
from serve.flows.transact import new_operation
from serve.inference.search.holder import Holder, Limits
from serve.inference.search.local import LocalIndex
from serve.ports.search import ShardStatus
from serve.store import names
from tests.helpers.service import Service

LIMITS = Limits(wait_s=5.0, queue_max=64, threads=1)
NO_WAIT_S = 0.0
WAIT_S = 30.0
KEPT_S = 60


@pytest_asyncio.fixture
async def holder(service: Service) -> AsyncIterator[Holder]:
    """A holder of the whole index over five customers, one of whom was erased."""
    for number in range(6):
        await service.enrolled(f"customer {number}", f"face {number}")
    await erase(service.deps, service.live, "customer 0", new_operation(service.deps))
    async with Holder(service.deps.face_log, "h", range(PARTITIONS), LIMITS) as opened:
        await opened.until_ready()
        yield opened


def subject_of(service: Service, customer_id: str = "customer 1") -> Subject:
    live = service.live
    return service.deps.ledger.subject(live.tenant_id, live.mode, customer_id)


async def verified(service: Service, *statuses: ShardStatus, wait_s: float = NO_WAIT_S) -> Verified:
    """What a verification finds beside holders that tell this."""
    for status in statuses:
        await service.deps.shard_board.put(status, KEPT_S)
    return await verify(service.deps, wait_s, lambda done: None)


async def test_what_agrees_is_no_difference(service: Service, holder: Holder) -> None:
    """Log, customers and holder are at one, whoever was erased, in every partition."""
    steps: list[int] = []
    await service.deps.shard_board.put(holder.status(), KEPT_S)
    found = await verify(service.deps, WAIT_S, steps.append)
    assert found == Verified(5, 5, {"h": PARTITIONS}, [])
    assert steps == list(range(1, PARTITIONS + 1))


async def test_without_a_holder_log_and_customers_are_compared(service: Service) -> None:
    """Nobody has to hold the index for its sources to be looked at."""
    await service.enrolled()
    assert await verified(service) == Verified(1, 1, {}, [])


async def test_an_entry_that_vanished_from_the_log_is_missed(
    service: Service, holder: Holder
) -> None:
    """A face whose entry was deleted behind everybody's back: the customer has it and a holder
    still finds it, the log does not.
    """
    subject = subject_of(service)
    snapshot = await service.deps.ledger.snapshot(subject)
    (entry,) = snapshot.log_ids.values()
    assert await service.link.xdel(names.faces(subject.partition), entry) == 1
    found = await verified(service, holder.status())
    assert found.differences == [
        Difference(subject.partition, Fault.MISSING, faces=1),
        Difference(subject.partition, Fault.DIGEST, holder="h"),
    ]


async def test_a_face_that_no_customer_has_is_unknown(service: Service, holder: Holder) -> None:
    """A face that is searched though its customer's document no longer names it."""
    snapshot = await service.deps.ledger.snapshot(subject_of(service))
    assert snapshot.customer is not None
    without = snapshot.customer.model_copy(update={"references": ()})
    await service.deps.ledger.commit(snapshot, Change(customer=without), "op")
    found = await verified(service, holder.status())
    partition = snapshot.subject.partition
    assert found.differences == [Difference(partition, Fault.UNKNOWN, faces=1)]


async def test_a_tail_that_is_not_the_log_s_is_told(service: Service, holder: Holder) -> None:
    """A tail that lies, forward or back, and one that is gone."""
    partition = subject_of(service).partition
    key = names.faces_tail(partition)
    kept = await service.link.get(key)
    for lie in ("1-1", "9999999999999-0"):
        await service.link.set(key, lie)
        found = await verified(service, holder.status())
        assert found.differences == [Difference(partition, Fault.TAIL)]
    await service.link.delete(key)
    assert (await verified(service)).differences == [Difference(partition, Fault.TAIL)]
    assert kept is not None
    await service.link.set(key, kept)
    assert (await verified(service)).differences == []


async def test_a_holder_that_lies_is_found_out(service: Service, holder: Holder) -> None:
    """One wrong digest is one difference, of that partition and holder; the honest one has none."""
    partition = subject_of(service).partition
    honest = holder.status()
    digests = {**honest.digests, partition: honest.digests[partition] ^ 1}
    found = await verified(service, honest, replace(honest, name="liar", digests=digests))
    assert found.holders == {"h": PARTITIONS, "liar": PARTITIONS}
    assert found.differences == [Difference(partition, Fault.DIGEST, holder="liar")]


async def test_a_holder_that_does_not_follow_is_behind(service: Service, holder: Holder) -> None:
    """One that stands still is told as behind, not as different; and by how much."""
    partition = subject_of(service).partition
    honest = holder.status()
    stuck = replace(
        honest,
        applied={**honest.applied, partition: START},
        digests={**honest.digests, partition: 0},
    )
    found = await verified(service, stuck, wait_s=0.5)
    assert found.differences == [Difference(partition, Fault.BEHIND, holder="h")]
    (held,) = await holders(service.deps)
    assert (held.behind, held.behind_ms) == (1, None)


async def test_what_is_enrolled_meanwhile_is_no_difference(
    service: Service, holder: Holder
) -> None:
    """Faces that come while the comparison runs are followed; only a holder that tells nothing
    new of itself is behind.
    """
    told = holder.status()
    await service.deps.shard_board.put(told, KEPT_S)
    enrolled: list[asyncio.Task[EnrolAnswer]] = []

    def enrol_another(done: int) -> None:
        name = f"late customer {done % 8}"
        enrolled.append(asyncio.ensure_future(service.enrolled(name, f"face {done % 8}")))

    found = await verify(service.deps, NO_WAIT_S, enrol_another)
    await asyncio.gather(*enrolled)
    late = {subject_of(service, f"late customer {number}").partition for number in range(8)}
    assert {each.fault for each in found.differences} <= {Fault.BEHIND}
    assert {each.partition for each in found.differences} <= late
    (held,) = await holders(service.deps)
    assert held.behind == len(late)
    assert (await verified(service)).faces == 5 + 8


@pytest.mark.parametrize("number", range(1, 3))
async def test_an_erasure_that_a_holder_has_not_heard_of_is_no_lie(
    service: Service, holder: Holder, number: int
) -> None:
    """A holder's word from before an erasure is not held against it: it is behind."""
    told = holder.status()
    await erase(service.deps, service.live, f"customer {number}", new_operation(service.deps))
    found = await verified(service, told)
    (difference,) = found.differences
    assert difference.fault is Fault.BEHIND
    assert difference.partition == subject_of(service, f"customer {number}").partition


async def test_a_wish_for_a_rebuild_is_fulfilled(service: Service, holder: Holder) -> None:
    """Who heard of the wish is waited for until they have rebuilt; who is gone is not."""
    deps = service.deps
    async with LocalIndex(deps.face_log, deps.shard_board, LIMITS) as index:
        await index.until_ready()
        (before,) = await index.statuses()
        await deps.shard_board.put(before, KEPT_S)
        await deps.shard_board.put(replace(before, name="gone"), kept_s=1)
        wish, asked = await ask_rebuild(deps)
        assert asked == {before.name, "gone"}
        async with asyncio.timeout(WAIT_S):
            waited = [waiting async for waiting in rebuilt(deps, wish, asked)]
        assert before.name in waited[0]
        assert waited[-1] == frozenset()
        (after,) = await index.statuses()
        assert (after.live, after.replayed) == (before.live, 2 * before.replayed)
        assert (await verified(service)).differences == []
