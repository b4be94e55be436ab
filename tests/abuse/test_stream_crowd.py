"""Streams that wait on one door process: what each costs, and that others stream beside them."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from pipeline.evidence import Pixels
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack
from serve.bench.frames import SIZES_PX, make_frame
from serve.bench.streams.clips import actor, write_clips
from serve.bench.streams.crowd import Hold, hold
from serve.bench.streams.measure import ENROLLED_FRAME, ORIGIN
from serve.bench.streams.play import Play, Played, play
from serve.bench.tenant import customers_for, enrol, open_sessions
from tests.abuse.door_process import DoorProcess, door_process
from tests.abuse.test_crowd import many_files

IDLE = int(os.environ.get("TEST_IDLE_STREAMS", "2000"))
ACTIVE = 50
WARM = 10
CLIP_S = 4.0  # about
PACE = 2.5  # frames a second, which two slow cores hold for all of them
TORN = "capture_unfit: other"  # no attempt
OWN_MAX = 20  # connections of this test's clients that are kept alive
BYTES_EACH_MAX = 30 * 2**10
PATIENCE_S = 60.0
ROOMY = {
    "LIMEN_SERVER_CONNECTIONS_MAX": "20000",
    "LIMEN_SERVER_CONNECTIONS_PER_ADDRESS_MAX": "20000",
    "LIMEN_STREAM_SOCKETS_MAX": "20000",
    "LIMEN_STREAM_START_SECONDS_MAX": "60",
}


async def streams(door: DoorProcess) -> int:
    """Streams that it holds, by its own count."""
    text = await door.service.service.metrics(door.http)
    (found,) = re.findall(r"^limen_stream_sockets (\S+)$", text, re.MULTILINE)
    return int(float(found))


async def until_left(door: DoorProcess, number: int) -> None:
    """Wait until no more streams than these are held: a door hears of a client's end after it."""
    async with asyncio.timeout(PATIENCE_S):
        while await streams(door) > number:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)


async def played(door: DoorProcess, clips: Path, tokens: tuple[str, ...]) -> Played:
    """One stream for each token, all at once."""
    plan = Play(door.service.url, str(clips), tokens, len(tokens), CLIP_S, 0.0)
    return await play(plan, time.process_time)


@asynccontextmanager
async def asking(door: DoorProcess) -> AsyncIterator[list[int]]:
    """Plain requests, one after the other, for as long as the block runs."""
    answered: list[int] = []

    async def ask() -> None:
        while True:
            answered.append((await door.ask("GET", "/api/v1/tenant"))[0])

    task = asyncio.create_task(ask())
    try:
        yield answered
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.models
async def test_waiting_streams_cost_little_and_stand_in_nobody_s_way(
    model_cache: ModelCache,
    pack: LoadedPack,
    astronaut: Pixels,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """2,000 streams that had their hello take less than 30 KB each; beside them 50 others reach
    their verdict, or are told to take it again where this machine was too slow for their frames,
    and requests are answered; afterwards no stream and no connection is left.
    """
    clips = tmp_path / "clips"
    await asyncio.to_thread(write_clips, actor(pack.faces, astronaut), clips, PACE, 1)
    reference = make_frame(astronaut, SIZES_PX[ENROLLED_FRAME])
    with many_files() as files:
        idle = min(IDLE, files)
        first = customers_for(idle)
        async with (
            door_process(tmp_path, **ROOMY) as door,
            aiohttp.ClientSession(door.service.url, headers=door.headers) as http,
        ):
            await enrol(http, ORIGIN, reference, idle)
            await enrol(http, ORIGIN, reference, ACTIVE, first)
            waiting = await open_sessions(http, idle, "")
            warming = await open_sessions(http, WARM, "", first)
            assert (await played(door, clips, warming)).answers
            active = await open_sessions(http, ACTIVE, "", first)
            bare = door.memory_bytes()
            async with hold(Hold(door.service.url, idle, waiting)) as held:
                assert (held.open, held.refused) == (idle, {})
                full = door.memory_bytes()
                async with asking(door) as answered:
                    outcome = await played(door, clips, active)
                await until_left(door, idle)
                assert await streams(door) == idle
            assert held.open == idle
            await until_left(door, 0)
            async with asyncio.timeout(PATIENCE_S):
                while await door.connections() > OWN_MAX:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    each = (full - bare) / idle
    with capsys.disabled():
        print(
            f"\n{idle} waiting streams: {each / 1024:.1f} KB each, opened in {held.seconds:.1f} s;"
            f" beside them {outcome.answers} of {ACTIVE}, {len(answered)} requests answered"
        )
    assert each < BYTES_EACH_MAX
    assert sum(outcome.answers.values()) == ACTIVE
    assert set(outcome.answers) <= {"approved", "declined", "needs_review", TORN}
    assert len(answered) > 3
    assert set(answered) == {200}
