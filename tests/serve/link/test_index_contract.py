"""What every index promises, whether it is held here or cut into shards behind the link."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pipeline.evidence import Template
from serve.domain.ids import Mode
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.inference.link.index import LinkedIndex
from serve.inference.link.reach import Reach
from serve.inference.link.server import Work, serve_link
from serve.inference.search.director import directed
from serve.inference.search.fanout import Shard, Standing
from serve.inference.search.holder import Holder, Limits
from serve.inference.search.local import LocalIndex
from serve.ports.search import Asked, FaceIndex, FaceLog, Found
from serve.store.search.board import RedisShardBoard
from serve.store.vault.keyring import Keyring
from tests.helpers.search.read_index import ReadIndex
from tests.serve.link.ends import PATIENCE_S
from tests.serve.link.stage import MODEL, QUEUE_MAX, Scripted
from tests.serve.search.people import People, people_of

LIMITS = Limits(wait_s=4.0, queue_max=1_024, threads=1)
SHARDS = 3
EVERYBODY = {"floor": -1.0, "limit": 1_000}


class HeldShard:
    """A shard that is held in this process."""

    def __init__(self, name: str, holder: Holder) -> None:
        self.name = name
        self._holder = holder

    async def search(self, asked: Asked, partitions: Collection[int]) -> Found:
        return await self._holder.search(asked, partitions)

    async def hold(self, partition: int) -> None:
        await self._holder.hold(partition)

    async def release(self, partition: int) -> None:
        self._holder.release(partition)

    async def standing(self) -> Standing:
        return Standing(self._holder.status(), self._holder.partitions)


class HeldShards:
    """Where they come from; they end with `held`."""

    def __init__(self, log: FaceLog, held: AsyncExitStack) -> None:
        self._log = log
        self._held = held

    async def start(self, name: str, partitions: Collection[int]) -> HeldShard:
        holder = Holder(self._log, name, partitions, LIMITS)
        return HeldShard(name, await self._held.enter_async_context(holder))

    async def stop(self, shard: Shard) -> None:
        raise NotImplementedError


@asynccontextmanager
async def local(people: People, board: RedisShardBoard, _: Path) -> AsyncIterator[FaceIndex]:
    """The whole index in this process."""
    async with LocalIndex(people.log, board, LIMITS) as index:
        await index.until_ready()
        yield index


@asynccontextmanager
async def linked(people: People, board: RedisShardBoard, path: Path) -> AsyncIterator[FaceIndex]:
    """A door's end of the link, the engine's end, its director, and shards."""
    async with AsyncExitStack() as held:
        shards = HeldShards(people.log, held)
        wish = board.shards_wish
        director = await held.enter_async_context(directed(shards, SHARDS, LIMITS.wait_s, wish))
        await director.until_ready()
        work = Work(Scripted(), MODEL, QUEUE_MAX, director)
        await held.enter_async_context(serve_link(path / "faces.sock", work))
        reach = await held.enter_async_context(Reach(path / "faces.sock", PATIENCE_S))
        await reach.until_connected()
        yield LinkedIndex(reach, board, LIMITS.wait_s)


@pytest.fixture
def people(link: Redis, keyring: Keyring) -> People:
    return people_of(link, keyring)


@pytest_asyncio.fixture(params=[local, linked])
async def index(
    request: pytest.FixtureRequest, people: People, link: Redis, tmp_path: Path
) -> AsyncIterator[FaceIndex]:
    """One of them, over an empty store."""
    async with request.param(people, RedisShardBoard(link), tmp_path) as opened:
        yield opened


async def agrees(index: FaceIndex, people: People, asked: Asked) -> Found:
    """What it finds, which is what comparing with every face of the log finds."""
    found, expected = await index.search(asked), await ReadIndex(people.log).search(asked)
    assert found.is_complete
    assert found.lost == ()
    assert found.gallery_size == expected.gallery_size
    assert [(hit.subject, hit.face_id) for hit in found.hits] == [
        (hit.subject, hit.face_id) for hit in expected.hits
    ]
    assert [hit.native for hit in found.hits] == pytest.approx(
        [hit.native for hit in expected.hits], abs=1e-12
    )
    return found


async def test_everybody_is_found_as_the_log_has_them(index: FaceIndex, people: People) -> None:
    """Best first, with exact scores, down to the floor and up to the limit, but for whoever is
    excluded; and nobody once they are erased.
    """
    crowd = [await people.enrol(f"customer {number}") for number in range(60)]
    await agrees(index, people, await people.asked(crowd[0], **EVERYBODY))
    await agrees(index, people, await people.asked(crowd[1], floor=0.05, limit=7))
    excluded = await people.asked(crowd[2], **EVERYBODY, exclude=crowd[2].subject.key)
    found = await agrees(index, people, excluded)
    assert crowd[2].subject not in {hit.subject for hit in found.hits}
    await people.erase("customer 3")
    found = await agrees(index, people, await people.asked(crowd[3], **EVERYBODY))
    assert found.gallery_size == 59


async def test_a_face_under_many_names_is_found_under_each(
    index: FaceIndex, people: People
) -> None:
    """Equal scores stand in the order of their customers, wherever these are held."""
    first = await people.enrol("customer 0")
    twins = [await people.enrol(f"customer {number}", first.template) for number in range(1, 20)]
    found = await agrees(index, people, await people.asked(first, limit=20))
    keys = [hit.subject.key for hit in found.hits]
    assert keys == sorted(each.subject.key for each in (first, *twins))


async def test_worlds_and_lists_are_apart(index: FaceIndex, people: People) -> None:
    """Whoever is searched for in one is nobody in the others."""
    person = await people.enrol("alice")
    await people.enrol("alice", person.template, tenant="ten_b")
    await people.enrol("alice", person.template, mode=Mode.TEST)
    await people.enrol("blocked", person.template, kind=GalleryKind.BLOCKED)
    found = await agrees(index, people, await people.asked(person, **EVERYBODY))
    assert [hit.subject for hit in found.hits] == [person.subject]


async def test_of_two_who_enrol_at_once_one_sees_the_other(
    index: FaceIndex, people: People
) -> None:
    """Each searches behind their own commit: at least one of every pair finds both."""

    async def enrol_and_look(name: str, template: Template) -> int:
        person = await people.enrol(name, template)
        found = await index.search(await people.asked(person))
        assert found.is_complete
        assert person.subject in {hit.subject for hit in found.hits}
        return len(found.hits)

    for pair in range(10):
        template = (await people.enrol(f"model {pair}")).template
        seen = await asyncio.gather(*(enrol_and_look(f"{pair} {each}", template) for each in "ab"))
        assert max(seen) == 3


async def test_a_log_that_does_not_come_is_missing(index: FaceIndex, people: People) -> None:
    """A search behind what was never written names the one partition, and finds the rest."""
    person = await people.enrol("alice")
    asked = await people.asked(person)
    other = (person.partition + 1) % 64
    never = asked.after[person.partition]._replace(ms=2**60)
    found = await index.search(replace(asked, after={**asked.after, other: never}))
    assert found.missing == (other,)
    assert len(found.lost) == 1
    assert [hit.subject for hit in found.hits] == [person.subject]


@pytest.mark.parametrize("vector", [np.zeros(128), np.full(128, np.nan), np.ones(3)])
async def test_a_probe_that_is_no_template_is_refused(
    index: FaceIndex, people: People, vector: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    """With its code, and the next search is answered."""
    person = await people.enrol("alice")
    asked = await people.asked(person)
    template = Template(asked.template.model_id, vector.astype(np.float32))
    with pytest.raises(ServeError) as refused:
        await index.search(replace(asked, template=template))
    assert refused.value.code is Code.EMBEDDING_INVALID
    assert (await index.search(asked)).is_complete
