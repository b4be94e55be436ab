"""The log of faces, read: who came, who went, in order, whatever happens between two reads."""

import asyncio
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from index.entry import START, Enrolled, Entry, Erased, LogId
from serve.domain.ids import PARTITIONS
from serve.domain.search.gallery import GalleryKind
from serve.errors import ServeError
from serve.observe.registry import REGISTRY
from serve.settings import State
from serve.store import names
from serve.store.link import open_link, patience_ms
from serve.store.search.face_log import RedisFaceLog
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import EPOCH_NUMBER_BYTES, Keyring
from tests.serve.search.people import People, people_of

BEGINNING = dict.fromkeys(range(PARTITIONS), START)
CROWD = 40
WAIT_S = 20.0
REFUSED = "limen_index_refused_entries_total"


@pytest.fixture
def people(link: Redis, keyring: Keyring) -> People:
    return people_of(link, keyring)


async def everything(log: RedisFaceLog, limit: int = 1_000) -> list[Entry]:
    """All that the log tells from its beginning, by read after read."""
    after: dict[int, LogId] = dict(BEGINNING)
    entries: list[Entry] = []
    while found := await log.read(after, limit=limit):
        for partition, (place, told) in found.items():
            assert all(after[partition] < entry.log_id <= place for entry in told)
            after[partition] = place
            entries += told
    assert after == await log.tails()
    return entries


def faces(entries: list[Entry]) -> set[str]:
    return {entry.face for entry in entries if isinstance(entry, Enrolled)}


async def test_what_was_enrolled_is_told_whole(people: People) -> None:
    """A face comes with its customer, its gallery and the very vector; the tail is its place."""
    person = await people.enrol("alice", kind=GalleryKind.BLOCKED)
    (entry,) = await everything(people.log)
    assert isinstance(entry, Enrolled)
    assert (entry.face, entry.owner) == (person.face_id, names.locator(person.subject))
    assert (entry.gallery.world, entry.gallery.kind) == (f"{person.subject.tenant_id}:live",
                                                         "blocked")  # fmt: skip
    assert entry.gallery.model_id == person.template.model_id
    assert np.array_equal(entry.vector, person.template.vector)
    tails = await people.log.tails()
    assert tails == BEGINNING | {person.partition: entry.log_id}


async def test_small_reads_tell_what_a_large_one_tells(people: People) -> None:
    """Whatever the limit, each face is told once, in a thread or not."""
    for number in range(CROWD):
        await people.enrol(f"customer {number}")
    everybody = {person.face_id for person in people.enrolled.values()}
    for limit in (1, 3, 1_000):
        found = await everything(people.log, limit)
        assert len(found) == CROWD
        assert faces(found) == everybody
    part = {person.partition for person in people.enrolled.values() if person.partition < 32}
    found_there = await people.log.read(dict.fromkeys(range(32), START), limit=1_000)
    assert found_there.keys() == part


async def test_an_erased_customer_is_told_to_be_gone(people: People) -> None:
    """Of someone erased the log holds the erasure alone; their return is told behind it."""
    await people.enrol("alice")
    gone = await people.erase("alice")
    (entry,) = await everything(people.log)
    assert entry == Erased(entry.log_id, names.locator(gone.subject))
    back = await people.enrol("alice")
    assert [type(each) for each in await everything(people.log)] == [Erased, Enrolled]
    assert back.subject == gone.subject
    assert back.face_id != gone.face_id


async def test_a_customer_who_goes_between_two_looks_is_left_out(
    people: People, keyring: Keyring
) -> None:
    """A face that was read before its customer went, and came back under another key, is left out
    and not counted as refused: the erasure follows.
    """
    person = await people.enrol("alice")
    late = _Late(people)
    before = REGISTRY.get_sample_value(REFUSED) or 0.0
    told = await _log_that(late, people, keyring).read(BEGINNING, limit=10)
    assert late.came
    assert told[person.partition][1] == []
    assert REGISTRY.get_sample_value(REFUSED) == before
    assert [type(each) for each in await everything(people.log)] == [Erased, Enrolled]


async def test_an_entry_that_does_not_open_is_passed_by(people: People, link: Redis) -> None:
    """One damaged entry is counted as refused, and does not stop the log."""
    await people.enrol("alice")
    await people.enrol("bob")
    alice = people.enrolled["alice"]
    stream = names.faces(alice.partition)
    rows: Any = await link.xrange(stream)
    fields = next(row for _, row in rows if row[b"f"].decode() == alice.face_id)
    await link.xadd(stream, {**fields, b"d": fields[b"d"][:-1] + b"\x00\x00"})
    await link.xadd(stream, {b"k": b"something new", b"u": fields[b"u"]})
    last = await link.xadd(stream, {b"k": b"enrol", b"u": fields[b"u"]})
    await link.set(names.faces_tail(alice.partition), last)
    before = REGISTRY.get_sample_value(REFUSED) or 0.0
    assert faces(await everything(people.log)) == {
        person.face_id for person in people.enrolled.values()
    }
    assert REGISTRY.get_sample_value(REFUSED) == before + 3


async def test_epochs_change_under_a_reader(people: People, link: Redis, keyring: Keyring) -> None:
    """Faces enrolled under an epoch that is replaced, and whose keys are wrapped anew, still open;
    where the key of an epoch is missing nothing is told, and nobody is passed by.
    """
    await people.enrol("alice")
    epochs = RedisEpochs(link, keyring, backup_retention_days=1)
    await epochs.renew(at_once=True)
    await people.enrol("bob")
    assert len(await everything(people.log)) == 2
    customer = names.customer(people.enrolled["bob"].subject)
    wrapped: Any = await link.hget(customer, "k")
    await link.hset(customer, "k", (99).to_bytes(EPOCH_NUMBER_BYTES, "big") + wrapped[4:])
    with pytest.raises(ServeError, match="no key of epoch 99"):
        await everything(people.log)


async def test_a_read_that_waits_is_woken_by_a_commit(people: People, link: Redis) -> None:
    """It returns with the face that came, long before its time is up, and others' commands pass
    meanwhile; where nothing comes it returns empty.
    """
    assert await people.log.read(BEGINNING, limit=10, wait_ms=1) == {}
    reading = asyncio.create_task(people.log.read(BEGINNING, limit=10, wait_ms=2_000))
    for _ in range(10):  # more than trips that commands share
        await link.ping()
    assert not reading.done()
    person = await people.enrol("alice")
    async with asyncio.timeout(WAIT_S):
        found = await reading
    assert [entry.face for entry in found[person.partition][1] if isinstance(entry, Enrolled)] == [
        person.face_id
    ]


async def test_no_read_waits_longer_than_its_connection(redis_state: State, people: People) -> None:
    """However long a caller would wait, an answer comes before the connection is given up."""
    impatient = open_link(redis_state.model_copy(update={"timeout_s": 2.0}))
    try:
        assert patience_ms(impatient) == 1_000
        log = RedisFaceLog(impatient, people.log.keyring)
        found = await log.read(BEGINNING, limit=1, wait_ms=60_000)
        assert found == {}
    finally:
        await impatient.aclose()


class _Late:
    """Erases and enrols anew between the reading of the log and that of the data keys."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.came = False

    async def happen(self) -> None:
        if not self.came:
            self.came = True
            await self.people.erase("alice")
            await self.people.enrol("alice")


def _log_that(late: _Late, people: People, keyring: Keyring) -> RedisFaceLog:
    class Interrupted(RedisFaceLog):
        """Something happens in the middle of its first read."""

        async def _streams(self, *asked: Any) -> Any:
            rows = await RedisFaceLog._streams(self, *asked)  # noqa: SLF001 (its own parent)
            await late.happen()
            return rows

    return Interrupted(people.log.link, keyring)
