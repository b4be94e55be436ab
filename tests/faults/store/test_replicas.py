"""F6 and F7: a primary that dies and one that is cut off, each replaced by its replica.

TEST_PROMOTIONS and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve.settings import State
from serve.store.vault.keyring import Keyring
from tests.faults.proxy import PARTED, FaultProxy, Faults, Lane, proxied, proxied_tcp
from tests.faults.stage import broken_promises, loaded, summary
from tests.faults.store.servers import Server, server
from tests.faults.store.world import World, world

ROUNDS = int(os.environ.get("TEST_PROMOTIONS", "3"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
DISTANCE = Faults(back=Lane(latency_s=0.03))  # from primary to replica
PAUSES_S = (0.5, 1.0)
PARTED_S = 4.0
LAG_S_MAX = 1
SYNCED_S_MAX = 60.0
CALLBACKS_S_MAX = 5.0  # those of lost changes never come
WAIT_MS = 300


@dataclass(slots=True)
class Pair:
    """A primary and its replica. Clients reach the primary through `door`, and the replica's
    connection to it goes through `wire`.
    """

    primary: Server
    replica: Server
    door: FaultProxy
    wire: FaultProxy
    wire_port: int

    async def follow(self) -> None:
        """Have the replica copy the primary, until it has caught up."""
        self.wire.upstream = ("127.0.0.1", self.primary.port)
        await self.replica.asked("REPLICAOF", "127.0.0.1", str(self.wire_port))
        async with asyncio.timeout(SYNCED_S_MAX):
            while not await self._is_synced():  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.02)
        self.wire.faults = DISTANCE

    async def _is_synced(self) -> bool:
        ours = await self.primary.info("replication")
        theirs = await self.replica.info("replication")
        is_up = theirs.get("master_link_status") == "up"
        return is_up and theirs["slave_repl_offset"] >= ours["master_repl_offset"]

    async def promote(self) -> None:
        """The replica is the primary from now on, and clients find it."""
        await self.replica.asked("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        self.door.upstream = self.primary.socket
        self.door.reset()


@asynccontextmanager
async def pair(
    folder: Path, keyring: Keyring, replicas_min: int
) -> AsyncIterator[tuple[World, Pair]]:
    """A service whose changes are on that many replicas before they are acknowledged."""
    path = folder / "proxy.sock"
    state = State(
        redis_url=f"unix://{path}", timeout_s=2.0, replicas_min=replicas_min,
        replicas_wait_ms=WAIT_MS,
    )  # fmt: skip
    async with (
        server(folder / "a") as first,
        server(folder / "b") as second,
        proxied(first.socket, path) as door,
        proxied_tcp(first.socket) as (wire, port),
    ):
        made = Pair(first, second, door, wire, port)
        await made.follow()
        async with world(state, keyring) as service:
            await made.follow()
            yield service, made


@pytest.mark.parametrize("replicas_min", [1, 0])
async def test_a_promoted_replica_has_what_was_acknowledged(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str], replicas_min: int
) -> None:
    """With a replica waited for, killing the primary loses nothing acknowledged; without, what
    is lost is counted.
    """
    chance = random.Random(SEED)  # noqa: S311
    async with pair(tmp_path, keyring, replicas_min) as (made, redis):
        async with loaded(made.clients, SEED, CLIENTS):
            for _ in range(ROUNDS):
                await asyncio.sleep(chance.uniform(*PAUSES_S))
                await redis.primary.kill()
                await redis.promote()
                await redis.replica.start()
                redis.wire.heal()
                await redis.follow()
        await redis.primary.make_due()
        found = await broken_promises(made.clients, made.receiver, CALLBACKS_S_MAX)
    with capsys.disabled():
        what = f"primary killed {ROUNDS} times, {replicas_min} replicas waited for"
        print(summary(what, SEED, made.history, found))
    assert min(made.history.acknowledged.values()) > 0
    if replicas_min:
        assert found == []


async def test_a_primary_cut_off_acknowledges_nothing_more(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """A primary whose replica cannot be reached goes on for its clients, but what it still
    acknowledges is what the replica has: nothing is lost when that one is promoted.
    """
    async with pair(tmp_path, keyring, 1) as (made, redis):
        for name, value in (("to-write", 1), ("max-lag", LAG_S_MAX)):
            await redis.primary.asked("CONFIG", "SET", f"min-replicas-{name}", str(value))
        async with loaded(made.clients, SEED, CLIENTS):
            await asyncio.sleep(PAUSES_S[1])
            redis.wire.faults = PARTED
            await asyncio.sleep(2 * DISTANCE.back.latency_s)
            before = made.history.acknowledged.copy()
            await asyncio.sleep(PARTED_S)
            during = made.history.acknowledged - before
            cut_off = redis.primary
            await redis.promote()
            await cut_off.kill()
            await redis.replica.start()
            redis.wire.heal()
            await redis.follow()
            await asyncio.sleep(PAUSES_S[1])
        await redis.primary.make_due()
        found = await broken_promises(made.clients, made.receiver, CALLBACKS_S_MAX)
    with capsys.disabled():
        what = f"parted for {PARTED_S} s, acknowledged meanwhile {dict(during)}"
        print(summary(what, SEED, made.history, found))
    assert found == []
    assert made.history.unknown.total() > 0
