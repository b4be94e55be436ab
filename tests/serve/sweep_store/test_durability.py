"""What is asked for, canceled or ended is as durable as a commit; what is killed half way counts
for nothing; and backups say which keys sweeps need.
"""

import pytest
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import SweepStatus
from serve.store.local.backup import epochs_needed
from serve.store.sweeps import tiles
from serve.store.sweeps.records import key_of, read_one
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.sweeps.tiles import Tiles
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring
from tests.fixtures import silent
from tests.helpers.records import TENANT
from tests.helpers.service import refusal
from tests.serve.sweep_store.records import (
    Worker,
    a_pair,
    a_report,
    a_result,
    a_sweep,
    an_op,
)

NOBODY = (1, 20)  # a replica is to hold it, for which 20 ms are waited: there is none
UNSURE = "durability_unavailable"


@pytest.fixture
def sweeps(link: Redis, keyring: Keyring) -> RedisSweeps:
    return RedisSweeps(link, keyring)


@pytest.fixture
def worker(sweeps: RedisSweeps) -> Worker:
    return Worker(sweeps)


async def test_who_is_not_sure_says_so_and_may_ask_again(
    sweeps: RedisSweeps, worker: Worker
) -> None:
    """Where too few replicas hold it, asking, canceling and ending are refused each time, though
    done; asked again once they do, they are done once.
    """
    careful = RedisSweeps(sweeps.link, sweeps.keyring, NOBODY)
    wanted, op = a_sweep(), an_op()
    assert [await refusal(careful.create(wanted, op)) for _ in range(2)] == [UNSURE] * 2
    assert (await sweeps.create(a_sweep(), op)).id == wanted.id
    cancel = (TENANT, Mode.LIVE, wanted.id)
    assert [await refusal(careful.cancel(*cancel)) for _ in range(2)] == [UNSURE] * 2
    canceled = await sweeps.cancel(*cancel)
    assert canceled is not None
    assert canceled.status is SweepStatus.CANCELED
    sweep = await worker.planned()
    hold = await worker.held(sweep)
    over = sweep.model_copy(update={"status": SweepStatus.DONE})
    for _ in range(2):
        assert await refusal(careful.end(hold, over, a_report(sweep, 3, 1))) == UNSURE
    assert await sweeps.end(hold, over, a_report(sweep, 3, 1))
    assert len((await sweeps.edges(sweep.id))[0]) == 3
    assert len((await sweeps.page(TENANT, Mode.LIVE, "", 10)).items) == 2


async def test_tiles_wait_for_no_replica(sweeps: RedisSweeps, worker: Worker) -> None:
    """Work that may be done again is written without a wait."""
    sweep = await worker.planned()
    careful = RedisSweeps(sweeps.link, sweeps.keyring, NOBODY)
    (lease, *_) = await careful.claim_tiles(sweep.id, 1)
    found = await careful.finish_tile(lease, a_result(lease.tile))
    assert found is not None
    assert found.tiles_done == 1


@pytest.mark.parametrize("parts", [1, 2, 3])
async def test_a_worker_killed_while_it_writes_leaves_nothing_that_counts(
    sweeps: RedisSweeps, worker: Worker, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """After any part of a result the tile is still to be done, and what the next one writes is
    what is read.
    """
    monkeypatch.setattr(tiles, "PART_PAIRS", 2)
    sweep = await worker.planned(blocks=1)
    (killed,) = await sweeps.claim_tiles(sweep.id, 1)
    ledger = Tiles(sweeps.link, sweeps.keyring)
    kept = await read_one(sweeps.link, sweeps.keyring, sweep.id)
    assert kept is not None
    result = a_result(killed.tile, [a_pair(number) for number in range(4)])
    for number in range(parts):
        plain = await tiles._packed(result, result.pairs, number)  # noqa: SLF001 (up to here)
        named = f"0-0:{killed.fence}:{number}"
        assert await ledger._put(kept, killed.fence, named, plain)  # noqa: SLF001 (up to here)
    assert [each async for each in sweeps.results(sweep.id)] == []
    await worker.expire(sweep)
    (lease,) = await sweeps.claim_tiles(sweep.id, 1)
    other = a_result(lease.tile, [a_pair(9)])
    found = await sweeps.finish_tile(lease, other)
    assert found is not None
    assert (found.tiles_done, found.found) == (1, 1)
    assert [each async for each in sweeps.results(sweep.id)] == [other]
    await worker.ended(sweep, a_report(sweep))
    assert await sweeps.link.exists(key_of(sweep.id, "results")) == 0


async def test_a_backup_says_which_keys_sweeps_need(
    sweeps: RedisSweeps, worker: Worker, keyring: Keyring
) -> None:
    """The epoch that a sweep's key is wrapped under is among those that a backup names, until it
    is wrapped anew.
    """
    await worker.created()
    keyring.rotate(0, at_once=True)
    assert await epochs_needed(sweeps.link, keyring, silent) == {1, 2}
    await RedisEpochs(sweeps.link, keyring, 7).renew()
    assert await epochs_needed(sweeps.link, keyring, silent) == {keyring.current_epoch}
