"""Epochs change by force while customers come, verify and go: nobody becomes unreadable."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from serve.domain.session import KycStatus
from serve.flows.customers import erase, kyc_status
from serve.flows.transact import new_operation
from serve.store import names
from serve.store.ledger import RedisLedger
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring, open_keyring
from tests.helpers.service import Service

CLIENTS = 6
STORIES = 8
ROTATIONS = 12
SEED = 20261121


async def test_a_forced_rotation_under_load_loses_nobody(
    service: Service, link: Redis, keyring: Keyring, tmp_path: Path
) -> None:
    """After a dozen epochs under load every live data key is under the newest, and opens with it
    alone; half of the work was done by another process, which was told nothing.
    """
    other = open_keyring(tmp_path / "keys", 0, create=False)
    ledger = RedisLedger(link, other, 2**26, 7)
    theirs = replace(service, deps=replace(service.deps, ledger=ledger))
    there, gone = set[str](), set[str]()
    epochs = RedisEpochs(link, keyring, 7)

    async def live(number: int) -> None:
        chance = random.Random(SEED + number)  # noqa: S311
        at = theirs if number % 2 else service
        for story in range(STORIES):
            name = f"customer-{number}-{story}"
            await at.enrolled(name)
            token = (await at.opened(name, reference=name)).token
            await at.submitted(token, "face 0")
            there.add(name)
            if chance.random() < 0.25:
                await erase(at.deps, at.live, name, new_operation(at.deps))
                there.discard(name)
                gone.add(name)

    async def rotate() -> None:
        for _ in range(ROTATIONS):
            await epochs.renew(at_once=True)
            await asyncio.sleep(0)

    await asyncio.gather(rotate(), *map(live, range(CLIENTS)))
    assert keyring.current_epoch == other.current_epoch == 1 + ROTATIONS
    await epochs.renew(at_once=True)
    keyring.destroy_replaced(2**52, 7)
    assert len(keyring.epochs) == 1
    assert len(there) + len(gone) == CLIENTS * STORIES
    assert len(gone) > 0
    for name in there:
        assert (await kyc_status(theirs.deps, service.live, name))[0] is KycStatus.APPROVED
        subject = service.deps.ledger.subject(service.tenant.id, service.live.mode, name)
        (session,) = await service.deps.listings.sessions(
            await service.deps.ledger.snapshot(subject), None, 10
        )
        assert session.reference == name
        wrapped: Any = await link.hget(names.customer(subject), "k")
        assert keyring.epoch_of(wrapped) == keyring.current_epoch
    for name in gone:
        assert (await kyc_status(theirs.deps, service.live, name))[0] is KycStatus.PENDING
