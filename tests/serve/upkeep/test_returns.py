"""Who was erased stays erased, whatever a restored backup holds; who came after stays."""

import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.audit import AuditEntry
from serve.domain.change import Snapshot
from serve.domain.erasure import ErasureReceipt
from serve.domain.session import KycStatus
from serve.errors import Code, ServeError
from serve.flows.customers import erase, erasure, kyc_status
from serve.flows.transact import new_operation
from serve.flows.upkeep.returns import erase_returned
from serve.ports import Committed
from serve.store.ledger import RedisLedger
from serve.store.vault.keyring import Keyring
from serve.store.vault.series import DAY_MS
from tests.helpers.service import Service, refusal


async def copied(link: Redis) -> dict[bytes, tuple[int, bytes]]:
    """Every key with its life in ms and its value: what a backup of Redis holds."""
    found = {}
    async for key in link.scan_iter("*"):
        value: Any = await link.dump(key)
        found[key] = (max(0, await link.pttl(key)), value)
    return found


async def restore(link: Redis, copy: dict[bytes, tuple[int, bytes]]) -> None:
    await link.flushall()
    for key, (life_ms, value) in copy.items():
        await link.restore(key, life_ms, value)


async def erased(service: Service, name: str = "alice") -> ErasureReceipt:
    return await erase(service.deps, service.live, name, new_operation(service.deps))


async def statuses(service: Service, *customer_ids: str) -> list[KycStatus]:
    return [(await kyc_status(service.deps, service.live, each))[0] for each in customer_ids]


def tombstones(keyring: Keyring) -> list[Path]:
    return sorted(path for path in keyring.erased_folder.rglob("*") if path.is_file())


async def test_a_restored_backup_brings_nobody_back(service: Service, keyring: Keyring) -> None:
    """The erased customer is erased again, with a receipt; the other one is untouched."""
    await service.enrolled()
    await service.enrolled("bob")
    backup = await copied(service.link)
    await erased(service)
    await restore(service.link, backup)
    assert await statuses(service, "alice", "bob") == [KycStatus.APPROVED, KycStatus.APPROVED]
    assert await erase_returned(service.deps) == 1
    assert await statuses(service, "alice", "bob") == [KycStatus.PENDING, KycStatus.APPROVED]
    assert len(await service.keys("*:erasure:*")) == 1
    assert await erase_returned(service.deps) == 0
    assert len(tombstones(keyring)) == 2


async def test_who_came_back_by_themselves_stays(service: Service) -> None:
    """A customer who enrolled again after the erasure is another one."""
    await service.enrolled()
    await erased(service)
    await service.enrolled()
    backup = await copied(service.link)
    assert await erase_returned(service.deps) == 0
    await restore(service.link, backup)
    assert await erase_returned(service.deps) == 0
    assert await statuses(service, "alice") == [KycStatus.APPROVED]


async def test_a_tombstone_is_private_and_names_nobody(service: Service, keyring: Keyring) -> None:
    """It is readable by its owner alone, and the customer's id is not in it."""
    await service.enrolled("alice-of-the-tombstone")
    receipt = await erased(service, "alice-of-the-tombstone")
    (path,) = tombstones(keyring)
    assert path == keyring.erased_folder / "00000001" / receipt.id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert b"alice" not in path.read_bytes()


async def test_without_a_tombstone_nothing_is_erased(service: Service, keyring: Keyring) -> None:
    """Where it cannot be written the erasure is refused, and works as soon as it can."""
    await service.enrolled()
    keyring.erased_folder.write_text("in the way")
    assert await refusal(erased(service)) == Code.ERASURE_UNAVAILABLE
    assert await statuses(service, "alice") == [KycStatus.APPROVED]
    keyring.erased_folder.unlink()
    await erased(service)
    assert await statuses(service, "alice") == [KycStatus.PENDING]


class Broken(RedisLedger):
    """A ledger whose erasures end as told."""

    code = Code.STATE_UNAVAILABLE

    async def erase(
        self,
        snapshot: Snapshot,
        receipt: ErasureReceipt,
        op_id: str,
        audit: Sequence[AuditEntry] = (),
    ) -> Committed:
        raise ServeError(self.code, "as told")


@pytest.mark.parametrize(
    ("code", "number"),
    [(Code.VERSION_CONFLICT, 0), (Code.STATE_UNAVAILABLE, 1), (Code.DURABILITY_UNAVAILABLE, 1)],
)
async def test_a_tombstone_stays_unless_nothing_happened(
    service: Service, keyring: Keyring, link: Redis, code: Code, number: int
) -> None:
    """After a clean refusal it goes; where nobody can tell, the next start carries it out."""
    await service.enrolled()
    broken = Broken(link, keyring, 2**26, 7)
    object.__setattr__(broken, "code", code)
    deps = replace(service.deps, ledger=broken)
    op = new_operation(deps)
    assert await refusal(erase(deps, service.live, "alice", op)) == code
    assert len(tombstones(keyring)) == number
    assert await erase_returned(service.deps) == number


async def test_a_tombstone_goes_with_its_epoch(service: Service, keyring: Keyring) -> None:
    """Once no backup opens any more there is nothing to guard against, and no trace is kept."""
    await service.enrolled()
    receipt = await erased(service)
    await service.deps.epochs.renew()  # the fixture's epoch began in 1970
    assert len(tombstones(keyring)) == 1
    keyring.destroy_replaced(receipt.requested_at_ms + 9 * DAY_MS, 7)
    assert list(keyring.erased_folder.iterdir()) == []
    assert await erasure(service.deps, service.live, receipt.id) == receipt


async def test_a_damaged_tombstone_stops_the_start(service: Service, keyring: Keyring) -> None:
    """Whoever it named could come back unnoticed, so it is refused with a code."""
    await service.enrolled()
    await erased(service)
    (path,) = tombstones(keyring)
    path.write_bytes(path.read_bytes()[:20])
    assert await refusal(erase_returned(service.deps)) == Code.KEYS_MISMATCH
