"""The ledger on a real Redis: all or nothing, once, sealed, and gone when erased."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from serve.domain.change import Change, EnrolledFace, Job, JobHeader, Snapshot
from serve.domain.customer import Customer, Reference
from serve.domain.erasure import ErasureReceipt, ErasureStep, StepRecord
from serve.domain.ids import Mode, Prefix, Subject, digest
from serve.errors import Code, ServeError
from serve.store import names
from serve.store.ledger import RedisLedger
from serve.store.vault.keyring import Keyring
from tests.helpers.records import (
    MODEL,
    NOW_MS,
    TENANT,
    a_callback,
    a_customer,
    a_handoff,
    a_session,
    a_template,
    a_token,
    an_alert,
    an_id,
    subjects_apart,
)

JOBS_BYTES_MAX = 64 * 1_000


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, JOBS_BYTES_MAX, backup_retention_days=7)


@pytest.fixture
def subject(ledger: RedisLedger) -> Subject:
    return ledger.subject(TENANT, Mode.TEST, "alice")


async def enrolled(ledger: RedisLedger, subject: Subject) -> Snapshot:
    """A customer with one face, a session, its token, an alert, a callback and a kept capture."""
    snapshot = await ledger.snapshot(subject)
    partition = subject.partition
    session = a_session(partition, updated_at_ms=snapshot.now_ms, created_at_ms=snapshot.now_ms,
                        expires_at_ms=snapshot.now_ms + 600_000)  # fmt: skip
    face_id = an_id(Prefix.FACE, partition)
    customer = a_customer(references=(a_reference(face_id),))
    await ledger.commit(
        snapshot,
        Change(
            customer=customer,
            sessions=(session,),
            handoffs=(a_handoff(session, subject.key, digest(a_token(partition))),),
            alerts=(an_alert(partition, created_at_ms=snapshot.now_ms),),
            callbacks=(a_callback(session, created_at_ms=snapshot.now_ms),),
            faces=(EnrolledFace(face_id, a_template(), b"chip of alice"),),
            jobs=(a_job(partition, session.id),),
            captures={session.id: b"capture of alice"},
            counts={"sessions.total": 1},
            answer=b"answer to alice",
        ),
        "op-enrol",
    )
    return await ledger.snapshot(subject)


def a_reference(face_id: str) -> Reference:
    return Reference(face_id=face_id, model_id=MODEL, enrolled_at_ms=NOW_MS, has_chip=True)


def a_job(partition: int, session_id: str, size_bytes: int = 16) -> Job:
    job_id = an_id(Prefix.JOB, partition, size_bytes)
    header = JobHeader(id=job_id, session_id=session_id, op_id="op", accepted_at_ms=NOW_MS)
    return Job(header, b"j" * size_bytes)


def a_receipt(partition: int) -> ErasureReceipt:
    steps = tuple(StepRecord(step=step, due_at_ms=NOW_MS) for step in ErasureStep)
    return ErasureReceipt(
        id=an_id(Prefix.ERASURE, partition), tenant_id=TENANT, mode=Mode.TEST,
        requested_at_ms=NOW_MS + 10**12, epoch=1, faces=1, sessions=1, steps=steps,
    )  # fmt: skip


async def everything(link: Redis) -> dict[bytes, Any]:
    """Every key of the store with its value, as bytes."""
    found: dict[bytes, Any] = {}
    async for key in link.scan_iter():
        kind = await link.type(key)
        if kind == b"string":
            found[key] = await link.get(key)
        elif kind == b"hash":
            found[key] = await link.hgetall(key)
        elif kind == b"zset":
            found[key] = await link.zrange(key, 0, -1)
        else:
            found[key] = await link.xrange(key)
    return found


async def test_a_change_is_read_back(ledger: RedisLedger, subject: Subject) -> None:
    """Customer, session, token, template and answer come back as they were written."""
    snapshot = await enrolled(ledger, subject)
    assert snapshot.customer == a_customer(
        references=(a_reference(an_id(Prefix.FACE, subject.partition)),)
    )
    session_id = an_id(Prefix.SESSION, subject.partition)
    session = await ledger.session(snapshot, session_id)
    assert session is not None
    assert (session.id, session.reference) == (session_id, "order-1")
    assert await ledger.owner(session_id) == subject
    found = await ledger.handoff(a_token(subject.partition))
    assert found is not None
    assert found[0].subject == subject
    records = await ledger.read(subject, session_id, "op-enrol", to_judge=True)
    assert replace(records.snapshot, now_ms=snapshot.now_ms) == snapshot
    assert (records.session, records.answer) == (session, b"answer to alice")
    (template,) = records.templates
    assert template.model_id == MODEL
    np.testing.assert_array_equal(template.vector, a_template().vector)
    other = await ledger.read(subject, an_id(Prefix.SESSION, subject.partition, 9), "op-other")
    assert (other.session, other.answer, other.templates) == (None, None, ())


async def test_a_stale_snapshot_writes_nothing(ledger: RedisLedger, subject: Subject) -> None:
    """Of two changes made from one snapshot the second is refused and leaves no trace."""
    first = await enrolled(ledger, subject)
    await ledger.commit(first, Change(customer=a_customer(failures_ms=(1,))), "op-1")
    stale = Change(customer=a_customer(failures_ms=(2,)), alerts=(an_alert(subject.partition, 9),))
    with pytest.raises(ServeError) as refused:
        await ledger.commit(first, stale, "op-2")
    assert refused.value.code is Code.VERSION_CONFLICT
    after = await ledger.snapshot(subject)
    assert after.customer == a_customer(failures_ms=(1,))
    assert not await ledger.link.exists(
        names.alert(subject.partition, an_id(Prefix.ALERT, subject.partition, 9))
    )


async def test_an_operation_is_carried_out_once(ledger: RedisLedger, subject: Subject) -> None:
    """A repeat under the same id, from whatever snapshot, gets the first answer."""
    snapshot = await enrolled(ledger, subject)
    change = Change(customer=a_customer(), counts={"sessions.total": 1}, answer=b"first")
    first = await ledger.commit(snapshot, change, "op-1")
    again = Change(customer=a_customer(), counts={"sessions.total": 1}, answer=b"second")
    repeats = [await ledger.commit(snapshot, again, "op-1"),
               await ledger.commit(await ledger.snapshot(subject), again, "op-1")]  # fmt: skip
    assert (first.answer, first.is_repeat) == (b"first", False)
    assert [(item.answer, item.is_repeat) for item in repeats] == [(b"first", True)] * 2
    counts = names.counts(subject.partition, TENANT, Mode.TEST)
    assert await ledger.link.hget(counts, "sessions.total") == b"2"  # one of them by `enrolled`


async def test_two_first_enrolments_agree(ledger: RedisLedger, subject: Subject) -> None:
    """Two that create the customer at once under one id both get the answer of the one."""
    one, two = await ledger.snapshot(subject), await ledger.snapshot(subject)
    assert one.data_key != two.data_key
    done = await asyncio.gather(
        ledger.commit(one, Change(customer=a_customer(), answer=b"same"), "op"),
        ledger.commit(two, Change(customer=a_customer(), answer=b"same"), "op"),
    )
    assert sorted((item.answer, item.is_repeat) for item in done) == [
        (b"same", False), (b"same", True),
    ]  # fmt: skip


async def test_a_failing_script_has_written_nothing(ledger: RedisLedger, subject: Subject) -> None:
    """A key of the wrong type is found before the first write."""
    alert_key = names.alert(subject.partition, an_id(Prefix.ALERT, subject.partition))
    await ledger.link.set(alert_key, b"not a hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await enrolled(ledger, subject)
    assert await everything(ledger.link) == {alert_key.encode(): b"not a hash"}


async def test_a_full_queue_refuses_the_job(ledger: RedisLedger, subject: Subject) -> None:
    """Images that wait may take a partition's share of the bytes and no more."""
    snapshot = await enrolled(ledger, subject)  # 16 of its 1,000 bytes
    job = a_job(subject.partition, "session", 985)
    with pytest.raises(ServeError) as refused:
        await ledger.commit(snapshot, Change(customer=a_customer(), jobs=(job,)), "op-1")
    assert refused.value.code is Code.OVERLOADED
    waiting = an_id(Prefix.JOB, subject.partition, 16)
    await ledger.commit(snapshot, Change(customer=a_customer(), ended_jobs={waiting: 16}), "op-2")
    snapshot = await ledger.snapshot(subject)
    await ledger.commit(snapshot, Change(customer=a_customer(), jobs=(job,)), "op-3")
    assert await ledger.link.get(names.jobs_bytes(subject.partition)) == b"985"


async def test_a_job_that_ends_twice_gives_its_bytes_back_once(
    ledger: RedisLedger, subject: Subject
) -> None:
    """Two workers that end one job leave the bytes of another counted."""
    await enrolled(ledger, subject)  # a job of 16 bytes
    other = a_job(subject.partition, "session", 500)
    changes = [
        Change(customer=a_customer(), jobs=(other,)),
        *[Change(customer=a_customer(), ended_jobs={a_job(subject.partition, "").header.id: 16})]
        * 2,
    ]
    for number, change in enumerate(changes):
        await ledger.commit(await ledger.snapshot(subject), change, f"op-{number}")
    assert await ledger.link.get(names.jobs_bytes(subject.partition)) == b"500"


async def test_operations_of_two_customers_are_apart(ledger: RedisLedger) -> None:
    """The same operation id of another customer of the same partition is another operation."""
    first = ledger.subject(TENANT, Mode.TEST, "customer-0")
    numbers = range(1, 2_000)
    others = (ledger.subject(TENANT, Mode.TEST, f"customer-{number}") for number in numbers)
    second = next(other for other in others if other.partition == first.partition)
    for subject, answer in ((first, b"first"), (second, b"second")):
        change = Change(customer=a_customer(), answer=answer)
        done = await ledger.commit(await ledger.snapshot(subject), change, "same")
        assert (done.answer, done.is_repeat) == (answer, False)


async def test_nothing_personal_is_in_the_clear(ledger: RedisLedger, subject: Subject) -> None:
    """No value and no key name holds the customer's id, reference, image, template or token."""
    await enrolled(ledger, subject)
    text = repr(await everything(ledger.link)).encode()
    canaries = [b"alice", b"order-1", b"tenant.example", a_token(subject.partition).encode()]
    assert [canary for canary in canaries if canary in text] == []
    vector = repr(a_template().vector.tobytes()[:8])[2:-1].encode()
    assert vector not in text


async def test_erasure_leaves_the_receipt_and_a_tombstone(
    ledger: RedisLedger, subject: Subject
) -> None:
    """After it, no key is left but counts, the receipt, and the word of the logs that they went."""
    snapshot = await enrolled(ledger, subject)
    receipt = a_receipt(subject.partition)
    done = await ledger.erase(snapshot, receipt, "op-erase")
    assert ErasureReceipt.model_validate_json(done.answer) == receipt
    left = await everything(ledger.link)
    log = names.faces(subject.partition)
    ((place, entry),) = left.pop(log.encode())
    assert entry == {b"k": b"erase", b"u": names.locator(subject).encode()}
    assert left.pop(names.faces_tail(subject.partition).encode()) == place
    kinds = sorted({key.decode().split(":")[1] for key in left})
    assert kinds == ["counts", "ended", "erased", "erasure", "erasures", "op"]
    assert (await ledger.snapshot(subject)).version == 0
    assert await ledger.handoff(a_token(subject.partition)) is None


async def test_an_erasure_repeated_answers_the_same(ledger: RedisLedger, subject: Subject) -> None:
    """A lost reply may be asked for again, although the customer is gone."""
    snapshot = await enrolled(ledger, subject)
    receipt = a_receipt(subject.partition)
    first = await ledger.erase(snapshot, receipt, "op-erase")
    second = await ledger.erase(snapshot, receipt, "op-erase")
    assert (second.answer, second.is_repeat) == (first.answer, True)


async def test_of_the_erased_nothing_is_read(ledger: RedisLedger, subject: Subject) -> None:
    """Customer, session, templates and answers go at once; a lost log entry is a conflict."""
    snapshot = await enrolled(ledger, subject)
    session_id = an_id(Prefix.SESSION, subject.partition)
    (entry,) = snapshot.log_ids.values()
    await ledger.link.xdel(names.faces(subject.partition), entry)
    with pytest.raises(ServeError) as refused:
        await ledger.read(subject, session_id, "op-enrol", to_judge=True)
    assert refused.value.code is Code.VERSION_CONFLICT
    await ledger.erase(snapshot, a_receipt(subject.partition), "op-erase")
    for op_id in ("op-enrol", "op-erase"):
        records = await ledger.read(subject, session_id, op_id, to_judge=True)
        assert (records.snapshot.version, records.snapshot.customer) == (0, None)
        assert (records.session, records.answer, records.templates) == (None, None, ())


async def test_a_customer_who_comes_back_meets_no_old_version(
    ledger: RedisLedger, subject: Subject
) -> None:
    """A change made before the erasure is refused after the customer was created anew."""
    before = await enrolled(ledger, subject)
    await ledger.erase(before, a_receipt(subject.partition), "op-erase")
    again = await ledger.snapshot(subject)
    await ledger.commit(again, Change(customer=a_customer()), "op-again")
    with pytest.raises(ServeError) as refused:
        await ledger.commit(before, Change(customer=a_customer()), "op-late")
    assert refused.value.code is Code.VERSION_CONFLICT


async def test_records_moved_to_another_customer_do_not_open(ledger: RedisLedger) -> None:
    """A sealed session copied under another customer's id is refused, not misread."""
    alice, bob = [await enrolled(ledger, subject) for subject in subjects_apart(ledger.subject, 2)]
    stolen = names.session(alice.subject.partition, an_id(Prefix.SESSION, alice.subject.partition))
    target = names.session(bob.subject.partition, an_id(Prefix.SESSION, bob.subject.partition))
    sealed = await ledger.link.hget(stolen, "d")
    assert sealed is not None
    await ledger.link.hset(target, "d", sealed)
    with pytest.raises(ServeError) as refused:
        await ledger.session(bob, an_id(Prefix.SESSION, bob.subject.partition))
    assert refused.value.code is Code.KEYS_MISMATCH


async def test_too_few_replicas_are_no_acknowledgement(
    link: Redis, keyring: Keyring, subject: Subject
) -> None:
    """Where a replica must hold a change and there is none, the caller is told so, each time."""
    careful = RedisLedger(link, keyring, JOBS_BYTES_MAX, 7, replicas=(1, 5))
    snapshot = await careful.snapshot(subject)
    for _ in range(2):
        with pytest.raises(ServeError) as refused:
            await careful.commit(snapshot, Change(customer=a_customer()), "op")
        assert refused.value.code is Code.DURABILITY_UNAVAILABLE


async def test_concurrent_changes_of_a_customer_are_all_there(
    ledger: RedisLedger, subject: Subject
) -> None:
    """Twenty that each add a failure, retried on conflict, leave twenty failures."""

    async def add(number: int) -> None:
        while True:
            snapshot = await ledger.snapshot(subject)
            known = snapshot.customer or a_customer()
            grown: Customer = known.model_copy(update={"failures_ms": (*known.failures_ms, number)})
            with suppress(ServeError):
                await ledger.commit(snapshot, Change(customer=grown), f"op-{number}")
                return

    await asyncio.gather(*(add(number) for number in range(20)))
    customer = (await ledger.snapshot(subject)).customer
    assert customer is not None
    assert sorted(customer.failures_ms) == list(range(20))


async def test_a_customer_of_any_size_is_erased(ledger: RedisLedger, subject: Subject) -> None:
    """Tens of thousands of records go in one step like three, and leave no list behind."""
    snapshot = await enrolled(ledger, subject)
    partition = subject.partition
    ids = [an_id(Prefix.EVENT, partition, number) for number in range(1, 25_000)]
    owned = {names.event(partition, event_id): 2.0**52 for event_id in ids}
    await ledger.link.zadd(names.owned(subject), owned)
    await ledger.link.zadd(names.outbox(partition), dict.fromkeys(ids, 1.0))
    await ledger.link.mset(dict.fromkeys(owned, "sealed"))
    await ledger.erase(snapshot, a_receipt(partition), "op-erase")
    assert await ledger.link.exists(names.outbox(partition)) == 0
    assert await ledger.link.exists(*owned) == 0
