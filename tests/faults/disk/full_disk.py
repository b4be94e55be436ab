"""The story of a disk that fills up under a service, as a program: its folder is the disk.

    python -m tests.faults.disk.full_disk FOLDER

Clients work all the while. First the disk falls below the mark, then somebody else takes the rest
of it, then room is made again.
"""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import psutil

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from serve.settings import load
from tests.faults.disk.acts import WAIT_S_MAX, goes_on, opened, submitted, try_open
from tests.faults.disk.tiny import fill, free_bytes
from tests.faults.history import History
from tests.faults.load import Clients
from tests.faults.stage import broken_promises, loaded, open_clients, summary, take_photos
from tests.helpers.running import Running, running

SEED = int(os.environ.get("TEST_SEED", "20261121"))
FULL_S = float(os.environ.get("TEST_FULL_S", "6"))
CLIENTS = 4
HELD = 6  # sessions that stay open until the disk is full
WORK_S = 3.0
MARK_BYTES = 16 * 2**20
SHED_BYTES = 12 * 2**20  # left when new work is shed

Parts = frozenset[tuple[str, int]]


async def main(folder: Path) -> None:
    """Tell the story; raises AssertionError where it goes otherwise."""
    photos, history = take_photos(ModelCache(load().models.cache_dir)), History()
    mark = {"LIMEN_STATE_DISK_FREE_MIN_BYTES": str(MARK_BYTES)}
    crashes = {"LIMEN_SERVER_CRASHES_PER_MINUTE_MAX": "5"}  # as an operator has it
    async with running(folder / "var", workers=2, engine="local", **mark, **crashes) as service:
        secret = service.credentials()["webhook_secret"]
        async with Receiver(secret) as receiver, aiohttp.ClientSession() as http:
            clients = await open_clients(service, http, receiver, photos, history)
            token = await opened(clients, "early")
            held = [await opened(clients, f"held-{number}") for number in range(HELD)]
            await opened(clients, "late")
            processes = _processes(service)
            async with loaded(clients, SEED, CLIENTS):
                await asyncio.sleep(WORK_S)
                ballast = fill(folder, leave_bytes=SHED_BYTES)
                shed = await _until_shed(clients)
                await goes_on(clients, receiver, token)
                assert _processes(service) == processes  # nobody died of it
                fill(folder)
                refused = await _until_dead(clients, service, processes, held)
                ballast.unlink()
                await service.until_ready()
                for number in held:
                    await goes_on(clients, receiver, number)
                await asyncio.sleep(WORK_S)
            found = await broken_promises(clients, receiver)
            after = _processes(service)
    print(summary("full disk", SEED, history, found))
    print(f"full disk: {shed} opens shed below the mark, then {refused} calls refused", flush=True)
    assert found == []
    assert _but_redis(after) == _but_redis(processes)


async def _until_shed(clients: Clients) -> int:
    """Open sessions until one is refused for want of room; a while later all are."""
    async with asyncio.timeout(WAIT_S_MAX):
        while (await try_open(clients, "late"))[1] != "storage_low":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # both doors have looked by now
    answers = Counter([await try_open(clients, "late") for _ in range(10)])
    assert answers == {(503, "storage_low"): 10}, answers
    return answers.total()


async def _until_dead(clients: Clients, service: Running, before: Parts, tokens: list[str]) -> int:
    """Submit to open sessions until Redis is gone, and let the clients knock on the doors for a
    while; how many of our own calls were refused. The doors and the worker live.
    """
    answers: Counter[int] = Counter()
    async with asyncio.timeout(WAIT_S_MAX):
        while _processes(service) != _but_redis(before):
            answers += Counter({(await submitted(clients, tokens[0])).status: 1})
            tokens.append(tokens.pop(0))
    loop = asyncio.get_running_loop()
    end_s = loop.time() + FULL_S
    while loop.time() < end_s:
        answers += Counter({(await submitted(clients, tokens[0])).status: 1})
        await asyncio.sleep(0.2)
    alive = _processes(service)
    assert alive == _but_redis(before), (before, alive)
    assert answers.keys() <= {200, 409, 503}, answers
    return answers[503]


def _processes(service: Running) -> Parts:
    """What lives of it."""
    return frozenset(
        (role, process.pid)
        for role, process in service.processes()
        if process.status() != psutil.STATUS_ZOMBIE
    )


def _but_redis(parts: Parts) -> Parts:
    return frozenset(part for part in parts if part[0] != "redis")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(f"{free_bytes(place)} bytes", file=sys.stderr)
    asyncio.run(main(place))
