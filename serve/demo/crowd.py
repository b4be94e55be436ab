"""The last scene: one man under many names. Every tile becomes a customer, and a sweep finds him.

The customers are the scene's own, and are erased at its end: the next story meets none of them.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from serve.demo.caller import Answer, Caller
from serve.demo.notebook import Notebook

SWEEPS = "/api/v1/sweeps"
AT_ONCE = 4
POLL_S, POLLS_MAX = 0.5, 240
TAKEN_MIN = 60
RING_MIN = 12
PAGE = 100
PAGES_MAX = 20
FIRST = "0-00"  # the man's first tile

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Selfies by tile, "row-column", and which of them are the man's."""

    selfies: Mapping[str, bytes] = field(repr=False)
    his: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """What the sweep answered: itself, its pairs and its rings."""

    sweep: Document
    pairs: tuple[Document, ...] = field(repr=False)
    rings: tuple[Document, ...] = field(repr=False)


async def find_the_man(tenant: Caller, crowd: Crowd, prefix: str, notes: Notebook) -> Found | None:
    """Enrol everybody, sweep, look at his ring; None where the sweep came to nothing.

    Customers' ids begin with `prefix`. Raises `server_unreachable`.
    """
    async with _enrolled(tenant, crowd, prefix, notes):
        notes.step("A man has an account for every photo of him: a sweep compares everybody")
        asked = await tenant.call("POST", SWEEPS, {})
        notes.expect("it is taken", asked.status, 202)
        path = f"{SWEEPS}/{asked.at('id')}"
        ended = await _ended(tenant, path)
        if not notes.expect("it ends by itself", ended.at("status"), "done"):
            return None
        notes.note(f"{ended.at('compared'):,} pairs compared, {ended.at('found'):,} found")
        found = Found(
            ended.document, await _all(tenant, f"{path}/pairs"), await _all(tenant, f"{path}/rings")
        )
        _judge(found, {prefix + tile for tile in crowd.his}, prefix + FIRST, notes)
        return found


def _judge(found: Found, his: set[str], first: str, notes: Notebook) -> None:
    rings = [set(ring["members"]) for ring in found.rings if first in ring["members"]]
    ring = rings[0] if rings else set[str]()
    is_found = len(ring) >= RING_MIN
    notes.expect(f"{RING_MIN} of his accounts or more are one ring", is_found, wanted=True)
    notes.expect("and nobody else is with him", ring - his, set())
    notes.note(f"his ring has {len(ring)} accounts; there are {len(found.rings)} rings in all")


@asynccontextmanager
async def _enrolled(
    tenant: Caller, crowd: Crowd, prefix: str, notes: Notebook
) -> AsyncIterator[None]:
    async def enrol(tile: str) -> int:
        image = "data:image/jpeg;base64," + base64.b64encode(crowd.selfies[tile]).decode()
        body = {"image": image, "consent_id": "consent-demo"}
        path = f"/api/v1/customers/{prefix}{tile}/faces"
        return (await tenant.call_patiently("POST", path, body)).status

    async def erase(tile: str) -> int:
        path = f"/api/v1/customers/{prefix}{tile}"
        return (await tenant.call_patiently("DELETE", path)).status

    notes.step(f"{len(crowd.selfies)} photos are enrolled, each under a customer of its own")
    try:
        taken = [status == 201 for status in await _each(enrol, list(crowd.selfies))]
        notes.note(f"{sum(taken)} of them are fit: the others show too little of a face")
        is_crowd = sum(taken) >= TAKEN_MIN
        notes.expect(f"{TAKEN_MIN} or more are taken", is_crowd, wanted=True)
        yield
    finally:
        await _each(erase, list(crowd.selfies))


async def _each(one: Callable[[str], Awaitable[int]], tiles: list[str]) -> list[int]:
    """What `one` comes to for every tile, a few at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def in_turn(tile: str) -> int:
        async with turn:
            return await one(tile)

    return await asyncio.gather(*map(in_turn, tiles))


async def _ended(tenant: Caller, path: str) -> Answer:
    """The sweep once it is over, or as it is when nobody would wait any longer."""
    for _ in range(POLLS_MAX):
        found = await tenant.call("GET", path)
        if found.at("status") not in {"queued", "running"}:
            break
        await asyncio.sleep(POLL_S)
    return found


async def _all(tenant: Caller, path: str) -> tuple[Document, ...]:
    found: list[Document] = []
    cursor = ""
    for _ in range(PAGES_MAX):
        answer = await tenant.call("GET", f"{path}?limit={PAGE}&cursor={cursor}")
        found += answer.at("data") or []
        cursor = answer.at("next_cursor") or ""
        if not cursor:
            break
    return tuple(found)
