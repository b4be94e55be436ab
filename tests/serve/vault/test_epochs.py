"""Epochs and the later steps of erasure on a real Redis with a real append-only file."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.change import Change, Snapshot
from serve.domain.erasure import ErasureReceipt, ErasureStep, StepRecord, with_step
from serve.domain.ids import Mode, Prefix
from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import names
from serve.store.erasures import RedisErasures
from serve.store.ledger import RedisLedger
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring, open_keyring
from tests.helpers.records import TENANT, a_customer, an_id

CUSTOMERS = 30
CANARY = "canary-of-the-append-only-file"


@pytest.fixture
def ledger(link: Redis, keyring: Keyring) -> RedisLedger:
    return RedisLedger(link, keyring, 64_000, backup_retention_days=7)


async def fill(ledger: RedisLedger, count: int = CUSTOMERS) -> list[Snapshot]:
    found = []
    for number in range(count):
        subject = ledger.subject(TENANT, Mode.TEST, f"customer-{number}")
        snapshot = await ledger.snapshot(subject)
        await ledger.commit(snapshot, Change(customer=a_customer()), f"fill-{number}")
        found.append(await ledger.snapshot(subject))
    return found


async def test_a_new_epoch_wraps_every_data_key(
    ledger: RedisLedger, link: Redis, keyring: Keyring
) -> None:
    """After a renewal all customers read as before, and none is wrapped under the old epoch."""
    before = await fill(ledger)
    assert {snapshot.epoch for snapshot in before} == {1}
    await RedisEpochs(link, keyring, 7).renew()  # the fixture's epoch began in 1970
    after = [await ledger.snapshot(snapshot.subject) for snapshot in before]
    assert {snapshot.epoch for snapshot in after} == {2}
    assert [item.data_key for item in after] == [item.data_key for item in before]
    assert [item.customer for item in after] == [item.customer for item in before]


async def test_a_snapshot_from_before_the_renewal_is_stale(
    ledger: RedisLedger, link: Redis, keyring: Keyring
) -> None:
    """A change under way must read again, so that an erasure names the epoch it waits for."""
    (before,) = await fill(ledger, 1)
    await RedisEpochs(link, keyring, 7).renew()
    with pytest.raises(ServeError) as refused:
        await ledger.commit(before, Change(customer=a_customer()), "op")
    assert refused.value.code is Code.VERSION_CONFLICT


async def test_a_destroyed_epoch_opens_nothing(
    ledger: RedisLedger, link: Redis, keyring: Keyring, tmp_path: Path
) -> None:
    """Once the retention is over, a data key from an old backup does not open any more."""
    (snapshot,) = await fill(ledger, 1)
    backup: Any = await link.hget(names.customer(snapshot.subject), "k")
    assert backup is not None
    epochs = RedisEpochs(link, keyring, 7)
    await epochs.renew()
    keyring.unwrap(backup, snapshot.subject.key)
    assert not epochs.is_destroyed(1)
    replaced_ms = (await ledger.snapshot(snapshot.subject)).now_ms
    keyring.destroy_replaced(replaced_ms + 8 * 24 * 3_600_000, 7)
    assert epochs.is_destroyed(1)
    for anybody in (keyring, open_keyring(tmp_path / "keys", replaced_ms, create=False)):
        with pytest.raises(ServeError) as refused:
            anybody.unwrap(backup, snapshot.subject.key)
        assert refused.value.code is Code.KEYS_MISMATCH


async def test_a_rewrite_takes_what_was_deleted_out_of_the_file(
    link: Redis, redis_state: State
) -> None:
    """The canary is in the append-only file before the rewrite, although deleted, and not after."""
    files = [path for path in redis_state.data_dir.rglob("*.aof") if path.is_file()]
    await link.xadd("{p00}:faces", {"k": CANARY})
    await link.delete("{p00}:faces")
    assert any(CANARY.encode() in path.read_bytes() for path in files)
    before_ms = int((await link.time())[0]) * 1000
    began_ms = await RedisErasures(link).rewrite_log()
    assert began_ms is not None
    assert began_ms >= before_ms
    files = [path for path in redis_state.data_dir.rglob("*.aof") if path.is_file()]
    assert not any(CANARY.encode() in path.read_bytes() for path in files)


async def test_a_receipt_leaves_when_its_last_step_is_done(
    link: Redis, ledger: RedisLedger
) -> None:
    """Receipts are unfinished until every step is done, and readable afterwards."""
    (snapshot,) = await fill(ledger, 1)
    partition = snapshot.subject.partition
    done_ms = snapshot.now_ms
    steps = tuple(
        StepRecord(step=step, due_at_ms=done_ms,
                   done_at_ms=done_ms if step in {ErasureStep.SEARCH, ErasureStep.STORE} else None)
        for step in ErasureStep
    )  # fmt: skip
    receipt = ErasureReceipt(
        id=an_id(Prefix.ERASURE, partition), tenant_id=TENANT, mode=Mode.TEST,
        requested_at_ms=done_ms, epoch=1, faces=0, sessions=0, steps=steps,
    )  # fmt: skip
    await ledger.erase(snapshot, receipt, "op")
    erasures = RedisErasures(link)
    assert await erasures.unfinished(10) == [receipt]
    half = with_step(receipt, ErasureStep.LOG, done_ms)
    await erasures.put(half)
    assert await erasures.unfinished(10) == [half]
    whole = with_step(half, ErasureStep.BACKUPS, done_ms)
    await erasures.put(whole)
    assert await erasures.unfinished(10) == []
    kept = await link.get(names.erasure(partition, receipt.id))
    assert kept == whole.dump()
    assert await link.pttl(names.erasure(partition, receipt.id)) > 0


async def test_who_waits_for_the_backups_stands_behind(link: Redis, ledger: RedisLedger) -> None:
    """Receipts come by their next due step: old ones that wait for days starve no new one."""
    waiting = []
    for number, snapshot in enumerate(await fill(ledger, 2)):
        partition = snapshot.subject.partition
        steps = tuple(
            StepRecord(step=step, due_at_ms=snapshot.now_ms + due_ms)
            for step, due_ms in zip(ErasureStep, (0, 0, 3_600_000, 8 * 86_400_000), strict=True)
        )
        receipt = ErasureReceipt(
            id=an_id(Prefix.ERASURE, partition, number), tenant_id=TENANT, mode=Mode.TEST,
            requested_at_ms=snapshot.now_ms, epoch=1, faces=0, sessions=0, steps=steps,
        )  # fmt: skip
        await ledger.erase(snapshot, receipt, f"op-{number}")
        waiting.append(receipt)
    older, newer = waiting
    for step in (ErasureStep.SEARCH, ErasureStep.STORE, ErasureStep.LOG):
        older = with_step(older, step, older.requested_at_ms)
    erasures = RedisErasures(link)
    await erasures.put(older)
    assert await erasures.unfinished(1) == [newer]
    assert await erasures.unfinished(2) == [newer, older]
