"""Sweeps over HTTP with a worker behind them: what is asked for is found, and told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from index.sweep.choose import open_kernel
from serve.flows.sweeps.work import Options, Sweeper
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, MARY, Answer, Door, front_door, text

SWEEPS, RINGS = "/api/v1/sweeps", "/api/v1/rings"
MEN, STRANGERS = 4, 12
HASH = "sha256:9f86d081884c7d659a2feaa0c55ad015"
OPTIONS = Options(threads=1, memory_bytes=2**24, block_size=8)


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door behind which four customers are one man, and twelve are strangers."""
    async with front_door(link, keyring) as opened:
        for number in range(MEN):
            await enrol(opened, f"man-{number}", signals={"phone": HASH} if number < 2 else {})
        for number in range(STRANGERS):
            await enrol(opened, f"stranger-{number}", b"%04d" % number)
        yield opened


async def enrol(door: Door, customer_id: str, face: bytes = JOHN, **body: object) -> Answer:
    """A customer with this face."""
    path = f"/api/v1/customers/{customer_id}/faces"
    return await door.call("POST", path, {"image": text(face), **body})


async def swept(door: Door, **body: object) -> dict[str, Any]:
    """A sweep, asked for and carried out; how it is told then."""
    asked = await door.call("POST", SWEEPS, body)
    assert asked.status == 202, asked.body
    sweep_id = asked.body["id"]
    (active,) = await door.deps.sweeps.active()
    await Sweeper(door.deps, open_kernel("cpu"), OPTIONS).carry_out(active)
    told: dict[str, Any] = (await door.call("GET", f"{SWEEPS}/{sweep_id}")).body
    return told


async def data(door: Door, path: str) -> list[dict[str, Any]]:
    """The one page of a list."""
    page = (await door.call("GET", f"{path}?limit=100")).body
    assert not page["has_more"]
    found: list[dict[str, Any]] = page["data"]
    return found


async def test_one_man_of_many_names_is_found(door: Door) -> None:
    """Every pair of his names, with his faces, and one ring of them: nobody else is in it."""
    told = await swept(door, threshold=0.5)
    everybody = MEN + STRANGERS
    assert (told["status"], told["progress"], told["eta_s"]) == ("done", 1.0, 0.0)
    assert (told["faces"], told["customers"]) == (everybody, everybody)
    assert told["compared"] == everybody * (everybody - 1) // 2
    assert told["tiles"] == told["tiles_done"] > 1
    assert (told["found"], told["rings"]) == (MEN * (MEN - 1) // 2, 1)
    assert (told["threshold"], told["threshold_source"]) == (0.5, "request")
    pairs = await data(door, f"{SWEEPS}/{told['id']}/pairs")
    men = {f"man-{number}" for number in range(MEN)}
    assert len(pairs) == told["found"]
    assert {name for pair in pairs for name in (pair["customer_a"], pair["customer_b"])} == men
    assert len({pair["face_a"] for pair in pairs} | {pair["face_b"] for pair in pairs}) == MEN
    assert {pair["score"] for pair in pairs} == {1.0}
    (ring,) = await data(door, RINGS)
    assert set(ring["members"]) == men
    assert ring["shared_signals"] == ["phone"]
    assert await data(door, f"{SWEEPS}/{told['id']}/rings") == [ring]


async def test_later_faces_alone_are_compared(door: Door) -> None:
    """After a sweep, by its id: the new pairs are found, and the tenant's ring has grown."""
    first = await swept(door, threshold=0.5)
    await enrol(door, "man-9")
    told = await swept(door, threshold=0.5, since=first["id"])
    assert (told["since"], told["status"], told["found"]) == (first["id"], "done", MEN)
    assert told["compared"] < first["compared"]
    pairs = await data(door, f"{SWEEPS}/{told['id']}/pairs")
    assert all("man-9" in {pair["customer_a"], pair["customer_b"]} for pair in pairs)
    (ring,) = await data(door, RINGS)
    assert len(ring["members"]) == MEN + 1


async def test_customers_are_compared_with_the_blocklist(door: Door) -> None:
    """Each of the man's names with the entry that blocks him, which is told by its own id."""
    blocked = await door.call("POST", "/api/v1/blocklist", {"selfie": text(JOHN)})
    await door.call("POST", "/api/v1/blocklist", {"selfie": text(MARY)})
    told = await swept(door, threshold=0.5, scope="blocked")
    assert (told["status"], told["found"]) == ("done", MEN)
    pairs = await data(door, f"{SWEEPS}/{told['id']}/pairs")
    assert {pair["customer_b"] for pair in pairs} == {blocked.body["id"]}
    assert sorted(pair["customer_a"] for pair in pairs) == [f"man-{each}" for each in range(MEN)]
    assert await data(door, RINGS) == []


async def test_too_little_evidence_is_said(door: Door) -> None:
    """A target that so few faces cannot show: the threshold is the model's, and says so; the
    tenant's own is null for every target.
    """
    told = await swept(door, target_fpir=0.0001)
    assert (told["status"], told["found"]) == ("done", MEN * (MEN - 1) // 2)
    assert (told["threshold"], told["threshold_source"]) == (0.36, "manifest")
    calibration = (await door.call("GET", "/api/v1/calibration")).body
    assert (calibration["sweep_id"], calibration["gallery_size"]) == (told["id"], told["faces"])
    assert {row["threshold"] for row in calibration["thresholds"]} == {None}
    strangers = told["compared"] - told["found"]
    assert (calibration["pairs"], calibration["presumed_pairs"]) == (strangers, told["found"])


async def test_a_sweep_of_nobody_finds_nobody(link: Redis, keyring: Keyring) -> None:
    """A tenant without customers has a sweep that is done, without pairs and rings."""
    async with front_door(link, keyring) as door:
        told = await swept(door, threshold=0.5)
        assert (told["status"], told["progress"], told["faces"]) == ("done", 1.0, 0)
        for path in (f"{SWEEPS}/{told['id']}/pairs", f"{SWEEPS}/{told['id']}/rings", RINGS):
            assert await data(door, path) == []
