"""A cluster of toy replicas for tests, and doors to it."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import psutil

from serve.inference.cluster.environment import make_token, of_own_cluster
from serve.inference.cluster.kin import end_leftovers, kin
from serve.inference.dispatch import Limits
from serve.inference.link import client
from serve.inference.link.client import LinkedFaces
from serve.inference.link.reach import Reach
from tests.helpers.tree import ROOT
from tests.serve.inference.toy_runner import PATIENCE_S

REPLICA = "ray::ServeReplica"
START_S_MAX = 120.0
SCANNED_BYTES_MAX = 2**28


@dataclass(frozen=True, slots=True)
class Cluster:
    """A driver of toy replicas, in a process of its own; its files are under `folder`."""

    process: subprocess.Popen[str]
    address: str
    folder: Path

    @property
    def token_file(self) -> Path:
        """Its token."""
        return self.folder / "token"

    async def counted(self) -> dict[str, float]:
        """Calls, batches, images and retries since this was last asked."""
        return await self._tell("count")

    async def refusal(self, **wanted: float) -> str:
        """What replicas are refused with that want these resources; empty if they are not."""
        said = await self._tell("check", **wanted)
        return str(said["refusal"])

    def replicas(self) -> list[psutil.Process]:
        """The processes of its replicas."""
        return [each for each in kin(self.token_file) if REPLICA in " ".join(each.cmdline())]

    @asynccontextmanager
    async def engine(self, limits: Limits) -> AsyncIterator[Path]:
        """A dispatcher before the replicas: the socket of the link to it."""
        said = await self._tell("open", **asdict(limits))
        try:
            yield Path(said["socket"])
        finally:
            await self._tell("close")

    async def _tell(self, wanted: str, **values: Any) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.process, {wanted: values})


def ask(process: subprocess.Popen[str], command: dict[str, Any] | None) -> dict[str, Any]:
    """What is said next, and in answer to a command if there is one."""
    assert process.stdin is not None
    assert process.stdout is not None
    if command is not None:
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    assert line, "the toy engine has ended"
    found: dict[str, Any] = json.loads(line)
    return found


@asynccontextmanager
async def a_door(socket: Path, timeout_s: float = PATIENCE_S) -> AsyncIterator[LinkedFaces]:
    """A front door's end of the link, connected."""
    async with Reach(socket, timeout_s) as reach:
        async with asyncio.timeout(PATIENCE_S):
            await reach.until_connected()
        yield LinkedFaces(reach, client.Limits(timeout_s))


@contextmanager
def engine_process(
    module: str, words: Sequence[str], token: Path
) -> Iterator[subprocess.Popen[str]]:
    """A program that drives a cluster of its own, until the block ends; nothing is left then.

    One that has not printed its first line in time is killed: `ask` tells.
    """
    make_token(token)
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=of_own_cluster(os.environ, token),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            left = end_leftovers(token)
    assert left == 0


def first_answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a program says once it is ready; it is killed when that takes too long."""
    giving_up = Timer(START_S_MAX, process.kill)
    giving_up.start()
    try:
        return ask(process, None)
    finally:
        giving_up.cancel()


@contextmanager
def toy_cluster(cpus: int, options: dict[str, Any]) -> Iterator[Cluster]:
    """Toy replicas deployed with these options, until the block ends; nothing is left then."""
    with tempfile.TemporaryDirectory(prefix="limen-toy-") as name:  # sockets want short paths
        folder, words = Path(name), (name, str(cpus), json.dumps(options))
        with engine_process("tests.serve.cluster.toy_engine", words, folder / "token") as process:
            yield Cluster(process, first_answer(process)["address"], folder)


def holding(canary: bytes, ray_folder: Path, token_file: Path) -> list[Path]:
    """The files that Ray keeps and that hold these bytes, those that are only open among them."""
    kept = [path for path in ray_folder.rglob("*") if path.is_file()]
    return [path for path in (*kept, *shared_memory(token_file)) if canary in _read(path)]


def shared_memory(token_file: Path) -> list[Path]:
    """Descriptors of shared memory that the cluster's processes hold."""
    found = []
    for process in kin(token_file):
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(OSError):
                if "shm" in str(link.readlink()) or "memfd" in str(link.readlink()):
                    found.append(link)
    return found


def _read(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as stream:
        return stream.read(SCANNED_BYTES_MAX)
    return b""
