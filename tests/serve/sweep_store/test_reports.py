"""What sweeps came to: kept whole, page by page, forgotten on demand, and under keys that go."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from index.rings.explain import ring_id
from serve.domain.ids import Mode
from serve.domain.sweeps.gone import ring_without
from serve.domain.sweeps.sweep import FacePair, SweepRequest, SweepScope, SweepStatus, home
from serve.errors import Code, ServeError
from serve.ports import SweepReport
from serve.store import names
from serve.store.sweeps import reports
from serve.store.sweeps.records import key_of, read_one
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring
from serve.store.vault.series import DAY_MS
from tests.helpers.records import TENANT
from tests.helpers.service import refusal
from tests.serve.sweep_store.records import (
    Worker,
    a_calibration,
    a_pair,
    a_report,
    a_result,
    a_ring,
)

PAIRS, TAIL = 23, 11
FORGETTERS = 4


@pytest.fixture
def sweeps(link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> RedisSweeps:
    """With pages of five, so that a report has several."""
    monkeypatch.setattr(reports, "PAGE_PAIRS", 5)
    monkeypatch.setattr(reports, "PAGE_RINGS", 2)
    monkeypatch.setattr(reports, "PAGES_TOGETHER", 2)
    return RedisSweeps(link, keyring)


@pytest.fixture
def worker(sweeps: RedisSweeps) -> Worker:
    return Worker(sweeps)


async def paged(sweeps: RedisSweeps, sweep_id: str, limit: int, cursor: str = "") -> list[FacePair]:
    """Every pair, page by page."""
    found: list[FacePair] = []
    while True:
        page = await sweeps.pairs(sweep_id, cursor, limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            return found


async def test_a_report_is_read_back_whole(sweeps: RedisSweeps, worker: Worker) -> None:
    """Pairs, what lies below them, rings and calibration are what was written, in order; pages of
    any size hold each pair once.
    """
    sweep = await worker.planned()
    rings = tuple(a_ring(*(f"{10 * n + each:032x}" for each in range(5 - n))) for n in range(4))
    report = a_report(sweep, PAIRS, TAIL, rings=rings)
    await worker.ended(sweep, report)
    assert await sweeps.edges(sweep.id) == (list(report.pairs), list(report.tail))
    assert await sweeps.rings(sweep.id) == list(rings)
    assert await sweeps.calibration(TENANT, Mode.LIVE) == report.calibration
    for limit in (1, 4, 5, 7, 100):
        assert await paged(sweeps, sweep.id, min(limit, 5)) == list(report.pairs)
    assert (await sweeps.planned(sweep.id)) is not None


async def test_an_empty_report_is_one(sweeps: RedisSweeps, worker: Worker) -> None:
    """A sweep that found nothing is done, and has empty lists."""
    sweep = await worker.planned()
    await worker.ended(sweep, a_report(sweep, 0, 0, rings=(), calibration=None))
    assert await sweeps.edges(sweep.id) == ([], [])
    assert (await sweeps.pairs(sweep.id, "", 5)).items == ()
    assert await sweeps.rings(sweep.id) == []
    assert await sweeps.calibration(TENANT, Mode.LIVE) is None
    assert (await sweeps.latest(TENANT, Mode.LIVE)) is not None


async def test_a_cursor_is_of_its_own_list(sweeps: RedisSweeps, worker: Worker) -> None:
    """Another sweep's cursor, and what is none, are refused."""
    first, second = [await worker.done(a_report_of(n)) for n in (PAIRS, PAIRS)]
    cursor = (await sweeps.pairs(first.id, "", 3)).next_cursor
    assert (await sweeps.pairs(first.id, cursor, 3)).items == a_report_of(PAIRS).pairs[3:6]
    assert await refusal(sweeps.pairs(second.id, cursor, 3)) == "cursor_invalid"
    assert await refusal(sweeps.pairs(first.id, "nonsense", 3)) == "cursor_invalid"


async def test_nothing_is_told_before_it_is_done(sweeps: RedisSweeps, worker: Worker) -> None:
    """Of a report that is being written nothing is told; the next who ends it begins afresh."""
    sweep = await worker.planned()
    hold = await worker.held(sweep)
    kept = await read_one(sweeps.link, sweeps.keyring, sweep.id)
    assert kept is not None
    writer = sweeps._reports  # noqa: SLF001 (as one who is killed in the middle of an end)
    assert await writer.write(kept, hold, a_report(sweep, PAIRS, TAIL))
    assert (await sweeps.pairs(sweep.id, "", 5)).items == ()
    assert await sweeps.edges(sweep.id) == ([], [])
    assert await sweeps.rings(sweep.id) == []
    await worker.expire(sweep)
    report = a_report(sweep, 2, 1)
    await worker.ended(sweep, report)
    assert await sweeps.edges(sweep.id) == (list(report.pairs), list(report.tail))
    fields = {field.decode() async for field, _ in sweeps.link.hscan_iter(report_key(sweep.id))}
    assert fields == {"meta", "pairs:0", "tail:0", "rings:0", "calibration:0"}


async def test_a_writer_who_lost_the_hold_writes_nothing(
    sweeps: RedisSweeps, worker: Worker
) -> None:
    """Pages of somebody whose hold ran out do not get among those of the next."""
    sweep = await worker.planned()
    slow = await worker.held(sweep)
    await worker.expire(sweep)
    hold = await worker.held(sweep)
    over = sweep.model_copy(update={"status": SweepStatus.DONE})
    assert not await sweeps.end(slow, over, a_report(sweep, PAIRS, TAIL))
    assert await sweeps.link.exists(report_key(sweep.id)) == 0
    assert await sweeps.end(hold, over, a_report(sweep, 1, 1))
    assert await sweeps.end(hold, over, a_report(sweep, PAIRS, TAIL))  # said again: as it is
    assert len((await sweeps.edges(sweep.id))[0]) == 1


async def test_too_long_a_report_is_a_mistake(
    sweeps: RedisSweeps, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More pairs than a sweep may find are refused before anything is written."""
    monkeypatch.setattr(reports, "LISTED_MAX", 2)
    sweep = await worker.planned()
    hold = await worker.held(sweep)
    over = sweep.model_copy(update={"status": SweepStatus.DONE})
    with pytest.raises(ValueError, match="pairs"):
        await sweeps.end(hold, over, a_report(sweep, 3, 0))
    assert await sweeps.link.exists(report_key(sweep.id)) == 0


async def test_a_failed_sweep_keeps_its_reason_alone(sweeps: RedisSweeps, worker: Worker) -> None:
    """Of a sweep that was given up nothing is left but its record."""
    sweep = await worker.planned()
    (lease, *_) = await sweeps.claim_tiles(sweep.id, 1)
    await sweeps.finish_tile(lease, a_result(lease.tile, [a_pair(1)]))
    over = await worker.ended(sweep, None, status=SweepStatus.FAILED, detail="too many")
    assert await sweeps.one(TENANT, Mode.LIVE, sweep.id) == over
    keys = [key.decode() async for key in sweeps.link.scan_iter(f"*:sweep:{sweep.id}*")]
    assert keys == [key_of(sweep.id)]
    assert await sweeps.latest(TENANT, Mode.LIVE) is None
    assert [result async for result in sweeps.results(sweep.id)] == []


async def test_the_latest_is_the_newest_whole_one(sweeps: RedisSweeps, worker: Worker) -> None:
    """A sweep of the blocklist, one that left some out, and an older one that ends later do not
    become the tenant's; the calibration is of the newest that has one.
    """
    older, newer = await worker.planned(), await worker.planned()
    await set_asked(sweeps, older.id, -1)
    await worker.ended(newer, a_report(newer))
    await worker.ended(older, a_report(older))
    blocked = await worker.planned(request=SweepRequest(scope=SweepScope.BLOCKED))
    await worker.ended(blocked, a_report(blocked, calibration=None))
    part = await worker.planned()
    await worker.ended(part, a_report(part, calibration=None), is_whole=False)
    latest = await sweeps.latest(TENANT, Mode.LIVE)
    assert latest is not None
    assert latest.id == newer.id
    assert await sweeps.calibration(TENANT, Mode.LIVE) == a_calibration(newer)
    assert await sweeps.calibration(TENANT, Mode.TEST) is None
    assert await sweeps.latest("ten_b", Mode.LIVE) is None
    last = await worker.done()
    latest = await sweeps.latest(TENANT, Mode.LIVE)
    assert latest is not None
    assert latest.id == last.id
    assert await sweeps.calibration(TENANT, Mode.LIVE) == a_calibration(last)


async def test_who_has_gone_is_forgotten(sweeps: RedisSweeps, worker: Worker) -> None:
    """Their pairs and places in rings go, all others keep their places: a cursor from before goes
    on where it was. Forgetting again, or nobody, changes nothing.
    """
    sweep = await worker.planned()
    report = a_report(sweep, PAIRS, TAIL)
    await worker.ended(sweep, report)
    before = await sweeps.pairs(sweep.id, "", 4)
    gone = frozenset({report.pairs[1].subject_a, report.pairs[7].subject_b,
                      report.tail[2].subject_a})  # fmt: skip
    assert await sweeps.forget(sweep.id, gone) == 3
    left = [pair for n, pair in enumerate(report.pairs) if n not in {1, 7}]
    assert await sweeps.edges(sweep.id) == (
        left, [pair for n, pair in enumerate(report.tail) if n != 2]
    )  # fmt: skip
    after = await paged(sweeps, sweep.id, 4, before.next_cursor)
    assert after == [pair for pair in left if pair not in before.items]
    (ring,) = await sweeps.rings(sweep.id)
    assert ring == ring_without(report.rings[0], gone)
    assert await sweeps.planned(sweep.id) is not None
    assert await sweeps.calibration(TENANT, Mode.LIVE) == report.calibration
    data_key = await data_key_of(sweeps, sweep.id)
    assert await sweeps.forget(sweep.id, gone) == 0
    assert await sweeps.forget(sweep.id, frozenset()) == 0
    assert await data_key_of(sweeps, sweep.id) == data_key
    for key in [key async for key in sweeps.link.scan_iter(f"*:sweep:{sweep.id}*")]:
        assert await sweeps.link.pttl(key) > 0


async def test_many_forget_at_once(sweeps: RedisSweeps, worker: Worker) -> None:
    """Each of those who forget somebody else at the same time is heard, and readers meanwhile find
    a report that opens.
    """
    sweep = await worker.planned()
    report = a_report(sweep, PAIRS, TAIL)
    await worker.ended(sweep, report)
    asked = [sweeps.forget(sweep.id, frozenset({report.pairs[3 * n].subject_a}))
             for n in range(FORGETTERS)]  # fmt: skip
    *went, seen = await asyncio.gather(*asked, sweeps.edges(sweep.id))
    assert went == [1] * FORGETTERS
    assert isinstance(seen, tuple)
    assert PAIRS - FORGETTERS <= len(seen[0]) <= PAIRS
    pairs, _ = await sweeps.edges(sweep.id)
    assert pairs == [p for n, p in enumerate(report.pairs) if n % 3 or n // 3 >= FORGETTERS]
    keys = [key.decode() async for key in sweeps.link.scan_iter("*:report*")]
    assert keys == [report_key(sweep.id)]


async def test_nothing_but_forgetting_is_needed(sweeps: RedisSweeps, worker: Worker) -> None:
    """After it no key and no value of the store, opened or not, names who has gone."""
    sweep = await worker.planned()
    report = a_report(sweep, PAIRS, TAIL)
    await worker.ended(sweep, report)
    pair = report.pairs[0]
    gone = {pair.subject_a, pair.subject_b}
    await sweeps.forget(sweep.id, frozenset(gone))
    pairs, tail = await sweeps.edges(sweep.id)
    told = [*pairs, *tail, *(await sweeps.rings(sweep.id))]
    document = repr((told, await sweeps.one(TENANT, Mode.LIVE, sweep.id)))
    document += repr([await sweeps.planned(sweep.id), await sweeps.calibration(TENANT, Mode.LIVE)])
    for member in (*gone, pair.face_a, pair.face_b):
        assert member not in document
    assert ring_id(pair.subject_a) not in document


async def test_a_copy_from_before_opens_no_more(sweeps: RedisSweeps, worker: Worker) -> None:
    """What an older copy holds of a tile, or of somebody who was forgotten, does not open with the
    key of the sweep as it is: the copy needs the epoch key of its own day.
    """
    sweep = await worker.planned()
    (lease, *_) = await sweeps.claim_tiles(sweep.id, 1)
    await sweeps.finish_tile(lease, a_result(lease.tile, [a_pair(1)]))
    results: Any = await sweeps.link.hgetall(key_of(sweep.id, "results"))
    (part, copied), *_ = results.items()
    report = a_report(sweep, PAIRS, TAIL)
    await worker.ended(sweep, report)
    page: Any = await sweeps.link.hget(report_key(sweep.id), "pairs:0")
    await sweeps.forget(sweep.id, frozenset({report.pairs[0].subject_a}))
    kept = await read_one(sweeps.link, sweeps.keyring, sweep.id)
    assert kept is not None
    for field, sealed in ((part.decode(), copied), ("pairs:0", page)):
        with pytest.raises(ServeError) as refused:
            kept.unseal(sealed, field)
        assert refused.value.code is Code.KEYS_MISMATCH


async def test_pages_cannot_change_places(sweeps: RedisSweeps, worker: Worker) -> None:
    """A page put in another's place, or another sweep's, does not open."""
    sweep = await worker.done(a_report_of(PAIRS))
    second = await sweeps.link.hget(report_key(sweep.id), "pairs:1")
    await sweeps.link.hset(report_key(sweep.id), "pairs:0", second)
    assert await refusal(sweeps.edges(sweep.id)) == "keys_mismatch"


@pytest.mark.parametrize("state", ["queued", "running", "done", "canceled"])
async def test_no_sweep_holds_an_old_epoch_back(
    sweeps: RedisSweeps, worker: Worker, keyring: Keyring, state: str
) -> None:
    """Whatever its state, a renewal wraps its key anew: once the old epoch's key is destroyed it is
    read, and goes on, as before.
    """
    sweep = await (worker.created() if state == "queued" else worker.planned())
    if state == "done":
        sweep = await worker.ended(sweep, a_report(sweep, PAIRS, TAIL))
    if state == "canceled":
        await sweeps.cancel(TENANT, Mode.LIVE, sweep.id)
    before = await sweeps.one(TENANT, Mode.LIVE, sweep.id)
    epochs = RedisEpochs(sweeps.link, keyring, 7)
    await epochs.renew()
    kept = await read_one(sweeps.link, keyring, sweep.id)
    assert kept is not None
    assert keyring.epoch_of(kept.wrapped) == keyring.current_epoch == 2
    keyring.destroy_replaced(keyring.epochs[-1].began_at_ms + 8 * DAY_MS, 7)
    assert epochs.is_destroyed(1)
    assert await sweeps.one(TENANT, Mode.LIVE, sweep.id) == before
    if state == "done":
        assert len((await sweeps.edges(sweep.id))[0]) == PAIRS
    if state == "running":
        assert len(await worker.worked(sweep)) == 3
        await worker.ended(sweep, a_report(sweep))


async def test_a_renewal_and_an_end_at_once_lose_nothing(
    sweeps: RedisSweeps, worker: Worker, keyring: Keyring
) -> None:
    """Ends, forgets and renewals at the same time leave sweeps that open, wrapped under an epoch
    that exists.
    """
    running = [await worker.planned() for _ in range(3)]
    epochs = RedisEpochs(sweeps.link, keyring, 0)
    ends = [worker.ended(sweep, a_report(sweep, PAIRS, TAIL)) for sweep in running]
    await asyncio.gather(*ends, epochs.renew(at_once=True))
    gone = frozenset({a_pair(0).subject_a})
    forgets = [sweeps.forget(sweep.id, gone) for sweep in running]
    await asyncio.gather(*forgets, epochs.renew(at_once=True), epochs.renew(at_once=True))
    await epochs.renew(at_once=True)
    for sweep in running:
        assert len((await sweeps.edges(sweep.id))[0]) == PAIRS - 1


def test_a_ring_without_some_of_its_members() -> None:
    """Ends of edges that have gone take the edges along; another stands in for a medoid that went;
    two at least are a ring.
    """
    ring = a_ring("a", "b", "c", "d")
    assert ring_without(ring, frozenset({"x"})) is ring
    without = ring_without(ring, frozenset({"b"}))
    assert without is not None
    assert (without.members, without.medoid, without.id) == (("a", "c", "d"), "a", ring.id)
    assert [edge.second for edge in without.tree] == ["c", "d"]
    headless = ring_without(ring, frozenset({"a"}))
    assert headless is not None
    assert (headless.members, headless.medoid, headless.tree) == (("b", "c", "d"), "b", ())
    assert (headless.id, headless.without) == (ring_id("b"), {})
    assert ring_without(ring, frozenset({"a", "b", "c"})) is None


def a_report_of(pairs: int) -> SweepReport:
    """That many pairs and nothing else."""
    return SweepReport(tuple(a_pair(n) for n in range(pairs)), (), (), None)


def report_key(sweep_id: str) -> str:
    return key_of(sweep_id, "report")


async def data_key_of(sweeps: RedisSweeps, sweep_id: str) -> bytes:
    kept = await read_one(sweeps.link, sweeps.keyring, sweep_id)
    assert kept is not None
    return kept.data_key


async def set_asked(sweeps: RedisSweeps, sweep_id: str, change_ms: int) -> None:
    """As if it had been asked for so much later."""
    await sweeps.link.hincrby(
        names.sweep(home(TENANT, Mode.LIVE), sweep_id), "at", change_ms - 1_000
    )
