"""The file of records, torn: a tail that was never finished goes, anything else stops the start
and is left as it is, and what the runbook says about it works.

TEST_TORN_CUTS and TEST_TORN_FLIPS lengthen a run, TEST_SEED repeats one.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store.link import open_link
from serve.store.local.embedded import own_embedded
from serve.store.local.places import LOG_NAME, places
from serve.store.vault.keyring import Keyring
from tests.helpers.service import Service, open_service, refusal

SEED = int(os.environ.get("TEST_SEED", "20261121"))
CUTS = int(os.environ.get("TEST_TORN_CUTS", "12"))
FLIPS = int(os.environ.get("TEST_TORN_FLIPS", "16"))
TAIL = 37
REFUSED = "refused"
RUNBOOK = Path(".github") / "RUNBOOK.md"
HALF = b"*3\r\n$3\r\nSET\r\n$8\r\nunfin"  # a command that a crash cut off: nobody heard of it


async def written(folder: Path, keyring: Keyring) -> tuple[bytes, str, str, int]:
    """A store with customers in it: its file, what it holds before and after its last change, and
    where in the file that begins.
    """
    async with own_embedded(folder):
        link = open_link(State(data_dir=folder))
        service = await open_service(link, keyring)
        for number in range(20):
            await service.enrolled(f"customer-{number}")
        before, begins = await contents(link), places(folder).log_bytes()
        await service.opened("customer-7")
        after = await contents(link)
        await link.aclose()
    return places(folder).log.read_bytes(), before, after, begins


async def contents(link: Redis) -> str:
    """A digest of everything that Redis holds."""
    asked: Any = link
    return str(await asked.execute_command("DEBUG", "DIGEST"))


def laid(folder: Path, log: bytes) -> Path:
    """A data folder with nothing but this file of records."""
    where = places(folder)
    where.folder.mkdir(parents=True, mode=0o700)
    where.log.write_bytes(log)
    return folder


async def started(folder: Path) -> str:
    """What a store started on this folder holds. Raises as the start does."""
    async with own_embedded(folder):
        link = open_link(State(data_dir=folder))
        try:
            return await contents(link)
        finally:
            await link.aclose()


async def test_an_unfinished_tail_goes_whole(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever the last change is cut off, all before it is there and nothing of it is; a command
    that was never finished, and so never acknowledged, costs nothing.
    """
    log, before, after, begins = await written(tmp_path / "first", keyring)
    assert before != after
    assert len(log) - begins > TAIL
    assert await started(laid(tmp_path / "whole", log)) == after
    assert await started(laid(tmp_path / "half", log + HALF)) == after
    chance = random.Random(SEED)  # noqa: S311
    cuts = [TAIL, *chance.sample(range(1, len(log) - begins), CUTS - 1)]
    for cut in cuts:
        assert await started(laid(tmp_path / f"cut-{cut}", log[:-cut])) == before, cut
    with capsys.disabled():
        print(f"\ntorn file: seed {SEED}, {len(cuts)} cuts, each without the last change alone")


async def test_a_flipped_byte_of_structure_stops_the_start(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a byte that begins a command or a word is flipped, the start is refused and the file
    left as it was. Redis has no checksums: of bytes anywhere, it is counted what became of them.
    """
    log, _, after, begins = await written(tmp_path / "first", keyring)
    chance = random.Random(SEED)  # noqa: S311
    marks = [place for place in marks_of(log) if place < begins]
    structure = [await flipped(tmp_path, log, place) for place in chance.sample(marks, FLIPS)]
    anywhere = Counter[str]()
    for place in chance.sample(range(begins), FLIPS):
        became = await flipped(tmp_path, log, place)
        anywhere["taken as it is" if became not in {REFUSED, after} else became] += 1
    with capsys.disabled():
        print(
            f"\ntorn file: seed {SEED}, {FLIPS} flipped marks: {structure.count(REFUSED)} refused; "
            f"{FLIPS} bytes anywhere: {anywhere[REFUSED]} refused, {anywhere[after]} harmless, "
            f"{anywhere['taken as it is']} not noticed by Redis"
        )
    assert structure == [REFUSED] * FLIPS


async def flipped(tmp_path: Path, log: bytes, place: int) -> str:
    """What a store holds that starts on `log` with the lowest bit at `place` flipped, or that its
    start is refused, by name, with the file as it was.
    """
    torn = bytearray(log)
    torn[place] ^= 1
    folder = laid(tmp_path / f"flip-{place}", bytes(torn))
    try:
        return await started(folder)
    except ServeError as error:
        named = (error.code, str(places(folder).log) in error.detail)
    assert named == (Code.STORE_DAMAGED, True)
    assert places(folder).log.read_bytes() == torn
    shutil.rmtree(folder)
    return REFUSED


def marks_of(log: bytes) -> list[int]:
    """Where each command and each word of `log` begins."""
    marks, place = [], 0
    while place < len(log):
        marks.append(place)
        head, is_word = log.index(b"\r\n", place), log[place : place + 1] == b"$"
        place = head + 2 + (int(log[place + 1 : head]) + 2 if is_word else 0)
    return marks


async def test_a_sealed_record_that_was_changed_does_not_open(
    link: Redis, keyring: Keyring
) -> None:
    """A customer whose record has a flipped byte is refused, not judged by it."""
    service: Service = await open_service(link, keyring)
    await service.enrolled("alice")
    (key,) = await service.keys("*:customer:*")
    found: Any = await link.hget(key, "d")
    sealed = bytearray(found)
    sealed[len(sealed) // 2] ^= 1
    await link.hset(key, "d", bytes(sealed))
    assert await refusal(service.opened("alice")) == "keys_mismatch"


async def test_the_runbook_finds_and_cuts_the_damage(tmp_path: Path, keyring: Keyring) -> None:
    """A damaged file stops the start by its name and the runbook's; what that has to run shows the
    damage, keeps a copy, and leaves a store that starts with what came before it.
    """
    log, before, after, begins = await written(tmp_path / "first", keyring)
    torn = bytearray(log)
    torn[torn.index(b"*", begins)] ^= 1  # of the last change, a command's first byte
    folder = laid(tmp_path / "var", bytes(torn))
    where = places(folder)
    with pytest.raises(ServeError) as refused:
        await started(folder)
    assert refused.value.code is Code.STORE_DAMAGED
    assert str(where.log) in refused.value.detail
    assert RUNBOOK.name in refused.value.detail
    shown, cut = blocks("The file of records is damaged")
    said = run(shown, folder)
    assert "AOF is not valid" in said
    assert where.log.read_bytes() == torn
    run(cut, folder)
    assert (where.folder / f"{LOG_NAME}.damaged").read_bytes() == torn
    assert log.startswith(where.log.read_bytes())
    assert await started(folder) in {before, after}


async def test_the_runbook_s_commands_reach_the_store() -> None:
    """What it has an operator run on a full disk, or a full memory, is answered by Redis."""
    with tempfile.TemporaryDirectory(prefix="limen-") as short:  # or the socket is elsewhere
        async with own_embedded(Path(short)):
            (disk,), (memory,) = blocks("The disk is full"), blocks("Redis is out of memory")
            assert "rewriting started" in await asyncio.to_thread(run, disk, Path(short))
            assert "OK" in await asyncio.to_thread(run, memory, Path(short))


def blocks(heading: str) -> list[str]:
    """The commands under a heading of the runbook, block by block."""
    section = RUNBOOK.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(commands: str, data_dir: Path) -> str:
    """What the commands print, on this data folder and with this Python."""
    tools = str(Path(sys.executable).parent)
    bash = shutil.which("bash") or "sh"
    done = subprocess.run(
        [bash, "-c", commands],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "DATA": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
