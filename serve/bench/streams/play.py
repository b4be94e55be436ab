"""Phones that play clips at the pace of a camera, and what they count.

A camera takes its next frame whether or not the last one could be sent. So each frame is offered
when its time has come; without a credit it is let go, as an SDK lets it go, and counted as such. A
stream that ended makes room for the next session's, so that as many are always open.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from hdrh.histogram import HdrHistogram

from serve.bench.generator import AGENT, DIGITS, LATENCY_US_MAX, NO_ANSWER, microseconds
from serve.bench.streams.clips import Clip, Clips, read_clips
from serve.outbound.phone import Phone, Refused, Start, opened

PAUSE_S = 0.2  # after a stream that did not begin, or asking again would be all that is done
IN_DOUBT_MAX = 1_024  # frames of one stream that no hint has covered yet


@dataclass(frozen=True, slots=True)
class Play:
    """So many `sockets` play clips of `clips`, a folder, for `seconds`; then each ends its last.

    A stream takes the next token. Rates are counted from `after_s` on, when all have begun.
    """

    url: str
    clips: str
    tokens: tuple[str, ...] = field(repr=False)
    sockets: int
    seconds: float
    after_s: float

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Play":
        """The plan that a line of JSON says."""
        return cls(**{**found, "tokens": tuple(found["tokens"])})


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it.

    `answers` counts how streams ended: KycStatus, code, code and hint of a recapture, or
    `no_answer` and why. `made` frames were taken by cameras in the `window_s` seconds
    that count, and `sent` of them; `all_sent` are those of the whole time. Histograms: `covering`
    from sending a frame to the first hint that covers it, `newest` to the hint that names it,
    `finishing` from submit to done, `greeting` from connecting to hello. `late_ms` is how far
    behind its schedule the generator was, 99th percentile, and `cpu_s` what it cost.
    `without_token` sockets ran out of sessions.
    """

    answers: dict[str, int]
    made: int
    sent: int
    all_sent: int
    hints: int
    window_s: float
    wall_s: float
    covering: str
    newest: str
    finishing: str
    greeting: str
    late_ms: float
    cpu_s: float
    without_token: int


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, LATENCY_US_MAX, DIGITS)


class _Tally:
    """What has been seen so far of one plan. Times are the event loop's, in seconds."""

    def __init__(self, opens_s: float, closes_s: float) -> None:
        self.opens_s, self.closes_s = opens_s, closes_s
        self.answers: Counter[str] = Counter()
        self.made = self.sent = self.all_sent = self.hints = self.without_token = 0
        self.covering, self.newest = _histogram(), _histogram()
        self.finishing, self.greeting = _histogram(), _histogram()
        self.lateness = _histogram()

    def take(self, now_s: float, *, is_sent: bool) -> None:
        """A camera took a frame, and it was sent or not."""
        self.all_sent += is_sent
        if self.opens_s <= now_s < self.closes_s:
            self.made += 1
            self.sent += is_sent


@dataclass(slots=True)
class _Stream:
    """One stream's frames that no hint has covered yet: number and when it was sent."""

    tally: _Tally
    waiting: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=IN_DOUBT_MAX))

    def hear(self, hint: Mapping[str, Any]) -> None:
        """A hint covers its frame and all before it."""
        now_s = asyncio.get_running_loop().time()
        self.tally.hints += 1
        named = int(hint["seq"])
        while self.waiting and self.waiting[0][0] <= named:
            number, sent_s = self.waiting.popleft()
            took_us = microseconds(now_s - sent_s)
            self.tally.covering.record_value(took_us)
            if number == named:
                self.tally.newest.record_value(took_us)


async def play(plan: Play, spent_s: Callable[[], float]) -> Played:
    """Play until the time is over and every stream has ended; `spent_s` is the processor's clock
    of this process.
    """
    clips = await asyncio.to_thread(read_clips, Path(plan.clips))
    loop = asyncio.get_running_loop()
    tokens = iter(plan.tokens)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        start_s, start_cpu_s = loop.time(), spent_s()
        tally = _Tally(start_s + plan.after_s, start_s + plan.seconds)
        async with asyncio.TaskGroup() as sockets:
            for number in range(plan.sockets):
                begins_s = start_s + plan.after_s * number / plan.sockets
                sockets.create_task(_socket(http, plan, clips, (tokens, begins_s), tally))
        return _played(tally, loop.time() - start_s, spent_s() - start_cpu_s)


def _played(tally: _Tally, wall_s: float, cpu_s: float) -> Played:
    return Played(
        answers=dict(tally.answers),
        made=tally.made,
        sent=tally.sent,
        all_sent=tally.all_sent,
        hints=tally.hints,
        window_s=tally.closes_s - tally.opens_s,
        wall_s=wall_s,
        covering=tally.covering.encode().decode(),
        newest=tally.newest.encode().decode(),
        finishing=tally.finishing.encode().decode(),
        greeting=tally.greeting.encode().decode(),
        late_ms=tally.lateness.get_value_at_percentile(99) / 1000,
        cpu_s=cpu_s,
        without_token=tally.without_token,
    )


async def _socket(
    http: aiohttp.ClientSession,
    plan: Play,
    clips: Clips,
    turn: tuple[Iterator[str], float],
    tally: _Tally,
) -> None:
    """One stream after the other, from its time on."""
    loop = asyncio.get_running_loop()
    tokens, begins_s = turn
    await asyncio.sleep(begins_s - loop.time())
    while loop.time() < tally.closes_s:
        token = next(tokens, None)
        if token is None:
            tally.without_token += 1
            return
        try:
            tally.answers[await _stream(http, plan.url, token, clips, tally)] += 1
        except Refused as refused:
            tally.answers[refused.ended.word] += 1
            await asyncio.sleep(PAUSE_S)
        except ConnectionError as error:
            tally.answers[f"{NO_ANSWER}: {error}"] += 1
            await asyncio.sleep(PAUSE_S)
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError) as error:
            tally.answers[f"{NO_ANSWER}: {type(error).__name__}"] += 1
            await asyncio.sleep(PAUSE_S)


async def _stream(
    http: aiohttp.ClientSession, url: str, token: str, clips: Clips, tally: _Tally
) -> str:
    """One stream to its end; the word that it ended with."""
    loop = asyncio.get_running_loop()
    stream, asked_s = _Stream(tally), loop.time()
    start = Start(url, token, headers={"User-Agent": AGENT})
    async with opened(http, start, stream.hear) as phone:
        tally.greeting.record_value(microseconds(loop.time() - asked_s))
        await _film(phone, clips[phone.steps], stream)
        submitted_s = loop.time()
        ended = await phone.submit()
        tally.finishing.record_value(microseconds(loop.time() - submitted_s))
        return ended.word


async def _film(phone: Phone, clip: Clip, stream: _Stream) -> None:
    """Every frame at its time, as far as there are credits."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for frame, captured_ms in zip(clip.frames, clip.captured_ms, strict=True):
        due_s = start_s + captured_ms / 1000
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        if not phone.is_open:
            return
        now_s = loop.time()
        stream.tally.lateness.record_value(microseconds(now_s - due_s))
        number = await phone.offer(frame, round(1000 * start_s) + captured_ms)
        if number is not None:
            stream.waiting.append((number, now_s))
        stream.tally.take(now_s, is_sent=number is not None)
