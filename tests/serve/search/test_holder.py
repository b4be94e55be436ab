"""A holder of the index: it follows the log, and answers for exactly what it has followed."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from index.entry import Entry, LogId
from serve.domain.ids import PARTITIONS, Mode
from serve.domain.search.gallery import GalleryKind
from serve.errors import ServeError
from serve.inference.search.follower import Follower
from serve.inference.search.holder import Holder, Limits
from serve.ports.search import FaceLog, Found, Tails
from serve.settings import State
from serve.store import names
from serve.store.link import open_link
from serve.store.vault.keyring import Keyring
from tests.faults.store.servers import server
from tests.serve.search.people import People, a_face, asked_for, behind, people_of

EVERY = range(PARTITIONS)
PATIENT = Limits(wait_s=20.0, queue_max=1_024, threads=2)
HASTY = Limits(wait_s=0.05, queue_max=2, threads=1)
CROWD = 60


@dataclass
class StuckLog:
    """A log of which some partitions stand still, for whoever reads it."""

    log: FaceLog
    stuck: Collection[int]

    async def tails(self) -> dict[int, LogId]:
        return await self.log.tails()

    async def read(
        self, after: Tails, *, limit: int, wait_ms: int = 0
    ) -> dict[int, tuple[LogId, list[Entry]]]:
        moving = {each: place for each, place in after.items() if each not in self.stuck}
        return await self.log.read(moving, limit=limit, wait_ms=wait_ms)


@pytest.fixture
def people(link: Redis, keyring: Keyring) -> People:
    return people_of(link, keyring)


def found_faces(found: Found) -> list[str]:
    return [hit.face_id for hit in found.hits]


async def check_agrees(holder: Holder, people: People) -> None:
    """It holds what a new one replays from the log, at the same places."""
    async with Holder(people.log, "fresh", EVERY, PATIENT) as fresh:
        await fresh.until_ready()
        expected, found = fresh.status(), holder.status()
    assert found.applied == expected.applied
    assert found.digests == expected.digests
    assert found.live == expected.live == len(people.enrolled)


async def test_it_follows_who_comes_and_goes(people: People) -> None:
    """Enrolled before it began or after, found; erased, never again; back under the same name,
    found by the new face alone.
    """
    alice = await people.enrol("alice")
    async with Holder(people.log, "h", EVERY, PATIENT) as holder:
        await holder.until_ready()
        bob = await people.enrol("bob")
        for person in (alice, bob):
            found = await holder.search(await people.asked(person))
            assert found_faces(found) == [person.face_id]
            assert (found.gallery_size, found.missing, found.lost) == (2, (), ())
            assert found.hits[0].subject == person.subject
            assert found.hits[0].native == pytest.approx(1, abs=1e-6)
        gone = await people.erase("alice")
        found = await holder.search(await people.asked(gone))
        assert (found.hits, found.gallery_size) == ((), 1)
        again = await people.enrol("alice")
        assert (await holder.search(await people.asked(gone))).hits == ()
        assert found_faces(await holder.search(await people.asked(again))) == [again.face_id]
        await check_agrees(holder, people)


async def test_worlds_and_lists_are_apart(people: People) -> None:
    """A face is found in its own tenant, mode and list, and its owner can be left out."""
    face = a_face()
    here = await people.enrol("here", face)
    await people.enrol("other tenant", face, tenant="ten_b")
    await people.enrol("other mode", face, mode=Mode.TEST)
    blocked = await people.enrol("blocked", face, kind=GalleryKind.BLOCKED)
    async with Holder(people.log, "h", EVERY, PATIENT) as holder:
        assert found_faces(await holder.search(await people.asked(here))) == [here.face_id]
        on_list = await people.asked(here, kind=GalleryKind.BLOCKED)
        assert found_faces(await holder.search(on_list)) == [blocked.face_id]
        alone = await holder.search(await people.asked(here, exclude=here.subject.key))
        assert alone.hits == ()
        assert holder.status().galleries == len(people.enrolled)


async def test_of_two_that_enrol_one_face_at_once_one_sees_the_other(
    people: People, redis_state: State, keyring: Keyring
) -> None:
    """Two front doors enrol a face each, and look for it behind their own commit: at least one of
    them finds both, every time.
    """
    other_link = open_link(redis_state)
    doors = [people, people_of(other_link, keyring)]

    async def enrol(number: int, door: int, holder: Holder) -> int:
        person = await doors[door].enrol(f"{number} {door}", faces[number])
        found = await holder.search(await doors[door].asked(person))
        assert person.face_id in found_faces(found)
        assert found.is_complete
        return len(found.hits)

    faces = [a_face() for _ in range(CROWD)]
    try:
        async with (
            Holder(doors[0].log, "first", EVERY, PATIENT) as first,
            Holder(doors[1].log, "second", EVERY, PATIENT) as second,
        ):
            seen = await asyncio.gather(
                *(enrol(number, 0, first) for number in range(CROWD)),
                *(enrol(number, 1, second) for number in range(CROWD)),
            )
            for number in range(CROWD):
                assert 2 in {seen[number], seen[CROWD + number]}
    finally:
        await other_link.aclose()


async def test_who_cannot_follow_is_missing_and_named(people: People) -> None:
    """A partition whose log stands still is missing from the answer, with its faces and their
    number; who asks for no more than it has followed is answered in full.
    """
    face = a_face()
    alice = await people.enrol("alice", face)
    bob = await people.enrol_elsewhere(alice, face)
    stuck: set[int] = set()
    async with Holder(StuckLog(people.log, stuck), "h", EVERY, HASTY) as holder:
        await holder.until_ready()
        tails = await people.log.tails()
        ahead = {**tails, alice.partition: behind(tails[alice.partition])}
        stuck.add(alice.partition)
        found = await holder.search(asked_for(bob, ahead))
        assert found_faces(found) == [bob.face_id]
        assert (found.missing, found.lost) == ((alice.partition,), ("h",))
        assert found.gallery_size == 1
        assert not found.is_complete
        whole = await holder.search(asked_for(bob, tails))
        assert {*found_faces(whole)} == {alice.face_id, bob.face_id}
        assert whole.is_complete


async def test_too_many_searches_are_refused_and_cancelled_ones_make_room(
    people: People,
) -> None:
    """Beyond `queue_max` the answer is `overloaded`, with a time to come back; who gives up leaves
    a place.
    """
    person = await people.enrol("alice")
    limits = Limits(wait_s=20.0, queue_max=2, threads=1)
    async with Holder(people.log, "h", EVERY, limits) as holder:
        await holder.until_ready()
        tails = await people.log.tails()
        never = asked_for(person, {**tails, 0: LogId(2**60, 0)})
        waiting = [asyncio.create_task(holder.search(never)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ServeError, match="overloaded") as refused:
            await holder.search(never)
        assert refused.value.retry_after_s is not None
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert found_faces(await holder.search(asked_for(person, tails))) == [person.face_id]


async def test_partitions_are_taken_over_and_given_away(people: People) -> None:
    """A partition is missing until it is held, found in once it is, and missing again after; the
    others are answered for throughout.
    """
    alice = await people.enrol("alice")
    bob = await people.enrol_elsewhere(alice)
    taken = alice.partition
    others = set(EVERY) - {taken}
    async with Holder(people.log, "h", others, PATIENT) as holder:
        await holder.until_ready()
        missing = await holder.search(await people.asked(alice), EVERY)
        assert (missing.hits, missing.missing) == ((), (taken,))
        await holder.hold(taken)
        assert found_faces(await holder.search(await people.asked(alice), EVERY)) == [alice.face_id]
        holder.release(taken)
        assert (await holder.search(await people.asked(alice), EVERY)).missing == (taken,)
        assert found_faces(await holder.search(await people.asked(bob), others)) == [bob.face_id]
        await asyncio.gather(holder.hold(taken), holder.hold(taken))
        again = await people.enrol("another alice", alice.template)
        found = await holder.search(await people.asked(alice), EVERY)
        assert {*found_faces(found)} == {alice.face_id, again.face_id}
        await check_agrees(holder, people)


async def test_a_partition_that_was_released_is_not_taken_for_one_that_stayed(
    people: People,
) -> None:
    """A search under way while a partition is given away, and taken over again, may not count on
    what it saw of it.
    """
    async with Follower(people.log, EVERY) as follower:
        await follower.until_ready()
        standing = follower.stays({0, 1, 2})
        follower.release(1)
        assert standing() == {0, 2}
        await follower.hold(1)
        assert standing() == {0, 2}
        assert follower.stays({1})() == {1}


async def test_it_is_rebuilt_while_it_is_searched(people: People) -> None:
    """During a rebuild, with customers coming and going, every search is whole and finds; what
    comes out is what the log says.
    """
    for number in range(CROWD):
        await people.enrol(f"early {number}")
    async with Holder(people.log, "h", EVERY, PATIENT) as holder:
        await holder.until_ready()
        replayed = holder.status().replayed
        rebuilding = asyncio.create_task(holder.rebuild())
        number = 0
        while not rebuilding.done() or number < 10:
            person = await people.enrol(f"late {number}")
            found = await holder.search(await people.asked(person))
            assert (found_faces(found), found.missing) == ([person.face_id], ())
            gone = await people.erase(f"early {number % CROWD}")
            assert (await holder.search(await people.asked(gone))).hits == ()
            await people.enrol(f"early {number % CROWD}")
            number += 1
        await rebuilding
        tails = await people.log.tails()
        last = await people.enrol("last")
        await holder.search(await people.asked(last))
        assert tails != holder.status().applied
        assert holder.status().replayed > replayed + CROWD
        await check_agrees(holder, people)


async def test_a_lost_redis_is_waited_for(tmp_path: Path, keyring: Keyring) -> None:
    """After its Redis was killed and came back it goes on where it was: nothing lost, nothing
    twice; meanwhile whoever asks for no more than it has followed is answered in full.
    """
    async with server(tmp_path / "redis") as redis:
        link = open_link(State(redis_url=redis.url))
        people = people_of(link, keyring)
        try:
            async with Holder(people.log, "h", EVERY, PATIENT) as holder:
                await holder.until_ready()
                alice = await people.enrol("alice")
                before = await people.asked(alice)
                await holder.search(before)
                await redis.kill()
                with pytest.raises(ServeError, match="state_unavailable"):
                    await people.log.tails()
                meanwhile = await holder.search(before)
                assert (found_faces(meanwhile), meanwhile.missing) == ([alice.face_id], ())
                await redis.start()
                bob = await people.enrol("bob")
                for person in (alice, bob):
                    found = await holder.search(await people.asked(person))
                    assert found_faces(found) == [person.face_id]
                await check_agrees(holder, people)
        finally:
            await link.aclose()


async def test_a_log_that_cannot_be_opened_stops_the_start(people: People, link: Redis) -> None:
    """Where the key of an epoch is missing whoever waits for the start is told so, and no search
    is taken for whole.
    """
    person = await people.enrol("alice")
    await link.hset(names.customer(person.subject), "k", (99).to_bytes(4, "big") + bytes(60))
    async with Holder(people.log, "h", EVERY, HASTY) as holder:
        with pytest.raises(ServeError, match="keys_mismatch"):
            await holder.until_ready()
        assert not holder.status().is_ready
        found = await holder.search(await people.asked(person))
        assert person.partition in found.missing
