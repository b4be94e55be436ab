"""Claims and kept answers on a real Redis: one at a time, for a day, and never in the clear."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.change import Change, Snapshot
from serve.domain.erasure import receipt_of
from serve.domain.idempotency import Answer, Keyed, digest_of
from serve.domain.ids import Mode, Prefix
from serve.domain.operation import Operation
from serve.errors import Code
from serve.ports import Claim
from serve.store import names
from serve.store.intake.idempotency import LEASE_MS, RedisIdempotency
from serve.store.ledger import RedisLedger
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring
from tests.helpers.records import TENANT, a_customer, a_token, an_id
from tests.helpers.service import refusal

DAY_MS = 24 * 3_600_000
TOKEN = a_token(7)
CANARY = "canary-customer"
ROUTE = ("POST", "/api/v1/kyc/face/session")
BODY = f'{{"token":"{TOKEN}","customer_id":"{CANARY}"}}'.encode()
ANSWER = Answer(201, {"Content-Type": "application/json"}, BODY)
KEYED = Keyed(digest_of(bytes(32), TENANT, Mode.TEST, ROUTE, "key"), "0" * 32)
OTHER_BODY = Keyed(KEYED.digest, "1" * 32)


@pytest.fixture
def store(link: Redis, keyring: Keyring) -> RedisIdempotency:
    return RedisIdempotency(link, keyring)


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, 64_000, backup_retention_days=7)


async def claimed(store: RedisIdempotency, fence: str, keyed: Keyed = KEYED) -> Claim:
    found = await store.claim(keyed, fence)
    assert isinstance(found, Claim)
    return found


async def known(ledger: RedisLedger) -> tuple[Snapshot, Operation]:
    """A customer, and an operation that concerned them."""
    subject = ledger.subject(TENANT, Mode.TEST, CANARY)
    empty = await ledger.snapshot(subject)
    await ledger.commit(empty, Change(customer=a_customer(customer_id=CANARY)), "op-new")
    snapshot = await ledger.snapshot(subject)
    op = Operation(KEYED.digest, may_repeat=True)
    op.concerns(snapshot)
    return snapshot, op


async def erased(ledger: RedisLedger, snapshot: Snapshot) -> None:
    receipt = receipt_of(an_id(Prefix.ERASURE, snapshot.subject.partition), snapshot, 0, 0)
    await ledger.erase(snapshot, receipt, "op-erase")


async def end_lease(link: Redis) -> None:
    """As if 30 s had gone by."""
    await link.hset(names.idempotency(KEYED.digest), "t", "0")


async def test_of_many_at_once_one_claims(store: RedisIdempotency) -> None:
    """Fifty ask together under fifty fences: one may go on, and all others are told to wait."""
    calls = [store.claim(KEYED, f"fence-{number}") for number in range(50)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, Claim) for result in results) == 1
    codes = [getattr(result, "code", None) for result in results]
    assert codes.count(Code.IDEMPOTENCY_IN_PROGRESS) == 49


async def test_a_claim_sent_twice_is_one_claim(store: RedisIdempotency) -> None:
    """Whoever lost the reply and sends the same script again is not told to wait for himself."""
    assert (await claimed(store, "mine")).is_first
    assert (await claimed(store, "mine")).fence == "mine"
    assert await refusal(store.claim(KEYED, "another")) == Code.IDEMPOTENCY_IN_PROGRESS


async def test_another_request_is_a_mismatch_at_every_stage(store: RedisIdempotency) -> None:
    """While the first runs, after it was given back, and after it was answered."""
    claim = await claimed(store, "mine")
    assert await refusal(store.claim(OTHER_BODY, "b")) == Code.IDEMPOTENCY_MISMATCH
    assert await store.release(claim)
    assert await refusal(store.claim(OTHER_BODY, "c")) == Code.IDEMPOTENCY_MISMATCH
    again = await claimed(store, "d")
    assert not again.is_first
    assert await store.finish(again, ANSWER, Operation("op"))
    assert await refusal(store.claim(OTHER_BODY, "e")) == Code.IDEMPOTENCY_MISMATCH
    assert await store.claim(KEYED, "f") == ANSWER


async def test_a_lease_that_ran_out_is_taken_over(store: RedisIdempotency, link: Redis) -> None:
    """After 30 s somebody else goes on, and what the slower one brings or gives back is refused."""
    slow = await claimed(store, "slow")
    end_ms = int(await link.hget(names.idempotency(KEYED.digest), "t") or 0)
    seconds, micros = await link.time()
    assert 0 < end_ms - (seconds * 1_000 + micros // 1_000) <= LEASE_MS
    await end_lease(link)
    quick = await claimed(store, "quick")
    assert not quick.is_first
    late = Answer(200, {}, b"late")
    assert not await store.finish(slow, late, Operation("op"))
    assert not await store.release(slow)
    assert await store.finish(quick, ANSWER, Operation("op"))
    assert not await store.finish(slow, late, Operation("op"))
    assert await store.claim(KEYED, "third") == ANSWER


async def test_who_is_late_but_alone_still_finishes(store: RedisIdempotency, link: Redis) -> None:
    """A lease that ran out costs nothing where nobody else came."""
    claim = await claimed(store, "mine")
    await end_lease(link)
    assert await store.finish(claim, ANSWER, Operation("op"))
    assert await store.claim(KEYED, "other") == ANSWER


async def test_an_answer_is_never_given_back(store: RedisIdempotency) -> None:
    """Finishing twice is finishing once, and a late release does not undo it."""
    claim = await claimed(store, "mine")
    assert await store.finish(claim, ANSWER, Operation("op"))
    assert await store.finish(claim, ANSWER, Operation("op"))
    assert not await store.release(claim)
    assert await store.claim(KEYED, "other") == ANSWER


async def test_nobody_finishes_what_nobody_claimed(store: RedisIdempotency, link: Redis) -> None:
    """A record that expired, or never was, is not made by its end."""
    ghost = Claim(KEYED.digest, "ghost", is_first=True, began_ms=0)
    assert not await store.finish(ghost, ANSWER, Operation("op"))
    assert not await store.release(ghost)
    assert await link.dbsize() == 0


async def test_a_record_lives_for_a_day(store: RedisIdempotency, link: Redis) -> None:
    """A day, and a little longer than the operation it stands for; each end begins it anew."""
    key = names.idempotency(KEYED.digest)
    claim = await claimed(store, "mine")
    assert names.OPERATION_KEPT_MS == DAY_MS
    for finish in (False, True):
        assert DAY_MS < await link.pttl(key) <= DAY_MS + 600_000
        await link.pexpire(key, 1_000)
        if finish:
            await store.finish(claim, ANSWER, Operation("op"))
        else:
            await store.release(claim)
            claim = await claimed(store, "again")
    assert DAY_MS < await link.pttl(key) <= DAY_MS + 600_000
    await link.delete(key)
    assert (await claimed(store, "tomorrow", OTHER_BODY)).is_first


async def test_nothing_is_in_the_clear(
    store: RedisIdempotency, ledger: RedisLedger, link: Redis
) -> None:
    """Neither the token nor the customer can be read in the record, whoever's key seals it."""
    _, told = await known(ledger)
    for op in (told, Operation("op")):
        claim = await claimed(store, "mine")
        await store.finish(claim, ANSWER, op)
        key = names.idempotency(KEYED.digest)
        held = repr((key, await link.hgetall(key)))
        assert "done" in held
        for secret in (CANARY, TOKEN, "customer_id", "application/json"):
            assert secret not in held
        await link.delete(key)


async def test_an_answer_dies_with_its_customer(
    store: RedisIdempotency, ledger: RedisLedger
) -> None:
    """It is replayed while the customer exists; then it is gone, also for one of the same name."""
    snapshot, op = await known(ledger)
    await store.finish(await claimed(store, "mine"), ANSWER, op)
    assert await store.claim(KEYED, "b") == ANSWER
    await erased(ledger, snapshot)
    assert await refusal(store.claim(KEYED, "c")) == Code.ANSWER_ERASED
    fresh = await ledger.snapshot(snapshot.subject)
    await ledger.commit(fresh, Change(customer=a_customer(customer_id=CANARY)), "op-anew")
    assert await refusal(store.claim(KEYED, "d")) == Code.ANSWER_ERASED


async def test_an_answer_that_comes_after_the_erasure_is_gone_as_well(
    store: RedisIdempotency, ledger: RedisLedger, link: Redis
) -> None:
    """A customer erased between the effect and the end of its request leaves nothing to open."""
    snapshot, op = await known(ledger)
    claim = await claimed(store, "mine")
    await erased(ledger, snapshot)
    assert await store.finish(claim, ANSWER, op)
    assert await link.hget(names.idempotency(KEYED.digest), "k") == b""
    assert await refusal(store.claim(KEYED, "b")) == Code.ANSWER_ERASED


async def test_an_answer_survives_a_new_epoch(
    store: RedisIdempotency, ledger: RedisLedger, link: Redis, keyring: Keyring
) -> None:
    """Both kinds are still replayed after every data key was wrapped anew."""
    _, op = await known(ledger)
    other = Keyed("f" * 32, KEYED.fingerprint)
    await store.finish(await claimed(store, "mine"), ANSWER, op)
    await store.finish(await claimed(store, "mine", other), ANSWER, Operation("op"))
    await RedisEpochs(link, keyring, 7).renew()
    assert await store.claim(KEYED, "b") == ANSWER
    assert await store.claim(other, "b") == ANSWER


async def test_an_answer_moved_to_another_record_does_not_open(
    store: RedisIdempotency, link: Redis
) -> None:
    """What was sealed for one request is of no use under another's key."""
    other = Keyed("f" * 32, KEYED.fingerprint)
    await store.finish(await claimed(store, "mine"), ANSWER, Operation("op"))
    fields: Any = await link.hgetall(names.idempotency(KEYED.digest))
    await link.hset(names.idempotency(other.digest), mapping=fields)
    assert await refusal(store.claim(other, "b")) == Code.ANSWER_ERASED


async def test_a_key_of_the_wrong_type_is_left_alone(store: RedisIdempotency, link: Redis) -> None:
    """A script that cannot go on has written nothing."""
    key = names.idempotency(KEYED.digest)
    await link.set(key, "foreign")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await store.claim(KEYED, "mine")
    assert await link.get(key) == b"foreign"


async def test_records_spread_over_64_slots() -> None:
    """Digests fall into every one of them, each named by two digits."""
    found = {names.idempotency(f"{number:032x}").partition(":")[0] for number in range(256)}
    assert found == {f"{{i{number:02d}}}" for number in range(64)}
