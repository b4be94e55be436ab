"""The index on a real Ray cluster: shards that are searched as one, moved, and killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import psutil
import pytest
import pytest_asyncio

from serve.inference.cluster.kin import exposed
from serve.inference.search.carrier import SEARCHES_MAX
from serve.ports.search import Found
from tests.helpers.search.read_index import ReadIndex
from tests.serve.cluster.cluster import holding
from tests.serve.link.ends import PATIENCE_S
from tests.serve.shards.shards import Shards, World, a_world, running_shards

FACES = 200


@pytest.fixture(scope="module")
def shards() -> Iterator[Shards]:
    """Two shards for all tests here."""
    with running_shards(2) as running:
        yield running


@pytest_asyncio.fixture
async def world(shards: Shards, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A tenant for this test alone."""
    async with a_world(shards, f"ten_{request.node.name}") as opened:
        yield opened


async def filled(world: World) -> None:
    """Many customers."""
    await asyncio.gather(*(world.enrolled(f"customer {number}") for number in range(FACES)))


async def test_many_shards_find_what_the_log_says(shards: Shards, world: World) -> None:
    """Two, three and one of them find the same people, with the same scores, as whoever compares
    with every face of the log; and each sees what was committed before it was asked.
    """
    await filled(world)
    oracle = ReadIndex(world.log)
    for turn, number in enumerate((2, 3, 1, 2)):
        await shards.scale(number)
        assert len(await shards.pids()) == number
        newest = world.template()
        subject = await world.enrolled(f"newest {turn}", newest)
        for template in (newest, world.template(), world.template()):
            asked = await world.asked(template)
            found, expected = await world.index.search(asked), await oracle.search(asked)
            assert found.is_complete
            assert found.gallery_size == expected.gallery_size
            assert [(hit.subject, hit.face_id) for hit in found.hits] == [
                (hit.subject, hit.face_id) for hit in expected.hits
            ]
            assert [hit.native for hit in found.hits] == pytest.approx(
                [hit.native for hit in expected.hits], abs=1e-12
            )
        first = await world.index.search(await world.asked(newest, limit=1))
        assert first.hits[0].subject == subject


async def test_a_partition_moves_while_it_is_searched(shards: Shards, world: World) -> None:
    """There and back again: every search finds everybody all the while."""
    await filled(world)
    found: list[Found] = []
    asked = await world.asked(world.template(), limit=FACES)
    is_over = asyncio.Event()

    async def search() -> None:
        while not is_over.is_set():
            found.append(await world.index.search(asked))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(search())
        for target in ("shard-0", "shard-1"):
            for partition in range(8):
                await shards.move(partition, target)
        is_over.set()
    assert {(each.missing, each.lost, each.gallery_size) for each in found} == {((), (), FACES)}
    assert len({tuple(hit.subject for hit in each.hits) for each in found}) == 1


async def test_a_shard_that_is_killed_is_named_and_comes_back(shards: Shards, world: World) -> None:
    """What was acknowledged before and after is found when it is back; until then its partitions
    are missing, and never silently.
    """
    await filled(world)
    pids = await shards.pids()
    victim = pids["shard-0"]
    os.kill(victim, signal.SIGKILL)
    asked = await world.asked(world.template(), limit=2 * FACES)
    found = await world.index.search(asked)
    assert found.lost == ("shard-0",)
    assert found.missing
    looked = {hit.subject.partition for hit in found.hits}
    assert looked.isdisjoint(found.missing)
    newest = world.template()
    await world.enrolled("enrolled meanwhile", newest)
    async with asyncio.timeout(PATIENCE_S):
        while not found.is_complete:
            found = await world.index.search(await world.asked(newest, limit=2 * FACES))
            assert found.is_complete or found.lost == ("shard-0",)
    assert found.gallery_size == len(found.hits) == FACES + 1
    assert found.hits[0].native == pytest.approx(1.0)
    assert (await shards.pids())["shard-0"] != victim
    assert not psutil.pid_exists(victim)


async def test_shards_tell_of_themselves(shards: Shards, world: World) -> None:
    """On the board: each with its partitions, as far as the log goes; one that is gone, not for
    long.
    """
    await filled(world)
    await world.index.search(await world.asked(world.template()))
    tails = await world.log.tails()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            statuses = await world.index.statuses()
            applied = {key: value for each in statuses for key, value in each.applied.items()}
            names = [each.name.partition("@")[0] for each in statuses]
            if applied == tails and names == ["shard-0", "shard-1"]:
                break
            await asyncio.sleep(0.1)
    assert all(each.is_ready for each in statuses)


async def test_a_wish_on_the_board_changes_the_number(shards: Shards, world: World) -> None:
    """As an operator makes it, from another process."""
    for wish, number in ((3, 3), (0, 2)):
        await world.board.ask_shards(wish)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while len(await shards.pids()) != number:  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(0.1)
        assert len(await shards.pids()) == number


async def test_no_shard_listens_beyond_the_loopback(shards: Shards) -> None:
    """Nor does anything else of the cluster."""
    assert len(await shards.pids()) == 2
    assert exposed(shards.token_file) == []


async def test_no_template_is_left_anywhere(shards: Shards, world: World) -> None:
    """Neither one that was enrolled nor one that was looked for is in a file of Ray's or in its
    shared memory; nor is what opens them.
    """
    enrolled, probe = world.template(), world.template()
    await world.enrolled("somebody", enrolled)
    many = [world.index.search(await world.asked(probe)) for _ in range(2 * SEARCHES_MAX)]
    assert all(found.is_complete for found in await asyncio.gather(*many))
    folder = shards.state.data_dir / "keys"
    keys = [(folder / name).read_bytes() for name in ("salt", "pepper", "master")]
    secrets = [*(each.vector.tobytes() for each in (enrolled, probe)), *keys]
    for secret in secrets:
        assert holding(secret, shards.folder / "ray", shards.token_file) == []
