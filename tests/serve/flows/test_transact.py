"""The one loop of every change: it tries again, gives up, and never does a thing twice."""

import asyncio

from serve.domain.change import Change, Snapshot
from serve.domain.ids import Mode, Subject
from serve.domain.operation import Operation
from serve.errors import Code
from serve.flows.customers import erase
from serve.flows.transact import TRIES_MAX, new_operation, transact
from tests.helpers.service import Service, refusal


def subject_of(service: Service) -> Subject:
    return service.deps.ledger.subject(service.tenant.id, Mode.LIVE, "alice")


def touched(snapshot: Snapshot, answer: bytes = b"") -> Change:
    """A change that counts in the customer's record how often it was made."""
    assert snapshot.customer is not None
    times = (*snapshot.customer.failures_ms, 0)
    customer = snapshot.customer.model_copy(update={"failures_ms": times})
    return Change(customer=customer, answer=answer)


async def test_concurrent_changes_all_count(service: Service) -> None:
    """Of several at once none is lost: each is made of what the others left."""
    await service.enrolled()

    async def decide(snapshot: Snapshot) -> Change:
        return touched(snapshot)

    calls = [
        transact(service.deps, subject_of(service), Operation(f"op-{n}"), decide) for n in range(4)
    ]
    done = await asyncio.gather(*calls)
    assert not any(item.is_repeat for item in done)
    customer = (await service.deps.ledger.snapshot(subject_of(service))).customer
    assert customer is not None
    assert len(customer.failures_ms) == 4


async def test_an_operation_is_carried_out_once(service: Service) -> None:
    """A repeat writes nothing and gets the first answer."""
    await service.enrolled()
    answers = iter([b"first", b"second"])

    async def decide(snapshot: Snapshot) -> Change:
        return touched(snapshot, next(answers))

    one = await transact(service.deps, subject_of(service), Operation("op"), decide)
    two = await transact(service.deps, subject_of(service), Operation("op"), decide)
    assert (one.answer, one.is_repeat) == (b"first", False)
    assert (two.answer, two.is_repeat) == (b"first", True)


async def test_what_an_erased_customer_was_asked_is_not_done_again(service: Service) -> None:
    """Not even to somebody of the same name: only what was asked for after the erasure is."""
    await service.enrolled()
    before = await service.deps.directory.now_ms()
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    await service.enrolled()

    async def decide(snapshot: Snapshot) -> Change:
        return touched(snapshot, b"done")

    early = Operation("early", may_repeat=True, began_ms=before)
    call = transact(service.deps, subject_of(service), early, decide)
    assert await refusal(call) == Code.ANSWER_ERASED
    after = await service.deps.directory.now_ms() + 1
    late = Operation("late", may_repeat=True, began_ms=after)
    assert (await transact(service.deps, subject_of(service), late, decide)).answer == b"done"


async def test_records_that_keep_moving_end_the_loop(service: Service) -> None:
    """After eight tries it says so, having written nothing."""
    await service.enrolled()
    tries = 0

    async def decide(snapshot: Snapshot) -> Change:
        nonlocal tries
        tries += 1
        await service.deps.ledger.commit(snapshot, touched(snapshot), f"other-{tries}")
        return touched(snapshot, b"never")

    refused = await refusal(transact(service.deps, subject_of(service), Operation("op"), decide))
    assert refused == Code.VERSION_CONFLICT
    assert tries == TRIES_MAX
    snapshot = await service.deps.ledger.snapshot(subject_of(service))
    assert (await service.deps.ledger.read(snapshot.subject, "none", "op")).answer is None


async def test_nothing_to_write_is_nothing_written(service: Service) -> None:
    """A decision that changes nothing leaves the version as it was."""
    await service.enrolled()
    before = await service.deps.ledger.snapshot(subject_of(service))

    async def decide(snapshot: Snapshot) -> None:
        assert snapshot.version == before.version

    done = await transact(service.deps, subject_of(service), Operation("op"), decide)
    assert done.change is None
    after = await service.deps.ledger.snapshot(subject_of(service))
    assert after.version == before.version
