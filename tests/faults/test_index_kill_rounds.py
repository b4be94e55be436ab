"""`kill -9` of front doors and Redis under load: the index that comes back is what was promised.

Whoever was enrolled is found, whoever was erased is not, in every front door.
TEST_INDEX_KILL_ROUNDS and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import base64
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from index.entry import START, Enrolled, LogId
from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from serve.domain.ids import PARTITIONS, Prefix, renamed
from serve.inference.search.holder import Holder, Limits
from serve.ports.search import ShardStatus
from serve.settings import State
from serve.store.link import open_link
from serve.store.search.board import RedisShardBoard
from serve.store.search.face_log import RedisFaceLog
from serve.store.vault.keyring import Keyring
from tests.faults.history import History
from tests.faults.load import Clients
from tests.faults.stage import loaded, open_clients, summary, take_photos
from tests.helpers.running import Running, running

ROUNDS = int(os.environ.get("TEST_INDEX_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("TEST_SEED", "20261122"))
CLIENTS = 4
DOORS = 2
PARTS = ("front door", "redis")
PAUSES_S = (0.2, 1.2)  # before a kill, and after it
FOUND_MAX = 50  # by one search
PATIENCE_S = 60.0
OFTEN_S = 0.1
LIMITS = Limits(wait_s=PATIENCE_S, queue_max=8, threads=1)
BEGINNING = dict.fromkeys(range(PARTITIONS), START)


@pytest.mark.models
async def test_the_index_is_what_was_acknowledged_after_every_kill(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After each kill and restart every front door holds the faces that were acknowledged, less
    those whose erasure was: by the log, by its digests, and by what a search finds.
    """
    photos = take_photos(model_cache)
    chance, history = random.Random(SEED), History()  # noqa: S311
    async with running(tmp_path / "var", workers=DOORS, engine="local") as service:
        secret = service.credentials()["webhook_secret"]
        async with (
            Receiver(secret) as receiver,
            aiohttp.ClientSession() as http,
            _store(service) as link,
        ):
            clients = await open_clients(service, http, receiver, photos, history)
            # A key whose front door was killed keeps its next caller waiting for 30 seconds.
            clients = replace(clients, keyed_share=0.0)
            for number in range(ROUNDS):
                async with loaded(clients, SEED + number, CLIENTS, f"round-{number}"):
                    await asyncio.sleep(chance.uniform(*PAUSES_S))
                    _kill(service, chance)
                    await asyncio.sleep(chance.uniform(*PAUSES_S))
                await service.until_ready()
                await _check(service, link, clients)
    with capsys.disabled():
        print(summary(f"index kill rounds: {ROUNDS}", SEED, history, []))
    assert len(history.journeys) > ROUNDS


async def _check(service: Running, link: Redis, clients: Clients) -> None:
    """Nothing is under way: what the clients were told is what there is."""
    journeys = clients.history.journeys
    expected = {journey.face_id for journey in journeys if not journey.is_erasing}
    log = RedisFaceLog(link, Keyring(service.data_dir / "keys"))
    assert await _logged(log) == expected
    async with Holder(log, "the test's", range(PARTITIONS), LIMITS) as holder:
        await holder.until_ready()
        own = holder.status()
    for status in await _doors(service, RedisShardBoard(link), own):
        assert status.digests == own.digests
        assert status.live == own.live
    selfie = base64.b64encode(clients.photos.enrolled).decode()
    for _ in range(2 * DOORS):  # whichever door answers
        body = {"selfie": selfie, "limit": FOUND_MAX}
        answer = await clients.tenant.call("POST", "/api/v1/face-search", body)
        assert answer.status == 200, answer
        found = {item["verificationId"] for item in answer.at("matches")}
        everybody = {renamed(Prefix.VERIFICATION, str(face_id)) for face_id in expected}
        assert found <= everybody
        assert len(found) == min(FOUND_MAX, len(everybody))


async def _logged(log: RedisFaceLog) -> set[str]:
    """The faces of test mode that the log holds, of customers who are there."""
    after: dict[int, LogId] = dict(BEGINNING)
    faces: list[str] = []
    while found := await log.read(after, limit=1_000):
        for partition, (place, entries) in found.items():
            after[partition] = place
            faces += [
                entry.face for entry in entries
                if isinstance(entry, Enrolled) and entry.gallery.world.endswith(":test")
            ]  # fmt: skip
    assert len(faces) == len(set(faces))
    return set(faces)


async def _doors(service: Running, board: RedisShardBoard, own: ShardStatus) -> list[ShardStatus]:
    """What each front door that lives tells of itself at the places of `own`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            pids = {process.pid for role, process in service.processes() if role == "front door"}
            told = [
                status for status in await board.statuses()
                if status.pid in pids and status.applied == own.applied
            ]  # fmt: skip
            if len(told) == DOORS:
                return told
            await asyncio.sleep(OFTEN_S)


@asynccontextmanager
async def _store(service: Running) -> AsyncIterator[Redis]:
    link = open_link(State(data_dir=service.data_dir))
    try:
        yield link
    finally:
        await link.aclose()


def _kill(service: Running, chance: random.Random) -> None:
    """Kill one live process of a part, without a word."""
    part = chance.choice(PARTS)
    victims = [process for role, process in service.processes() if role == part]
    if victims:
        chance.choice(victims).kill()
