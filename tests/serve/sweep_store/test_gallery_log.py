"""The log of faces, one gallery at a time: in order, without the gone, and nothing of others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from index.entry import START, Gallery, LogId
from serve.domain.ids import PARTITIONS, Mode
from serve.domain.search.gallery import GalleryKind
from serve.domain.sweeps.sweep import Segment
from serve.observe.registry import REGISTRY
from serve.ports import LoggedFace
from serve.store import names
from serve.store.search import opening
from serve.store.sweeps import gallery_log
from serve.store.sweeps.gallery_log import RedisGalleryLog
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import unseal
from tests.helpers.records import MODEL, TENANT
from tests.serve.search.people import People, Person, people_of

GALLERY = Gallery(f"{TENANT}:live", GalleryKind.ENROLLED, MODEL)
END = "9" * 15
CROWD = 60
REFUSED = "limen_index_refused_entries_total"


@pytest.fixture
def people(link: Redis, keyring: Keyring) -> People:
    return people_of(link, keyring)


@pytest.fixture
def log(link: Redis, keyring: Keyring) -> RedisGalleryLog:
    return RedisGalleryLog(link, keyring)


def whole(partition: int) -> Segment:
    return Segment(partition=partition, after=str(START), upto=f"{END}-0")


async def places_of(log: RedisGalleryLog, segment: Segment) -> list[LoggedFace]:
    return [face async for batch in log.places(GALLERY, segment) for face in batch]


async def everybody(log: RedisGalleryLog) -> list[LoggedFace]:
    return [face for partition in range(PARTITIONS)
            for face in (await log.faces(GALLERY, whole(partition))).faces]  # fmt: skip


def ids(faces: Sequence[LoggedFace]) -> list[str]:
    return [face.face_id for face in faces]


async def crowd(people: People, size: int = CROWD) -> list[Person]:
    return [await people.enrol(f"customer {number}") for number in range(size)]


async def test_faces_come_in_the_order_of_the_log_with_their_own_vectors(
    people: People, log: RedisGalleryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever one call looks at, each face is told once, where it stands, with its very vector;
    places say the same without a vector.
    """
    enrolled = {person.face_id: person for person in await crowd(people)}
    told: list[LoggedFace] = []
    for together in (1, 2, 1_024):
        monkeypatch.setattr(gallery_log, "READ_TOGETHER", together)
        told = []
        for partition in range(PARTITIONS):
            found = await log.faces(GALLERY, whole(partition))
            assert list(found.faces) == await places_of(log, whole(partition))
            assert [face.log_id for face in found.faces] == sorted(f.log_id for f in found.faces)
            assert len(found.faces) == len(found.vectors)
            for face, vector in zip(found.faces, found.vectors, strict=True):
                person = enrolled[face.face_id]
                assert (face.partition, face.subject_key) == (partition, person.subject.key)
                assert np.array_equal(vector, person.template.vector)
            told += found.faces
        assert set(ids(told)) == set(enrolled)
        assert len(told) == CROWD


async def test_segments_cut_anywhere_make_up_the_whole(
    people: People, log: RedisGalleryLog
) -> None:
    """Cut behind any entry, or between two, the parts of a log are the log, and share nothing."""
    subject = people.ledger.subject(TENANT, Mode.LIVE, "customer 0")
    partition, number = subject.partition, 0
    while sum(person.partition == partition for person in people.enrolled.values()) < 4:
        if people.ledger.subject(TENANT, Mode.LIVE, f"customer {number}").partition == partition:
            await people.enrol(f"customer {number}")
        number += 1
    faces = await places_of(log, whole(partition))
    assert len(faces) == 4
    for face in faces:
        for cut in (face.log_id, LogId(face.log_id.ms - 1, 5), LogId(face.log_id.ms, 9)):
            first = Segment(partition=partition, after=str(START), upto=str(cut))
            second = Segment(partition=partition, after=str(cut), upto=f"{END}-0")
            parts = [await log.faces(GALLERY, each) for each in (first, second)]
            assert [*parts[0].faces, *parts[1].faces] == faces
            assert all(each.log_id <= cut for each in parts[0].faces)
    empty = Segment(partition=partition, after=f"{END}-0", upto=f"{END}-0")
    assert (await log.faces(GALLERY, empty)).faces == ()
    assert await places_of(log, empty) == []


async def test_the_erased_are_not_told_of(people: People, log: RedisGalleryLog) -> None:
    """Who was erased is left out, of faces and of places; who came back is told of once."""
    await crowd(people, 6)
    gone = [await people.erase(f"customer {number}") for number in (1, 4)]
    back = await people.enrol("customer 4")
    told = await everybody(log)
    assert not {person.face_id for person in gone} & set(ids(told))
    assert sorted(ids(told)) == sorted(each.face_id for each in people.enrolled.values())
    assert back.face_id in ids(told)
    assert await places_of(log, whole(gone[0].partition)) == [
        face for face in told if face.partition == gone[0].partition
    ]


async def test_nothing_of_other_galleries_is_opened(
    people: People, log: RedisGalleryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of faces of another tenant, another mode, the blocklist and another model none is decrypted;
    the gallery's own are, once each, and only where their vectors are wanted.
    """
    mine = await crowd(people, 3)
    await people.enrol("another's", tenant="ten_b")
    await people.enrol("of a tenant whose name begins alike", tenant=f"{TENANT}a")
    await people.enrol("a trial", mode=Mode.TEST)
    blocked = await people.enrol("blocked", kind=GalleryKind.BLOCKED)
    opened: list[str] = []

    def counted(key: bytes, sealed: bytes, label: str) -> bytes:
        opened.append(label)
        return unseal(key, sealed, label)

    monkeypatch.setattr(opening, "unseal", counted)
    for partition in range(PARTITIONS):
        await places_of(log, whole(partition))
    assert opened == []
    assert set(ids(await everybody(log))) == {person.face_id for person in mine}
    assert sorted(opened) == sorted(f"template|{person.face_id}" for person in mine)
    other = Gallery(GALLERY.world, GalleryKind.ENROLLED, "another model")
    found = [await log.faces(other, whole(partition)) for partition in range(PARTITIONS)]
    assert sum(len(each.faces) for each in found) == 0
    assert len(opened) == len(mine)
    listed = Gallery(GALLERY.world, GalleryKind.BLOCKED, MODEL)
    assert ids((await log.faces(listed, whole(blocked.partition))).faces) == [blocked.face_id]


async def test_a_face_from_before_there_were_lists_is_enrolled(
    people: People, log: RedisGalleryLog, link: Redis
) -> None:
    """An entry that names no list is of the enrolled, and of no other list."""
    person = await people.enrol("alice")
    stream = names.faces(person.partition)
    ((place, fields),) = await rows_of(link, stream)
    del fields[b"l"]
    await link.xdel(stream, place)
    await link.xadd(stream, fields)
    assert ids(await everybody(log)) == [person.face_id]
    listed = Gallery(GALLERY.world, GalleryKind.BLOCKED, MODEL)
    assert (await log.faces(listed, whole(person.partition))).faces == ()


async def test_an_entry_that_does_not_open_is_left_out_and_counted(
    people: People, log: RedisGalleryLog, link: Redis
) -> None:
    """One damaged entry is refused, and the others are told of."""
    await crowd(people, 2)
    alice = people.enrolled["customer 0"]
    stream = names.faces(alice.partition)
    rows = await rows_of(link, stream)
    fields = next(fields for _, fields in rows if fields[b"f"].decode() == alice.face_id)
    await link.xadd(stream, {**fields, b"d": fields[b"d"][:-1] + b"\x00\x00"})
    before = REGISTRY.get_sample_value(REFUSED) or 0.0
    assert len(await everybody(log)) == 2
    assert (REGISTRY.get_sample_value(REFUSED) or 0.0) - before == 1


async def rows_of(link: Redis, stream: str) -> list[tuple[bytes, dict[Any, Any]]]:
    found: Any = await link.xrange(stream)
    return [(place, dict(fields)) for place, fields in found]
