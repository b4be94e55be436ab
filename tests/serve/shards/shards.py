"""Shards on a real Ray cluster over a real Redis, and a door to them."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from pipeline.evidence import Template
from serve.app import open_face_log
from serve.domain.change import Change, EnrolledFace
from serve.domain.ids import Mode, Prefix, Subject, make_id
from serve.domain.search.gallery import GalleryKind
from serve.inference.link.index import LinkedIndex
from serve.inference.link.reach import Reach
from serve.ports.search import Asked, FaceIndex, FaceLog, ShardBoard
from serve.settings import State
from serve.store.install import open_install
from serve.store.ledger import RedisLedger
from serve.store.link import open_link
from serve.store.local.embedded import own_embedded
from tests.helpers.records import a_customer
from tests.serve.cluster.cluster import ask, engine_process, first_answer
from tests.serve.link.ends import PATIENCE_S

MODEL, DIMENSION = "toy", 16
WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Shards:
    """An engine of shards, in a process of its own, over the Redis of `state`."""

    process: subprocess.Popen[str]
    socket: Path
    folder: Path
    state: State

    @property
    def token_file(self) -> Path:
        """The token of its cluster."""
        return self.folder / "token"

    async def scale(self, number: int) -> None:
        """Have so many shards."""
        await self._tell("scale", number)

    async def move(self, partition: int, target: str) -> None:
        """Have a shard hold a partition."""
        await self._tell("move", [partition, target])

    async def pids(self) -> Mapping[str, int]:
        """Of the shards that answer."""
        return await self._tell("statuses", None)

    async def _tell(self, wanted: str, value: object) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.process, {wanted: value})


@dataclass(frozen=True, slots=True)
class World:
    """What a test does to the records, and the index as a front door has it."""

    ledger: RedisLedger
    log: FaceLog
    board: ShardBoard
    index: FaceIndex
    tenant_id: str
    random: Generator

    def template(self) -> Template:
        """Somebody's face."""
        vector = self.random.normal(size=DIMENSION)
        return Template(MODEL, (vector / np.linalg.norm(vector)).astype(np.float32))

    async def enrolled(self, name: str, template: Template | None = None) -> Subject:
        """A customer with a face, committed."""
        subject = self.ledger.subject(self.tenant_id, Mode.LIVE, name)
        snapshot = await self.ledger.snapshot(subject)
        face_id = make_id(Prefix.FACE, subject.partition, self.random.bytes(16))
        face = EnrolledFace(face_id, template or self.template())
        change = Change(customer=a_customer(customer_id=name), faces=(face,))
        await self.ledger.commit(snapshot, change, f"enrol {name}")
        return subject

    async def asked(self, template: Template, floor: float = -1.0, limit: int = 10) -> Asked:
        """A search that sees all that was committed before."""
        after = await self.log.tails()
        kind = GalleryKind.ENROLLED
        return Asked(self.tenant_id, Mode.LIVE, kind, template, floor, limit, after)


@contextmanager
def running_shards(number: int) -> Iterator[Shards]:
    """So many shards over an empty Redis, until the block ends; nothing is left then."""
    with (
        tempfile.TemporaryDirectory(prefix="limen-toy-") as name,  # sockets want short paths
        asyncio.Runner() as runner,
    ):
        folder = Path(name)
        state = State(data_dir=folder / "var")
        owned = own_embedded(state.data_dir)
        runner.run(owned.__aenter__())
        words = (name, str(state.data_dir), str(number))
        try:
            engine = "tests.serve.shards.shard_engine"
            with engine_process(engine, words, folder / "token") as process:
                socket = Path(first_answer(process)["socket"])
                yield Shards(process, socket, folder, state)
        finally:
            runner.run(owned.__aexit__(None, None, None))


@asynccontextmanager
async def a_world(shards: Shards, tenant_id: str) -> AsyncIterator[World]:
    """One tenant of its own, and a door that is connected."""
    link = open_link(shards.state)
    keyring = await open_install(link, shards.state)
    async with (
        open_face_log(shards.state) as (log, board),
        Reach(shards.socket, PATIENCE_S) as reach,
    ):
        async with asyncio.timeout(PATIENCE_S):
            await reach.until_connected()
        index = LinkedIndex(reach, board, WAIT_S)
        random = np.random.default_rng(len(tenant_id))
        yield World(RedisLedger(link, keyring, 2**20, 7), log, board, index, tenant_id, random)
    await link.aclose()
