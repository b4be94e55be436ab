"""P5 for 1:N search: many tenants in both modes, who all have one face among their own.

A real Redis and the real index. Templates have a common mean, as a real model's have: strangers
are about 0.8 alike. `TEST_SEARCH_TENANTS` tenants, from `TEST_SEED`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from prometheus_client import generate_latest
from redis.asyncio import Redis

from index.arena import Arena
from pipeline.evidence import FaceEvidence, Template
from pipeline.face.compare import ScoreScale
from pipeline.face.steps import SELFIE, Plan
from serve.app import Models, build_deps
from serve.deps import Deps
from serve.domain.audit import Actor, ActorKind
from serve.domain.ids import Mode, Prefix, renamed
from serve.domain.search.duplicate import FlagPatch, FlagStatus
from serve.domain.search.gallery import blocked_customer_id
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import ServeError
from serve.flows import alerts
from serve.flows.customers import EnrolRequest, enrol
from serve.flows.search import blocklist, find, flags
from serve.flows.tenants import create_tenant
from serve.flows.transact import new_operation
from serve.flows.verifications import records
from serve.inference.search.holder import Limits
from serve.inference.search.local import LocalIndex
from serve.observe.metrics import REGISTRY
from serve.settings import Settings
from serve.store.vault.keyring import Keyring
from tests.helpers.builders import face_evidence
from tests.helpers.search.read_index import ReadIndex
from tests.isolation.oracle import ID
from tests.isolation.test_plants import Worldless

TENANTS = int(os.environ.get("TEST_SEARCH_TENANTS", "200"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
DIMENSION, MODEL = 32, "toy.mean"
SCALE = ScoreScale(MODEL, search_floor=0.93, verify_threshold=0.95, dimension=DIMENSION)
SHARED, NOWHERE = "everybody's", "nobody's"
AT_ONCE = 64
ASKABLE = (Prefix.VERIFICATION, Prefix.FLAG, Prefix.BLOCK, Prefix.ALERT)
TRIES = 7  # of which the cheapest counts: the index's own reads come between


@dataclass
class MeanFaces:
    """A face is a name: its template is a mean that all share, and a little of its own."""

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """There is room."""

    def wait_s(self, tenant_id: str) -> float:
        """Nothing waits."""
        return 0.0

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> FaceEvidence:
        return face_evidence(template=Template(MODEL, vector_of(image.decode())))


def vector_of(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of unit norm; of two names about 0.8 alike."""
    own = np.random.default_rng(list(name.encode())).normal(size=DIMENSION)
    vector = np.full(DIMENSION, 2.0 / np.sqrt(DIMENSION)) + own / np.linalg.norm(own)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@dataclass
class World:
    """One tenant in one mode: who is enrolled there with which face, and what ids that made."""

    name: str
    principal: Principal
    faces: dict[str, str]
    is_blocking: bool
    ids: set[str] = field(default_factory=set)
    verifications: dict[str, str] = field(default_factory=dict)

    def named(self, prefix: str) -> list[str]:
        """Its ids of one kind, in order."""
        return sorted(name for name in self.ids if name.startswith(prefix))

    @property
    def sharers(self) -> list[str]:
        return [customer for customer, face in self.faces.items() if face == SHARED]


@dataclass
class Many:
    """All worlds over one store."""

    deps: Deps
    worlds: list[World]
    link: Redis

    async def each(self, act: Callable[[World], Awaitable[None]]) -> None:
        """`act` in every world, some at a time."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(world: World) -> None:
            async with room:
                await act(world)

        await asyncio.gather(*map(one, self.worlds))

    def strangers(self, world: World, told: object) -> set[str]:
        """What an answer names that is not of its reader's world."""
        return {name for name in ID.findall(repr(told)) if name not in world.ids}


@pytest_asyncio.fixture
async def many(link: Redis, keyring: Keyring) -> AsyncIterator[Many]:
    """All tenants, enrolled in random order over the real index."""
    faces = MeanFaces()
    built = build_deps(link, keyring, Settings(), Models(faces, SCALE, MODEL))
    async with LocalIndex(
        built.face_log, built.shard_board, Limits(wait_s=20.0, queue_max=4_096, threads=1)
    ) as index:
        await index.until_ready()
        deps = replace(built, index=index)
        found = Many(deps, await _worlds(deps, Random(SEED), TENANTS), link)  # noqa: S311
        await found.each(lambda world: _settled(deps, world))
        yield found


async def _worlds(deps: Deps, chance: Random, tenants: int) -> list[World]:
    found = []
    for number in range(tenants):
        tenant = (await create_tenant(deps, f"tenant {number}", TenantPatch())).tenant
        for mode in Mode:
            principal = Principal(
                tenant.id, mode, frozenset(Scope), Actor(ActorKind.KEY, f"key{number}")
            )
            faces = {
                f"customer {each}": SHARED if chance.random() < 0.6 else f"{number} {mode} {each}"
                for each in range(chance.randrange(4))
            }
            name = f"{number} {mode}"
            found.append(World(name, principal, faces, chance.random() < 0.2, {tenant.id}))
    chance.shuffle(found)
    return found


async def _settled(deps: Deps, world: World) -> None:
    """Its customers enrolled, and the face of everybody blocked or not."""
    if world.is_blocking:
        blocking = blocklist.BlockRequest(selfie=SHARED.encode())
        block = await blocklist.block_face(deps, world.principal, blocking, new_operation(deps))
        world.ids.add(block.id)
    for customer, face in world.faces.items():
        request = EnrolRequest(customer, face.encode())
        answer = await enrol(deps, world.principal, request, new_operation(deps))
        verification_id = renamed(Prefix.VERIFICATION, answer.face_id)
        world.verifications[customer] = verification_id
        world.ids |= {answer.face_id, verification_id}


async def search(deps: Deps, world: World, face: str, **changes: Any) -> find.SearchAnswer:
    """A search for a face by who may do all."""
    request = find.SearchRequest(selfie=face.encode(), limit=50, **changes)
    return await find.search_face(deps, world.principal, request)


async def test_nothing_crosses_between_many_tenants(many: Many) -> None:
    """Each world finds all of its own with the face that everybody has, and nobody else: in
    searches, flags, alerts, blocklists, statuses and errors; no metric names anybody.
    """
    counts: Counter[str] = Counter()

    async def look(world: World) -> None:
        deps, principal, sharers = many.deps, world.principal, world.sharers
        found = await search(deps, world, SHARED)
        assert {item.verification_id for item in found.matches if item.is_match} == {
            world.verifications[customer] for customer in sharers
        }
        assert found.gallery_size == len(world.faces)
        told: list[object] = [found]
        for customer, verification_id in world.verifications.items():
            page = await flags.duplicates_of(deps, principal, verification_id, "", 100)
            world.ids |= {flag.id for flag in page.items}
            is_sharer = world.faces[customer] == SHARED
            assert len(page.items) == (len(sharers) - 1 if is_sharer else 0)
            told += [page.items, await records.verification(deps, principal, verification_id)]
        statuses = {item.verification_id: item.status.value for item in found.matches}
        is_held = {statuses[world.verifications[item]] != "approved" for item in sharers}
        assert is_held <= {world.is_blocking}
        blocked = await blocklist.page(deps, principal, "", 100)
        assert len(blocked.items) == world.is_blocking
        raised = await alerts.page(deps, principal, None, "", 100)
        world.ids |= {item.id for item in raised.items}
        told += [blocked.items, raised.items]
        assert many.strangers(world, told) == set()
        counts.update(worlds=1, matches=len(sharers), held=len(sharers) * world.is_blocking)
        counts.update(alerts=len(raised.items), blocked=len(blocked.items))

    await many.each(look)
    owned = Counter(name for world in many.worlds for name in world.ids if name[:4] != "ten_")
    assert set(owned.values()) == {1}
    exposed = generate_latest(REGISTRY).decode()
    assert not ID.findall(exposed)
    assert all(world.principal.tenant_id not in exposed for world in many.worlds)
    print(f"\nseed {SEED}: {dict(counts)}, {len(owned)} ids")
    assert counts["worlds"] == 2 * TENANTS
    assert counts["matches"] > TENANTS
    assert min(counts["alerts"], counts["blocked"], counts["held"]) > 0

    await _errors_tell_nothing(many)
    await _costs_tell_nothing(many)


async def _errors_tell_nothing(many: Many) -> None:
    """What another world has is refused word for word as what nobody has."""
    chance = Random(SEED)  # noqa: S311
    counts: Counter[str] = Counter()
    for number in range(200):
        prefix = ASKABLE[number % len(ASKABLE)]
        owner = chance.choice([one for one in many.worlds if one.named(prefix)])
        other = chance.choice([one for one in many.worlds if one is not owner])
        theirs = chance.choice(owner.named(prefix))
        nobodys = f"{theirs[:6]}{'A' * 22}"
        told = [
            [await refused(call) for call in asked(many.deps, other, name)]
            for name in (theirs, nobodys)
        ]
        assert told[0] == told[1]
        assert all("not_found" in text for text in told[0])
        counts[prefix] += len(told[0])
    assert counts.keys() == set(ASKABLE)


def asked(deps: Deps, world: World, name: str) -> Iterable[Awaitable[object]]:
    """Every question that an id can be put in, and those that the verification of its time can."""
    principal = world.principal
    verification_id, flag_id, block_id, alert_id = (
        name if name.startswith(prefix) else renamed(prefix, name) for prefix in ASKABLE
    )
    patch = FlagPatch(status=FlagStatus.RESOLVED)
    yield records.verification(deps, principal, verification_id)
    yield flags.duplicates_of(deps, principal, verification_id, "", 10)
    yield flags.change_flag(deps, principal, flag_id, patch, new_operation(deps))
    yield blocklist.one(deps, principal, block_id)
    yield blocklist.unblock(deps, principal, block_id, new_operation(deps))
    yield alerts.alert(deps, principal, alert_id)


async def refused(call: Awaitable[object]) -> str:
    """What a call is refused with."""
    with pytest.raises(ServeError) as caught:
        await call
    return str(caught.value)


async def _costs_tell_nothing(many: Many) -> None:
    """A face, or a record, that others have costs a world what one does that nobody has: the same
    Redis commands, the same rows compared with.
    """
    empty = next(world for world in many.worlds if not world.faces and not world.is_blocking)
    alone = next(world for world in many.worlds if world.faces and not world.sharers)
    owner = next(world for world in many.worlds if world.verifications and world.is_blocking)
    theirs = next(iter(owner.verifications.values()))
    (block_id,) = (name for name in owner.ids if name.startswith("blk_"))
    deps = many.deps
    for world in (empty, alone):
        pairs: list[tuple[Callable[[str], Awaitable[object]], str, str]] = [
            (
                lambda face, world=world: search(deps, world, face),  # type: ignore[misc]
                SHARED,
                NOWHERE,
            ),
            (
                lambda name, world=world: refused(  # type: ignore[misc]
                    records.verification(deps, world.principal, name)
                ),
                theirs,
                f"{theirs[:6]}{'A' * 22}",
            ),
            (
                lambda name, world=world: refused(  # type: ignore[misc]
                    blocklist.one(deps, world.principal, name)
                ),
                block_id,
                f"{block_id[:6]}{'A' * 22}",
            ),
        ]
        for call, elsewhere, nowhere in pairs:
            costs = [await cost(many, call, name) for name in (elsewhere, nowhere)]
            assert costs[0] == costs[1], (elsewhere, nowhere)
            print(f"{len(world.faces)} faces: {costs[0]} commands and rows for {elsewhere!r}")


async def cost(many: Many, call: Callable[[str], Awaitable[object]], name: str) -> tuple[int, int]:
    """The fewest Redis commands that a call took, and the rows it was compared with."""
    found = []
    for _ in range(TRIES):
        with pytest.MonkeyPatch.context() as patch:
            scanned = [0]
            original = Arena.search

            def counted(arena: Arena, *args: Any, **named: Any) -> Any:
                scanned[0] += arena.rows  # noqa: B023 (called within this turn)
                return original(arena, *args, **named)  # noqa: B023

            patch.setattr(Arena, "search", counted)
            before = await commands(many.link)
            await call(name)
            found.append((await commands(many.link) - before, scanned[0]))
    return min(found)


async def commands(link: Redis) -> int:
    """How many commands Redis has carried out."""
    return int((await link.info("stats"))["total_commands_processed"])


async def test_an_index_that_ignores_worlds_is_seen_to_cross(link: Redis, keyring: Keyring) -> None:
    """The same look finds a planted leak, among ten tenants; without it, it finds none."""
    built = build_deps(link, keyring, Settings(), Models(MeanFaces(), SCALE, MODEL))
    for kind, is_leaky in ((ReadIndex, False), (Worldless, True)):
        await link.flushall()
        deps = replace(built, index=kind(built.face_log))
        found = Many(deps, await _worlds(deps, Random(SEED), 10), link)  # noqa: S311
        await found.each(lambda world, deps=deps: _settled(deps, world))  # type: ignore[misc]
        told = [found.strangers(world, await search(deps, world, SHARED)) for world in found.worlds]
        assert any(told) == is_leaky


def test_a_blocked_name_is_no_tenant_s() -> None:
    """What a blocked face is kept under holds a character that no customer's id may hold."""
    assert "\0" in blocked_customer_id(f"blk_00{'a' * 22}")
