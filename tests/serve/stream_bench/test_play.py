"""The phones of the benchmark against a small server: they leave on time and count honestly."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from serve.bench.service import partner
from serve.bench.streams.clips import Clip, read_clips, write_clip
from serve.bench.streams.crowd import Hold, hold
from serve.bench.streams.generator import obey
from serve.bench.streams.measure import GENERATOR
from serve.bench.streams.play import Play, Played, play
from tests.serve.outbound.capture_server import DONE, PROBLEM, RETAKE, STEPS, Script, serving

FRAMES = 6
CLIP = Clip(tuple(b"%d" % n for n in range(FRAMES)), tuple(10 * n for n in range(FRAMES)))


@pytest.fixture
def clips(tmp_path: Path) -> str:
    """A folder with a clip of six frames, 10 ms apart, for the challenge of the server."""
    write_clip(tmp_path, STEPS, CLIP)
    return str(tmp_path)


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    """The URL of a server that follows the script."""
    async with serving(script) as (_, url):
        yield url


def plan(url: str, clips: str, tokens: int, sockets: int = 1, seconds: float = 30.0) -> Play:
    """So many sessions; without a next one a socket stops."""
    return Play(url, clips, tuple(f"st_{n}" for n in range(tokens)), sockets, seconds, 0.0)


def count(encoded: str) -> int:
    """Values in a histogram."""
    return int(HdrHistogram.decode(encoded).get_total_count())


def test_a_clip_on_disk_is_the_clip_that_was_written(clips: str) -> None:
    """Frames and times, by the names of the steps."""
    assert read_clips(Path(clips)) == {STEPS: CLIP}


async def test_every_frame_is_offered_and_every_hint_counted(clips: str) -> None:
    """Two streams on one socket: twelve frames made, sent and covered, two approvals."""
    script = Script()
    async with server(script) as url:
        played = await play(plan(url, clips, tokens=2), time.process_time)
    assert played.answers == {"approved": 2}
    assert (played.made, played.sent, played.all_sent) == (12, 12, 12)
    assert [token for token, _ in script.started] == ["st_0", "st_1"]
    assert count(played.covering) == count(played.newest) == played.hints == 12
    assert count(played.finishing) == count(played.greeting) == 2
    assert played.without_token == 1
    first = script.seen[:FRAMES]
    assert [image for *_, image in first] == list(CLIP.frames)
    assert [at - first[0][1] for _, at, _ in first] == list(CLIP.captured_ms)


async def test_frames_without_a_credit_are_counted_as_let_go(clips: str) -> None:
    """Two credits and never another: two of six frames go out, and the stream ends all the same."""
    async with server(Script(credit=2, grants=False)) as url:
        played = await play(plan(url, clips, tokens=1), time.process_time)
    assert (played.made, played.sent, played.answers) == (6, 2, {"approved": 1})


async def test_a_hint_covers_what_was_sent_before_it(clips: str) -> None:
    """A server that tells every third frame covers all; only the frames that it names are its."""
    async with server(Script(credit=9, hints_every=3)) as url:
        played = await play(plan(url, clips, tokens=1), time.process_time)
    assert (count(played.covering), count(played.newest)) == (6, 2)


@pytest.mark.parametrize(
    ("script", "answers"),
    [
        (Script(last=RETAKE), {"capture_unfit: blur": 2}),
        (Script(first=PROBLEM), {"token_expired": 2}),
        (Script(last=None), {"no_answer: the stream was closed: 1000": 2}),
    ],
)
async def test_ends_are_counted_by_what_was_said(
    script: Script, answers: dict[str, int], clips: str
) -> None:
    """Captures to be taken again, problems and lost connections are told apart."""
    async with server(script) as url:
        played = await play(plan(url, clips, tokens=2), time.process_time)
    assert played.answers == answers


async def test_sockets_share_the_sessions(clips: str) -> None:
    """Three sockets take five tokens, each once."""
    script = Script()
    async with server(script) as url:
        played = await play(plan(url, clips, tokens=5, sockets=3), time.process_time)
    assert sorted(token for token, _ in script.started) == [f"st_{n}" for n in range(5)]
    assert (played.answers, played.without_token) == ({"approved": 5}, 3)


async def test_nothing_begins_after_the_time(clips: str) -> None:
    """A plan of no seconds begins no stream and counts no frame."""
    async with server(Script()) as url:
        played = await play(plan(url, clips, tokens=5, seconds=0.0), time.process_time)
    assert (played.answers, played.made) == ({}, 0)


@pytest.mark.parametrize("tokens", [(), tuple(f"st_{n}" for n in range(40))])
async def test_a_crowd_is_held_until_the_end(tokens: tuple[str, ...]) -> None:
    """Forty sockets are open together, with their hello or before their first message."""
    script = Script()
    async with server(script) as url, hold(Hold(url, 40, tokens)) as held:
        assert (held.open, held.refused) == (40, {})
        assert len(script.asked_for) == 40
        assert len(script.started) == len(tokens)
    assert held.open == 40


async def test_a_crowd_counts_who_is_not_let_in() -> None:
    """Problems instead of a hello are counted by code."""
    async with server(Script(first=PROBLEM)) as url, hold(Hold(url, 5, ("st",) * 5)) as held:
        assert (held.open, held.refused) == (0, {"token_expired": 5})


async def test_lines_are_obeyed_one_after_the_other(clips: str) -> None:
    """A crowd is opened at one line and closed at the next; a play is answered when it ends."""
    said: list[dict[str, Any]] = []
    async with server(Script()) as url:
        hold_plan = {"url": url, "sockets": 3, "tokens": []}
        play_plan = {"url": url, "clips": clips, "tokens": ["st"], "sockets": 1, "seconds": 9.0}
        lines = iter([{"hold": hold_plan}, {}, {"play": {**play_plan, "after_s": 0.0}}])

        async def line() -> str:
            return json.dumps(found) if (found := next(lines, None)) is not None else ""

        await obey(line, said.append)
    assert [each.get("open") for each in said] == [3, 3, None]
    assert said[2]["answers"] == {"approved": 1}


async def test_it_runs_as_a_process(clips: str) -> None:
    """Told a plan by line it answers by line, and ends with its input."""
    async with server(Script(last=DONE)) as url, partner(GENERATOR) as phones:
        asked = {"url": url, "clips": clips, "tokens": ["st_1"], "sockets": 1}
        played = Played(**await phones.ask({"play": {**asked, "seconds": 9.0, "after_s": 0.0}}))
        assert played.answers == {"approved": 1}
        assert played.cpu_s > 0
    assert phones.process.returncode == 0
