"""A world of enrolled faces, sweeps of it, and what float64 says that they should find."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from index.sweep.choose import open_kernel
from index.sweep.kernel import Kernel
from pipeline.evidence import Template
from pipeline.face.compare import ScoreScale
from serve.app import Models, build_deps
from serve.deps import Deps
from serve.domain.audit import Actor, ActorKind
from serve.domain.change import Change, EnrolledFace
from serve.domain.ids import Mode, Prefix, Subject
from serve.domain.sweeps.sweep import PAIRS_MAX, FacePair, Sweep, SweepRequest, TileResult
from serve.domain.tenancy.api_key import Principal, Scope
from serve.flows.sweeps.ask import create_sweep
from serve.flows.sweeps.blocks import Blocks
from serve.flows.sweeps.plan import plan_sweep
from serve.flows.sweeps.tiles import Pace, Work, work_on
from serve.flows.sweeps.work import Options, Sweeper
from serve.flows.transact import new_operation
from serve.inference.absent import AbsentFaces
from serve.settings import Settings
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.keyring import Keyring
from tests.helpers.records import MODEL, TENANT, an_id
from tests.serve.search.people import People, people_of
from tests.serve.sweep_store.records import Worker

DIMENSION = 32
WAIT_S = 60.0
SCALE = ScoreScale(MODEL, search_floor=0.5, verify_threshold=0.6, dimension=DIMENSION)
OPTIONS = Options(threads=2, memory_bytes=2**24, block_size=16)
MODEST = {"threshold": 0.36}  # the similarity of the pack's own threshold

SEED = 20261122
CHANCE = np.random.Generator(np.random.PCG64(SEED))

Edges = dict[tuple[str, str], float]


@dataclass(slots=True)
class Scene:
    """Everybody of a store, and a worker on its sweeps."""

    deps: Deps
    people: People
    live: Principal
    options: Options = OPTIONS
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    async def enrol(
        self, name: str, vector: NDArray[np.float32] | None = None, **changes: Any
    ) -> NDArray[np.float32]:
        """A new customer with this face, a stranger's if none is given."""
        chosen = stranger() if vector is None else vector
        person = await self.people.enrol(name, Template(MODEL, chosen), **changes)
        self.vectors[person.face_id] = chosen
        return chosen

    async def crowd(self, number: int, prefix: str = "one") -> None:
        """So many strangers."""
        for each in range(number):
            await self.enrol(f"{prefix} {each}")

    async def again(self, name: str, vector: NDArray[np.float32]) -> None:
        """One more face of a customer's."""
        person = self.people.enrolled[name]
        face_id = an_id(Prefix.FACE, person.partition, len(self.vectors) + 1)
        snapshot = await self.people.ledger.snapshot(person.subject)
        assert snapshot.customer is not None
        reference = snapshot.customer.references[0].model_copy(update={"face_id": face_id})
        both = {"references": (*snapshot.customer.references, reference)}
        change = Change(
            snapshot.customer.model_copy(update=both),
            faces=(EnrolledFace(face_id, Template(MODEL, vector)),),
        )
        await self.people.ledger.commit(snapshot, change, f"again {face_id}")

    async def changed(self, name: str, **fields: Any) -> None:
        """The customer's record, with these fields."""
        snapshot = await self.deps.ledger.snapshot(self.subject(name))
        assert snapshot.customer is not None
        change = Change(snapshot.customer.model_copy(update=fields))
        await self.deps.ledger.commit(snapshot, change, f"{name} {sorted(fields)}")

    @property
    def world(self) -> tuple[str, Mode]:
        return self.live.tenant_id, self.live.mode

    async def now_ms(self) -> int:
        """A moment between what was and what will be written."""
        await asyncio.sleep(0.002)
        found = await self.deps.directory.now_ms()
        await asyncio.sleep(0.002)
        return found

    def of_model(self, model_id: str) -> "Scene":
        """The same store in an install with another model."""
        scale = replace(SCALE, model_id=model_id)
        return replace(self, deps=replace(self.deps, scale=scale, model_id=model_id))

    async def planned(self, sweep: Sweep) -> Sweep:
        """The sweep, running, without any tile done."""
        hold = await self.deps.sweeps.hold(sweep.id)
        assert hold is not None
        assert await plan_sweep(self.deps, hold, sweep, self.options.block_size) is None
        await self.expired(sweep)
        found = await self.deps.sweeps.one(*self.world, sweep.id)
        assert found is not None
        return found

    async def tiles_done(self, sweep: Sweep, number: int | None = None) -> None:
        """So many tiles done, or all, and the end left to somebody else."""
        kernel = open_kernel("cpu")
        work = Work(kernel, Pace(1.0), PAIRS_MAX)
        plan = await self.deps.sweeps.planned(sweep.id)
        assert plan is not None
        with ThreadPoolExecutor(1) as threads:
            blocks = Blocks(self.deps, kernel, 2**24, threads)
            for lease in await self.deps.sweeps.claim_tiles(sweep.id, number or 1_000):
                first = await blocks.get(sweep, plan, lease.tile.row)
                second = await blocks.get(sweep, plan, lease.tile.column)
                result = work_on(work, sweep, lease.tile, first, second)
                assert isinstance(result, TileResult)
                assert await self.deps.sweeps.finish_tile(lease, result) is not None

    async def expired(self, sweep: Sweep) -> None:
        """Every lease and hold of the sweep has run out."""
        await Worker(RedisSweeps(self.people.ledger.link, self.people.ledger.keyring)).expire(sweep)

    def subject(self, name: str) -> Subject:
        return self.people.enrolled[name].subject

    def face(self, name: str) -> str:
        return self.people.enrolled[name].face_id

    async def asked(self, **request: Any) -> Sweep:
        """A sweep that nobody works on yet."""
        fields: dict[str, Any] = request or MODEST
        asked = SweepRequest(**fields)
        return await create_sweep(self.deps, self.live, asked, new_operation(self.deps))

    async def swept(self, **request: Any) -> Sweep:
        """A sweep that is over."""
        return await self.carried_out(await self.asked(**request))

    async def carried_out(self, sweep: Sweep, **options: Any) -> Sweep:
        """The sweep, worked on until it is over."""
        return await self.sweeper(**options).carry_out(sweep)

    def sweeper(self, kernel: Kernel | None = None, **options: Any) -> Sweeper:
        """Another worker."""
        return Sweeper(self.deps, kernel or open_kernel("cpu"), replace(self.options, **options))

    async def watched(
        self, sweeps: Sequence[Sweep], enough: Callable[..., bool]
    ) -> tuple[Sweep, ...]:
        """The sweeps as they stand, once that is enough."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = [await self.deps.sweeps.one(*self.world, each.id) for each in sweeps]
                there = tuple(each for each in found if each is not None)
                if enough(*there):
                    return there
                await asyncio.sleep(0.005)

    async def found(self, sweep: Sweep) -> Edges:
        """The pairs of a done sweep, as they are kept."""
        pairs, _ = await self.deps.sweeps.edges(sweep.id)
        return edges_of(pairs)

    def truth(self, threshold: float, names: Iterable[str] | None = None) -> Edges:
        """Every pair of two people at a native threshold or above, by float64 and brute force."""
        chosen = self.people.enrolled if names is None else {
            name: self.people.enrolled[name] for name in names
        }  # fmt: skip
        faces = [person.face_id for person in chosen.values()]
        return pairs_of({face: self.vectors[face] for face in faces}, threshold)


def a_scene(link: Redis, keyring: Keyring, tenant: str = TENANT) -> Scene:
    """A world without anybody; the strangers that come into it are the same in every run."""
    CHANCE.bit_generator.state = np.random.PCG64(SEED).state
    deps = build_deps(link, keyring, Settings(), Models(AbsentFaces(), SCALE, MODEL))
    return Scene(deps, people_of(link, keyring), principal(tenant))


def principal(tenant: str = TENANT, mode: Mode = Mode.LIVE) -> Principal:
    """Whoever may do everything in a world."""
    return Principal(tenant, mode, frozenset(Scope), Actor(ActorKind.KEY, "key"))


def stranger() -> NDArray[np.float32]:
    """A face like nobody's in particular."""
    return unit(CHANCE.normal(size=DIMENSION))


def like(vector: NDArray[np.float32], score: float) -> NDArray[np.float32]:
    """Another face that scores so much with that one, nearly."""
    wide = vector.astype(np.float64)
    other = stranger().astype(np.float64)
    other -= (other @ wide) * wide
    other /= np.linalg.norm(other)
    return unit(score * wide + np.sqrt(1 - score**2) * other)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float32]:
    """Of norm 1."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def pairs_of(vectors: Mapping[str, NDArray[np.float32]], threshold: float) -> Edges:
    """Every pair of faces at the threshold or above, each with a customer of its own."""
    faces = sorted(vectors)
    every = np.stack([vectors[face] for face in faces]).astype(np.float64)
    scores = every @ every.T
    rows, columns = np.nonzero(np.triu(scores >= threshold, 1))
    return {
        (faces[row], faces[column]): float(scores[row, column])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    }


def edges_of(pairs: Sequence[FacePair]) -> Edges:
    """Pairs by their faces, in order."""
    found: Edges = {}
    for pair in pairs:
        one, other = sorted((pair.face_a, pair.face_b))
        assert (one, other) not in found, "no pair is told twice"
        found[one, other] = pair.score
    return found
