"""A Ray cluster of our own: one machine, one head, gone when we are."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from serve.errors import Code, ServeError

START_S_MAX = 60.0
STOP_S_MAX = 10.0
POLL_S = 0.05
OBJECT_STORE_BYTES = 80 * 2**20  # images travel by value; Ray itself wants at least 75 MiB
ADDRESS_FILE = "address"
LOG_FILE = "head.log"


@asynccontextmanager
async def own_head(
    folder: Path, environment: Mapping[str, str], cpus: int
) -> AsyncIterator[tuple[str, Process]]:
    """A head that keeps its files in `folder`: its address, and its process, which ends when
    any part of it does. Raises `engine_unavailable` when it does not start.
    """
    address_file, log = _prepare(folder)
    command = (sys.executable, "-m", "serve.inference.cluster.head_process", str(folder), str(cpus))
    with os.fdopen(log, "wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield await _address(address_file, process, folder / LOG_FILE), process
    finally:
        await _stop(process)


def _prepare(folder: Path) -> tuple[Path, int]:
    """Where the head will say its address, and a descriptor of its log."""
    folder.mkdir(mode=0o700, exist_ok=True)
    address_file = folder / ADDRESS_FILE
    address_file.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    return address_file, os.open(folder / LOG_FILE, flags, 0o600)


async def _address(file: Path, process: Process, log: Path) -> str:
    """Where the head listens, once it has said so."""
    try:
        async with asyncio.timeout(START_S_MAX):
            while process.returncode is None:
                if address := _read(file):
                    return address
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        detail = f"no Ray head within {START_S_MAX:g} s; see {log}"
        raise ServeError(Code.ENGINE_UNAVAILABLE, detail) from error
    raise ServeError(Code.ENGINE_UNAVAILABLE, f"the Ray head ended; see {log}")


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _read(file: Path) -> str:
    """What the file holds; nothing where it is not there yet."""
    with suppress(FileNotFoundError):
        return file.read_text().strip()
    return ""
