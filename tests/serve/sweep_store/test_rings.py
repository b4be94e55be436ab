"""Rings of a sweep, page by page: each once, and for the cost of a page."""

import pytest
from redis.asyncio import Redis

from index.rings.edges import Ring
from serve.domain.sweeps.sweep import Sweep
from serve.store.sweeps import reports
from serve.store.sweeps.records import key_of
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.keyring import Keyring
from tests.helpers.service import refusal
from tests.serve.sweep_store.records import Worker, a_report, a_ring

PAGE, RINGS = 3, 11


@pytest.fixture
def sweeps(link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> RedisSweeps:
    """With pages of three."""
    monkeypatch.setattr(reports, "PAGE_RINGS", PAGE)
    return RedisSweeps(link, keyring)


def some_rings() -> tuple[Ring, ...]:
    """Each of three others."""
    return tuple(a_ring(*(f"{10 * n + each:032x}" for each in range(3))) for n in range(RINGS))


async def done(sweeps: RedisSweeps, rings: tuple[Ring, ...]) -> Sweep:
    """A sweep that found these."""
    worker = Worker(sweeps)
    sweep = await worker.planned()
    await worker.ended(sweep, a_report(sweep, 2, 1, rings=rings))
    return sweep


async def listed(sweeps: RedisSweeps, sweep_id: str, limit: int) -> list[tuple[Ring, ...]]:
    """Every page."""
    found, cursor = [], ""
    while True:
        page = await sweeps.ring_page(sweep_id, cursor, limit)
        found.append(page.items)
        cursor = page.next_cursor
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10, 11, 100])
async def test_each_ring_is_listed_once(sweeps: RedisSweeps, limit: int) -> None:
    """In their order; a page is full unless it is the last, and the last is not empty."""
    rings = some_rings()
    pages = await listed(sweeps, (await done(sweeps, rings)).id, limit)
    assert [ring for page in pages for ring in page] == list(rings)
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert pages[-1]


async def test_a_page_costs_a_page(sweeps: RedisSweeps) -> None:
    """What lies before it and behind it is not opened: it could not be."""
    rings = some_rings()
    sweep = await done(sweeps, rings)
    cursor = (await sweeps.ring_page(sweep.id, "", PAGE + 1)).next_cursor
    for part in ("rings:0", "rings:2", "rings:3", "pairs:0", "tail:0"):
        await sweeps.link.hset(key_of(sweep.id, "report"), part, "no page")
    page = await sweeps.ring_page(sweep.id, cursor, 1)
    assert page.items == rings[PAGE + 1 : PAGE + 2]
    assert await refusal(sweeps.ring_page(sweep.id, cursor, PAGE)) == "keys_mismatch"


async def test_who_goes_meanwhile_moves_nobody(sweeps: RedisSweeps) -> None:
    """Of the rings that are left each is listed once; who read up to one that has gone is told."""
    rings = some_rings()
    sweep = await done(sweeps, rings)
    first = await sweeps.ring_page(sweep.id, "", 4)
    await sweeps.forget(sweep.id, frozenset(rings[0].members + rings[5].members))
    rest = await sweeps.ring_page(sweep.id, first.next_cursor, 100)
    assert rest.items == (rings[4], *rings[6:])
    await sweeps.forget(sweep.id, frozenset(rings[3].members))
    assert await refusal(sweeps.ring_page(sweep.id, first.next_cursor, 4)) == "cursor_invalid"


async def test_a_cursor_beyond_the_end_is_none(sweeps: RedisSweeps) -> None:
    """As is one that no list has given out."""
    long, short = await done(sweeps, some_rings()), await done(sweeps, some_rings()[:2])
    cursor = (await sweeps.ring_page(long.id, "", 10)).next_cursor
    for wrong in (cursor, "nonsense"):
        assert await refusal(sweeps.ring_page(short.id, wrong, 1)) == "cursor_invalid"
