"""The records of sweeps and the ledger of their tiles, on a real Redis."""

import asyncio
import math
from typing import Any

import pytest
from redis.asyncio import Redis

from index.sweep.grid import Tile, all_pairs
from serve.domain.ids import Mode, Prefix
from serve.domain.sweeps.sweep import (
    ACTIVE_MAX,
    SweepFailure,
    SweepRequest,
    SweepScope,
    SweepStatus,
    home,
)
from serve.ports import TileLease
from serve.store import names
from serve.store.link import now_ms
from serve.store.sweeps import tiles
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.keyring import Keyring
from tests.helpers.records import TENANT, an_id
from tests.helpers.service import refusal
from tests.serve.sweep_store.records import (
    Worker,
    a_pair,
    a_plan,
    a_report,
    a_result,
    a_sweep,
    an_op,
)

CLAIMERS = 8


@pytest.fixture
def sweeps(link: Redis, keyring: Keyring) -> RedisSweeps:
    return RedisSweeps(link, keyring)


@pytest.fixture
def worker(sweeps: RedisSweeps) -> Worker:
    return Worker(sweeps)


async def test_what_was_asked_for_is_read_back(sweeps: RedisSweeps) -> None:
    """A sweep is read, listed and active as it was written, and nothing of it in the clear."""
    wanted = a_sweep(request=SweepRequest(threshold=0.8125, scope=SweepScope.BLOCKED))
    assert await sweeps.create(wanted, an_op()) == wanted
    assert await sweeps.one(TENANT, Mode.LIVE, wanted.id) == wanted
    assert (await sweeps.page(TENANT, Mode.LIVE, "", 10)).items == (wanted,)
    assert await sweeps.active() == [wanted]
    record: Any = await sweeps.link.hgetall(names.sweep(home(TENANT, Mode.LIVE), wanted.id))
    assert b"0.8125" not in b"".join(record.values())


async def test_a_repeated_operation_makes_one_sweep(sweeps: RedisSweeps) -> None:
    """However often and at once an operation asks, one sweep is made; another makes another."""
    op = an_op()
    asked = [sweeps.create(a_sweep(), op) for _ in range(CLAIMERS)]
    made = {sweep.id for sweep in await asyncio.gather(*asked)}
    assert len(made) == 1
    assert {sweep.id for sweep in await sweeps.active()} == made
    await sweeps.cancel(TENANT, Mode.LIVE, next(iter(made)))
    assert (await sweeps.create(a_sweep(), op)).status is SweepStatus.CANCELED
    assert (await sweeps.create(a_sweep(), an_op())).id not in made


async def test_a_world_has_only_so_many_under_way(sweeps: RedisSweeps, worker: Worker) -> None:
    """Of many that ask at once as many get a sweep as may; one that ends makes room, and another
    world has its own.
    """
    asked = [refusal(sweeps.create(a_sweep(), an_op())) for _ in range(3 * ACTIVE_MAX)]
    told = await asyncio.gather(*asked)
    assert told.count("nothing refused") == ACTIVE_MAX
    assert told.count("sweeps_too_many") == 2 * ACTIVE_MAX
    await sweeps.create(a_sweep(mode=Mode.TEST), an_op())
    await sweeps.create(a_sweep(tenant_id="ten_b"), an_op())
    first, second, *_ = (await sweeps.page(TENANT, Mode.LIVE, "", 10)).items
    await sweeps.cancel(TENANT, Mode.LIVE, first.id)
    await worker.ended(second, None, status=SweepStatus.FAILED, failure=SweepFailure.TILE_FAILED)
    for _ in range(2):
        await sweeps.create(a_sweep(), an_op())
    assert await refusal(sweeps.create(a_sweep(), an_op())) == "sweeps_too_many"


async def test_another_world_s_sweep_is_not_there(sweeps: RedisSweeps, worker: Worker) -> None:
    """Neither another tenant nor the other mode finds, lists or cancels it; what is no id is not
    found.
    """
    sweep = await worker.created()
    for tenant_id, mode in (("ten_b", Mode.LIVE), (TENANT, Mode.TEST)):
        # of the same partition, as an id that somebody guesses is
        elsewhere = sweep.id.replace(f"_{home(TENANT, Mode.LIVE):02d}",
                                     f"_{home(tenant_id, mode):02d}")  # fmt: skip
        for sweep_id in (sweep.id, elsewhere):
            assert await sweeps.one(tenant_id, mode, sweep_id) is None
            assert await sweeps.cancel(tenant_id, mode, sweep_id) is None
        assert (await sweeps.page(tenant_id, mode, "", 10)).items == ()
        assert await sweeps.latest(tenant_id, mode) is None
    assert (await sweeps.active())[0].status is SweepStatus.QUEUED
    for text in ("", "swp_00short", an_id(Prefix.SESSION, 0)):
        assert await refusal(sweeps.one(TENANT, Mode.LIVE, text)) == "not_found"


async def test_two_worlds_of_one_home_stay_apart(sweeps: RedisSweeps, worker: Worker) -> None:
    """Worlds whose sweeps lie in the same partition do not find each other's."""
    here = home(TENANT, Mode.LIVE)
    neighbour = next(f"ten_{n}" for n in range(10_000) if home(f"ten_{n}", Mode.LIVE) == here)
    mine, theirs = await worker.created(), await worker.created(tenant_id=neighbour)
    assert await sweeps.one(neighbour, Mode.LIVE, mine.id) is None
    assert await sweeps.cancel(neighbour, Mode.LIVE, mine.id) is None
    assert (await sweeps.page(neighbour, Mode.LIVE, "", 10)).items == (theirs,)
    assert (await sweeps.page(TENANT, Mode.LIVE, "", 10)).items == (mine,)


async def test_pages_hold_every_sweep_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """Page by page all are told, newest first, those that were asked for in one ms too."""
    at_ms, made = await now_ms(worker.link), []
    listed = names.listing(home(TENANT, Mode.LIVE), "sweeps", TENANT, Mode.LIVE)
    for number in range(9):
        made.append((at_ms + number // 3, (await worker.created()).id))
        await sweeps.cancel(TENANT, Mode.LIVE, made[-1][1])
        await worker.link.zadd(listed, {made[-1][1]: made[-1][0]})
    expected = [sweep_id for _, sweep_id in sorted(made, reverse=True)]
    for limit in (1, 2, 4, 100):
        cursor, told = "", []
        while True:
            page = await sweeps.page(TENANT, Mode.LIVE, cursor, limit)
            told += [sweep.id for sweep in page.items]
            cursor = page.next_cursor
            if not cursor:
                break
        assert told == expected
    assert await refusal(sweeps.page(TENANT, Mode.LIVE, "nonsense", 2)) == "cursor_invalid"


async def test_one_at_a_time_holds_a_sweep(sweeps: RedisSweeps, worker: Worker) -> None:
    """Of many at once one gets the hold; once it has run out another does, and the first has lost
    it: it can neither renew, plan nor end.
    """
    sweep = await worker.created()
    found = await asyncio.gather(*(sweeps.hold(sweep.id) for _ in range(CLAIMERS)))
    (first,) = [hold for hold in found if hold is not None]
    assert await sweeps.hold(sweep.id) is None
    renewed = await sweeps.renew(first)
    assert renewed is not None
    assert renewed.until_ms >= first.until_ms
    await worker.expire(sweep)
    second = await worker.held(sweep)
    assert second.fence > first.fence
    over = sweep.model_copy(update={"status": SweepStatus.DONE})
    assert await sweeps.renew(first) is None
    assert not await sweeps.plan(first, sweep, a_plan(1), [Tile(0, 0)])
    assert not await sweeps.end(first, over, a_report(sweep))
    assert await sweeps.planned(sweep.id) is None
    assert await sweeps.plan(second, sweep, a_plan(1), [Tile(0, 0)])


async def test_a_hold_given_back_is_had_at_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """Whoever asks next has it; giving it back late takes nothing from them."""
    sweep = await worker.created()
    first = await worker.held(sweep)
    await sweeps.release(first)
    second = await worker.held(sweep)
    await sweeps.release(first)
    assert await sweeps.hold(sweep.id) is None
    assert await sweeps.renew(second) is not None


async def test_a_plan_is_written_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """What was planned is read back, is not planned again by another, and said again is no
    failure; too many tiles are refused before anything is written.
    """
    sweep = await worker.created()
    hold, plan, cut = await worker.held(sweep), a_plan(3), list(all_pairs(3))
    running = sweep.model_copy(update={"status": SweepStatus.RUNNING, "tiles": len(cut)})
    with pytest.raises(ValueError, match="tiles"):
        await sweeps.plan(hold, running, plan, [Tile(0, 0)] * (tiles.TILES_MAX + 1))
    assert (await sweeps.active()) == [sweep]
    assert await sweeps.plan(hold, running, plan, cut)
    assert await sweeps.plan(hold, running, plan, cut)
    assert await sweeps.planned(sweep.id) == plan
    assert await sweeps.one(TENANT, Mode.LIVE, sweep.id) == running
    another = await worker.held(sweep)
    assert not await sweeps.plan(another, running, a_plan(1), [Tile(0, 0)])
    assert await sweeps.planned(sweep.id) == plan


async def test_each_tile_is_leased_to_one(sweeps: RedisSweeps, worker: Worker) -> None:
    """However many claim at once, each tile goes to one, in the order of the plan; after its lease
    has run out to another, as a further try.
    """
    sweep = await worker.planned(blocks=6)
    cut = list(all_pairs(6))
    (head,) = await sweeps.claim_tiles(sweep.id, 1)
    assert head.tile == cut[0]
    found = await asyncio.gather(*(sweeps.claim_tiles(sweep.id, 4) for _ in range(CLAIMERS)))
    leases = [head, *(lease for each in found for lease in each)]
    assert sorted(lease.tile for lease in leases) == sorted(cut)
    assert len({lease.fence for lease in leases}) == len(cut)
    assert {lease.tries for lease in leases} == {1}
    assert await sweeps.claim_tiles(sweep.id, 4) == []
    await worker.expire(sweep)
    again = await sweeps.claim_tiles(sweep.id, 100)
    assert sorted(lease.tile for lease in again) == sorted(cut)
    assert {lease.tries for lease in again} == {2}


async def test_a_lease_is_renewed_by_whoever_has_it(sweeps: RedisSweeps, worker: Worker) -> None:
    """A renewed lease does not run out; renewing one that was lost takes nothing from its owner."""
    sweep = await worker.planned(blocks=1)
    (lost,) = await sweeps.claim_tiles(sweep.id, 1)
    await worker.expire(sweep)
    await sweeps.renew_tiles([lost])
    assert await sweeps.claim_tiles(sweep.id, 1) == []
    await worker.expire(sweep)
    (mine,) = await sweeps.claim_tiles(sweep.id, 1)
    await worker.expire(sweep)
    await sweeps.renew_tiles([lost])
    await sweeps.release_tiles([lost])
    (theirs,) = await sweeps.claim_tiles(sweep.id, 1)
    assert (mine.tries, theirs.tries) == (2, 3)


async def test_a_tile_given_back_is_had_at_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """A released tile goes to the next who claims, and the try does not count; whoever gave it back
    has it no more.
    """
    sweep = await worker.planned(blocks=2)
    leases = await sweeps.claim_tiles(sweep.id, 10)
    await sweeps.release_tiles(leases[:2])
    again = await sweeps.claim_tiles(sweep.id, 10)
    assert sorted(lease.tile for lease in again) == sorted(lease.tile for lease in leases[:2])
    assert {lease.tries for lease in again} == {1}
    await sweeps.release_tiles(leases[:2])
    assert await sweeps.claim_tiles(sweep.id, 10) == []


async def test_a_tile_counts_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """Said twice, by the same worker or by one who had it before, a tile has one effect; what it
    came to is what was said first.
    """
    sweep = await worker.planned(blocks=1)
    (early,) = await sweeps.claim_tiles(sweep.id, 1)
    await worker.expire(sweep)
    (late,) = await sweeps.claim_tiles(sweep.id, 1)
    first = a_result(early.tile, [a_pair(1)])
    told = [await sweeps.finish_tile(early, first), await sweeps.finish_tile(early, first),
            await sweeps.finish_tile(late, a_result(late.tile, [a_pair(2)]))]  # fmt: skip
    for each in told:
        assert each is not None
        assert (each.tiles_done, each.compared, each.mates, each.found) == (1, 10, 1, 1)
        assert (each.busy_ms, each.complete_from) == (5, 0.25)
    assert [result async for result in sweeps.results(sweep.id)] == [first]
    await worker.expire(sweep)
    assert await sweeps.claim_tiles(sweep.id, 1) == []


async def test_what_tiles_come_to_is_kept_whole(
    sweeps: RedisSweeps, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of any size are read back exactly, and added up; a score as it is to the last bit."""
    monkeypatch.setattr(tiles, "PART_PAIRS", 3)
    monkeypatch.setattr(tiles, "PARTS_TOGETHER", 2)
    sweep = await worker.planned(blocks=3)
    leases, wanted = await sweeps.claim_tiles(sweep.id, 10), []
    for number, lease in enumerate(leases):
        pairs = [a_pair(10 * number + each, 1 / 3 + 1e-16 * each) for each in range(2 * number)]
        wanted.append(a_result(lease.tile, pairs, complete_from=0.1 * number - 0.3))
        found = await sweeps.finish_tile(lease, wanted[-1])
    assert found is not None
    assert (found.tiles_done, found.compared, found.found) == (6, 60, 30)
    assert found.complete_from == max(result.complete_from for result in wanted)
    told = [result async for result in sweeps.results(sweep.id)]
    assert sorted(told, key=lambda r: (r.row, r.column)) == sorted(
        wanted, key=lambda r: (r.row, r.column)
    )


async def test_a_tile_of_which_nothing_is_sure_is_kept(sweeps: RedisSweeps, worker: Worker) -> None:
    """A bar that no score reaches is read back as it is, of the tile and of the sweep."""
    sweep = await worker.planned(blocks=1)
    (lease,) = await sweeps.claim_tiles(sweep.id, 1)
    result = a_result(lease.tile, complete_from=math.inf)
    found = await sweeps.finish_tile(lease, result)
    assert found is not None
    assert found.complete_from == math.inf
    assert [each async for each in sweeps.results(sweep.id)] == [result]
    await worker.ended(found, a_report(found))
    assert (await sweeps.one(TENANT, Mode.LIVE, sweep.id)) is not None


async def test_more_pairs_than_are_kept_are_still_counted(
    sweeps: RedisSweeps, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a tile with too many pairs the best are kept, and all are counted."""
    monkeypatch.setattr(tiles, "KEPT_PAIRS_MAX", 4)
    sweep = await worker.planned(blocks=1)
    (lease,) = await sweeps.claim_tiles(sweep.id, 1)
    pairs = [a_pair(number, number / 10) for number in range(9)]
    found = await sweeps.finish_tile(lease, a_result(lease.tile, pairs))
    assert found is not None
    assert found.found == 9
    (told,) = [result async for result in sweeps.results(sweep.id)]
    assert {pair.score for pair in told.pairs} == {0.5, 0.6, 0.7, 0.8}


async def test_a_tile_of_another_plan_is_refused(sweeps: RedisSweeps, worker: Worker) -> None:
    """A lease from before the plan, as of a primary that was lost, and a tile that is not in it
    change nothing.
    """
    sweep = await worker.planned(blocks=1)
    (lease,) = await sweeps.claim_tiles(sweep.id, 1)
    old = TileLease(sweep.id, lease.tile, lease.fence - 1, 1)
    assert await sweeps.finish_tile(old, a_result(old.tile)) is None
    unknown = TileLease(sweep.id, Tile(7, 9), lease.fence, 1)
    assert await sweeps.finish_tile(unknown, a_result(unknown.tile)) is None
    found = await sweeps.one(TENANT, Mode.LIVE, sweep.id)
    assert found is not None
    assert found.tiles_done == 0
    assert [result async for result in sweeps.results(sweep.id)] == []


async def test_canceling_wins(sweeps: RedisSweeps, worker: Worker) -> None:
    """Whatever was under way, a canceled sweep stays canceled, keeps no results and is active no
    more; what it had counted by then is still told.
    """
    sweep = await worker.planned(blocks=2)
    first, second, *_ = await sweeps.claim_tiles(sweep.id, 10)
    await sweeps.finish_tile(first, a_result(first.tile))
    hold = await worker.held(sweep)
    canceled = await sweeps.cancel(TENANT, Mode.LIVE, sweep.id)
    assert canceled is not None
    assert (canceled.status, canceled.tiles_done) == (SweepStatus.CANCELED, 1)
    assert canceled.ended_at_ms is not None
    assert await sweeps.finish_tile(second, a_result(second.tile)) is None
    assert await sweeps.claim_tiles(sweep.id, 10) == []
    over = sweep.model_copy(update={"status": SweepStatus.DONE})
    assert not await sweeps.end(hold, over, a_report(sweep))
    assert await sweeps.renew(hold) is None
    assert await sweeps.hold(sweep.id) is None
    assert await sweeps.cancel(TENANT, Mode.LIVE, sweep.id) == canceled
    assert await sweeps.active() == []
    assert await sweeps.latest(TENANT, Mode.LIVE) is None
    left = [key.decode() async for key in worker.link.scan_iter(f"*:sweep:{sweep.id}*")]
    assert left == [names.sweep(home(TENANT, Mode.LIVE), sweep.id)]


async def test_what_is_over_cannot_be_canceled(sweeps: RedisSweeps, worker: Worker) -> None:
    """A done sweep is told as it is, and keeps what it came to."""
    sweep = await worker.done()
    assert await sweeps.cancel(TENANT, Mode.LIVE, sweep.id) == sweep
    assert (await sweeps.pairs(sweep.id, "", 10)).items
    assert await sweeps.hold(sweep.id) is None
    assert await sweeps.active() == []


async def test_a_sweep_whose_home_is_elsewhere_is_a_mistake(sweeps: RedisSweeps) -> None:
    """An id of another partition than its world's is refused before anything is written."""
    elsewhere = (home(TENANT, Mode.LIVE) + 1) % 64
    with pytest.raises(AssertionError):
        await sweeps.create(a_sweep(id=an_id(Prefix.SWEEP, elsewhere)), an_op())
    assert [key async for key in sweeps.link.scan_iter("*")] == []


async def test_a_sweep_that_was_lost_is_nowhere(sweeps: RedisSweeps, worker: Worker) -> None:
    """Of a sweep that expired nothing is found, and nothing can be done with it."""
    sweep = await worker.planned()
    (lease, *_) = await sweeps.claim_tiles(sweep.id, 10)
    await worker.link.delete(names.sweep(home(TENANT, Mode.LIVE), sweep.id))
    assert await sweeps.one(TENANT, Mode.LIVE, sweep.id) is None
    assert await sweeps.active() == []
    assert await sweeps.planned(sweep.id) is None
    assert await sweeps.finish_tile(lease, a_result(lease.tile)) is None
    assert await sweeps.hold(sweep.id) is None
    assert (await sweeps.pairs(sweep.id, "", 10)).items == ()
