"""The index over a real log: how long a replay takes, and how soon a face can be found.

An embedded Redis that syncs every write, the ledger's own commits, and a holder of all partitions
in the same process, as the `local` engine has it.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from index.entry import Vectors
from pipeline.evidence import Template
from serve.app import open_deps
from serve.bench.search.gallery import FLOOR, LIMIT, Latency
from serve.bench.search.templates import People
from serve.deps import Deps
from serve.domain.change import Change, EnrolledFace
from serve.domain.customer import Customer, Reference
from serve.domain.ids import PARTITIONS, Mode, Prefix
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.flows.transact import new_id, new_operation
from serve.inference.search.holder import Holder, Limits
from serve.ports.search import Asked
from serve.settings import Settings, replaced

DIMENSION = 128
MODEL = "bench.1"
TENANT = "ten_bench"
ENROLLED_AT_ONCE = 64
BESIDE_PER_S = 50  # enrolments while visibility is measured
BESIDE_MAX = 20_000
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Living:
    """What a log of `entries` faces took to replay, and how long a face was on its way.

    `visible` counts from the commit's return, when the face is acknowledged and durable, to the
    answer of a search that finds it; `committed` is the commit itself. `beside` is the same while
    others enrol, `beside_per_s` of them a second in truth.
    """

    entries: int
    replay_s: float
    visible: Latency
    beside: Latency
    committed: Latency
    beside_per_s: float

    @property
    def replay_s_per_million(self) -> float:
        """Scaled up, not measured."""
        return self.replay_s / self.entries * MILLION

    def encode(self) -> dict[str, Any]:
        """For a JSON report."""
        return {
            "entries": self.entries,
            "replay_s": round(self.replay_s, 3),
            "replay_s_per_million_scaled": round(self.replay_s_per_million, 1),
            "visible_ms": _encoded(self.visible),
            "visible_beside_enrolments_ms": _encoded(self.beside),
            "enrolments_beside_per_s": round(self.beside_per_s, 1),
            "commit_ms": _encoded(self.committed),
        }


def _encoded(latency: Latency) -> dict[str, float]:
    return {"p50": latency.p50_ms, "p99": latency.p99_ms, "faces": latency.searches}


@dataclass(slots=True)
class _Crowd:
    """People who are enrolled one by one, each with a face of their own."""

    deps: Deps
    templates: Vectors
    enrolled: int = 0

    async def enrol(self) -> tuple[str, Template]:
        """The next one: their face and its template."""
        number, self.enrolled = self.enrolled, self.enrolled + 1
        template = Template(MODEL, self.templates[number % len(self.templates)])
        deps = self.deps
        subject = deps.ledger.subject(TENANT, Mode.LIVE, f"bench {number}")
        snapshot = await deps.ledger.snapshot(subject)
        face_id = new_id(deps, Prefix.FACE, subject)
        reference = Reference(
            face_id=face_id, model_id=MODEL, enrolled_at_ms=snapshot.now_ms, has_chip=False
        )
        customer = Customer(
            customer_id=f"bench {number}", created_at_ms=snapshot.now_ms, references=(reference,)
        )
        change = Change(customer=customer, faces=(EnrolledFace(face_id, template),))
        await deps.ledger.commit(snapshot, change, new_operation(deps).id)
        return face_id, template


async def measure_living(
    settings: Settings, entries: int, faces: int, seed: int, say: Callable[[str], None]
) -> Living:
    """Enrol `entries` faces, replay their log, then watch `faces` more on their way, twice."""
    people = People(DIMENSION, seed)
    templates = people.templates(entries + 2 * faces + BESIDE_MAX)
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as folder:
        own = replaced(settings, {"state.data_dir": Path(folder), "state.redis_url": ""})
        async with open_deps(own, with_models=False) as deps:
            crowd = _Crowd(deps, templates)
            say(f"enrol {entries:,} faces, each synced to disk")
            await _fill(crowd, entries)
            say("replay their log")
            limits = Limits(own.index.wait_s, own.index.queue_max, own.index.threads)
            began_s = perf_counter()
            async with Holder(deps.face_log, "bench", range(PARTITIONS), limits) as holder:
                await holder.until_ready()
                replay_s = perf_counter() - began_s
                assert holder.status().live == entries
                say(f"enrol {faces:,} more, one by one, and find each")
                committed, visible = await _watch(crowd, holder, faces)
                async with _others(crowd) as told:
                    _, beside = await _watch(crowd, holder, faces)
                    per_s = told()
    return Living(entries, replay_s, visible, beside, committed, per_s)


async def _fill(crowd: _Crowd, entries: int) -> None:
    async def one_by_one() -> None:
        while crowd.enrolled < entries:
            await crowd.enrol()

    async with asyncio.TaskGroup() as together:
        for _ in range(min(ENROLLED_AT_ONCE, entries)):
            together.create_task(one_by_one())


async def _watch(crowd: _Crowd, holder: Holder, faces: int) -> tuple[Latency, Latency]:
    """Of the commits, and from their return to the answer that has the face."""
    committed_s, visible_s = [], []
    for _ in range(faces):
        began_s = perf_counter()
        face_id, template = await crowd.enrol()
        acknowledged_s = perf_counter()
        found = await holder.search(
            Asked(
                tenant_id=TENANT, mode=Mode.LIVE, kind=GalleryKind.ENROLLED, template=template,
                floor=FLOOR, limit=LIMIT, after=await crowd.deps.face_log.tails(),
            )
        )  # fmt: skip
        visible_s.append(perf_counter() - acknowledged_s)
        committed_s.append(acknowledged_s - began_s)
        if found.missing or face_id not in {hit.face_id for hit in found.hits}:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "an acknowledged face was not found")
    return Latency.of(committed_s), Latency.of(visible_s)


@asynccontextmanager
async def _others(crowd: _Crowd) -> AsyncIterator[Callable[[], float]]:
    """Enrol others at a steady pace; what it yields tells how many a second they were so far."""
    began_s, done = perf_counter(), 0

    async def enrol_on() -> None:
        nonlocal done
        for number in range(BESIDE_MAX):
            await asyncio.sleep(began_s + number / BESIDE_PER_S - perf_counter())
            await crowd.enrol()
            done += 1

    enrolling = asyncio.create_task(enrol_on())
    try:
        yield lambda: done / (perf_counter() - began_s)
    finally:
        enrolling.cancel()
        with suppress(asyncio.CancelledError):
            await enrolling
