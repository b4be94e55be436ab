"""A cluster of toy replicas for tests, and a door to it."""

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from serve.inference.cluster.environment import make_token, of_own_cluster
from serve.inference.cluster.kin import end_leftovers, kin
from serve.inference.link.client import Limits, LinkedFaces

START_S_MAX = 120.0
PATIENCE_S = 30.0
REPLICA = "ray::ServeReplica"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running engine of toy replicas, whose files are under `folder`."""

    process: Process
    address: str
    socket: Path
    folder: Path

    @property
    def token_file(self) -> Path:
        """Its token."""
        return self.folder / "token"

    async def counted(self) -> dict[str, float]:
        """Calls, batches, images and retries since this was last asked."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()
        found: dict[str, float] = json.loads(await self.process.stdout.readline())
        return found

    def replicas(self) -> list[psutil.Process]:
        """The processes of its replicas."""
        return [each for each in kin(self.token_file) if REPLICA in " ".join(each.cmdline())]

    @asynccontextmanager
    async def door(self, timeout_s: float = PATIENCE_S) -> AsyncIterator[LinkedFaces]:
        """A front door's end of it."""
        async with LinkedFaces(self.socket, Limits(timeout_s)) as faces:
            async with asyncio.timeout(PATIENCE_S):
                await faces.until_connected()
            yield faces


@asynccontextmanager
async def toy_cluster(replicas: int) -> AsyncIterator[Cluster]:
    """A cluster of so many replicas, until the block ends; nothing of it is left then."""
    with tempfile.TemporaryDirectory(prefix="limen-toy-") as name:  # sockets want short paths
        folder = Path(name)
        make_token(folder / "token")
        environment = of_own_cluster(os.environ, folder / "token")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.serve.cluster.toy_engine", name, str(replicas)),
            env=environment, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_S_MAX):
                said = json.loads(await process.stdout.readline() or b"{}")
            assert said, "the toy engine did not start"
            yield Cluster(process, said["address"], Path(said["socket"]), folder)
        finally:
            process.stdin.close()
            await process.wait()
            left = end_leftovers(folder / "token")
    assert left == 0
