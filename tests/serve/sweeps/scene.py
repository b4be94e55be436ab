"""A world of enrolled faces, sweeps of it, and what float64 says that they should find."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from index.sweep.choose import open_kernel
from pipeline.evidence import Template
from pipeline.face.compare import ScoreScale
from serve.app import Models, build_deps
from serve.deps import Deps
from serve.domain.audit import Actor, ActorKind
from serve.domain.ids import Mode, Subject
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepRequest
from serve.domain.tenancy.api_key import Principal, Scope
from serve.flows.sweeps.ask import create_sweep
from serve.flows.sweeps.work import Options, Sweeper
from serve.flows.transact import new_operation
from serve.inference.absent import AbsentFaces
from serve.settings import Settings
from serve.store.vault.keyring import Keyring
from tests.helpers.records import MODEL, TENANT
from tests.serve.search.people import People, people_of

DIMENSION = 32
SCALE = ScoreScale(MODEL, search_floor=0.5, verify_threshold=0.6, dimension=DIMENSION)
OPTIONS = Options(threads=2, memory_bytes=2**24, block_size=16)
MODEST = {"threshold": 0.36}  # the similarity of the pack's own threshold

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
        return await self.sweeper(**options).carry_out(sweep.id)

    def sweeper(self, **options: Any) -> Sweeper:
        """Another worker."""
        return Sweeper(self.deps, open_kernel("cpu"), replace(self.options, **options))

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
    """A world without anybody."""
    deps = build_deps(link, keyring, Settings(), Models(AbsentFaces(), SCALE, MODEL))
    return Scene(deps, people_of(link, keyring), principal(tenant))


def principal(tenant: str = TENANT, mode: Mode = Mode.LIVE) -> Principal:
    """Whoever may do everything in a world."""
    return Principal(tenant, mode, frozenset(Scope), Actor(ActorKind.KEY, "key"))


def stranger(seed: int | None = None) -> NDArray[np.float32]:
    """A face like nobody's in particular."""
    return unit(np.random.default_rng(seed).normal(size=DIMENSION))


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
