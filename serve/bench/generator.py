"""The clients of `limen bench http`, in a process of their own.

    <- {"callbacks": "http://127.0.0.1:…"}   where it takes the server's callbacks
    -> a `Plan`, one line of JSON             as often as wanted, until the input ends
    <- an `Outcome`, one line of JSON         when every request and callback has come home

Bodies are encoded before, sessions opened before: what runs while the clock runs is HTTP alone.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from hdrh.histogram import HdrHistogram

APPROVED = "approved"
VERDICTS = (APPROVED, "declined", "needs_review")
NO_ANSWER = "no_answer"
REQUEST_S_MAX = 60.0
CALLBACKS_S_MAX = 30.0
CHUNK_BYTES = 2**18
LATENCY_US_MAX = 120_000_000
DIGITS = 3
SUBMIT = "/api/v1/kyc/face/submit"
AGENT = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537"


@dataclass(frozen=True, slots=True)
class Plan:
    """Submissions to make: one session token and one body (by turns) for each arrival.

    `has_callbacks` says whether each verdict is called back, so that it waits for them.
    """

    url: str
    body_paths: tuple[str, ...]
    tokens: tuple[str, ...] = field(repr=False)
    arrivals_s: tuple[float, ...]
    in_flight_max: int
    has_callbacks: bool

    @classmethod
    def of(cls, text: str) -> "Plan":
        """The plan in a line of JSON."""
        found: dict[str, Any] = json.loads(text)
        lists = {name: tuple(found[name]) for name in ("body_paths", "tokens", "arrivals_s")}
        return cls(**{**found, **lists})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. `answers` counts KycStatus or error code; latencies are of approvals.

    `wall_s` runs from the first arrival to the last answer. By `sent_s`, when the last request
    left, `approved_by_then` were approved. `late_ms` is how far behind its schedule the generator
    itself was, 99th percentile, and `cpu_s` what it cost.
    """

    answers: dict[str, int]
    histogram: str
    wall_s: float
    sent_s: float
    approved_by_then: int
    late_ms: float
    cpu_s: float
    callbacks: int


class _Counters:
    """What has been seen so far of one plan."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.latency = HdrHistogram(1, LATENCY_US_MAX, DIGITS)
        self.lateness = HdrHistogram(1, LATENCY_US_MAX, DIGITS)


class Sink:
    """Takes callbacks and counts them."""

    def __init__(self) -> None:
        self.taken = 0
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """The origin that it listens at."""
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def wait_for(self, number: int, seconds: float) -> None:
        """Return when `number` have been taken in all, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self.taken >= number)
        except TimeoutError:
            pass

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        async with self._news:
            self.taken += 1
            self._news.notify_all()
        return web.Response(status=204)


async def fire(plan: Plan, sink: Sink) -> Outcome:
    """Make every submission of `plan` at its time, and wait for answers and callbacks."""
    bodies = [_chunks(await asyncio.to_thread(Path(path).read_bytes)) for path in plan.body_paths]
    counters, before = _Counters(), sink.taken
    slots = asyncio.Semaphore(plan.in_flight_max)
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=plan.in_flight_max)
    timeout = aiohttp.ClientTimeout(total=REQUEST_S_MAX)
    async with aiohttp.ClientSession(plan.url, connector=connector, timeout=timeout) as http:
        start_s, start_cpu_s = loop.time(), time.process_time()
        async with asyncio.TaskGroup() as requests:
            for number, (at_s, token) in enumerate(zip(plan.arrivals_s, plan.tokens, strict=True)):
                await asyncio.sleep(max(0.0, start_s + at_s - loop.time()))
                body = bodies[number % len(bodies)]
                requests.create_task(_submit(http, slots, counters, (start_s + at_s, token, body)))
            sent_s, approved_by_then = loop.time() - start_s, counters.answers[APPROVED]
        wall_s = loop.time() - start_s
    if plan.has_callbacks:
        told = sum(counters.answers[status] for status in VERDICTS)
        await sink.wait_for(before + told, CALLBACKS_S_MAX)
    return Outcome(
        answers=dict(counters.answers),
        histogram=counters.latency.encode().decode(),
        wall_s=wall_s,
        sent_s=sent_s,
        approved_by_then=approved_by_then,
        late_ms=counters.lateness.get_value_at_percentile(99) / 1000,
        cpu_s=time.process_time() - start_cpu_s,
        callbacks=sink.taken - before,
    )


async def _submit(
    http: aiohttp.ClientSession,
    slots: asyncio.Semaphore,
    counters: _Counters,
    request: tuple[float, str, Sequence[bytes]],
) -> None:
    loop = asyncio.get_running_loop()
    due_s, token, chunks = request
    counters.lateness.record_value(microseconds(loop.time() - due_s))
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Content-Length": str(sum(map(len, chunks))),
        "User-Agent": AGENT,
    }
    try:
        async with slots, http.post(SUBMIT, data=_stream(chunks), headers=headers) as response:
            answer = await response.json(content_type=None)
            said = answer["status"] if response.status == 200 else answer["code"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        said = NO_ANSWER
    counters.answers[str(said)] += 1
    if said == APPROVED:
        counters.latency.record_value(microseconds(loop.time() - due_s))


async def _stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _chunks(body: bytes) -> list[bytes]:
    return [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]


def microseconds(seconds: float) -> int:
    """As a histogram takes them: whole, at least 1, no more than it holds."""
    return min(LATENCY_US_MAX, max(1, round(1e6 * seconds)))


async def main() -> None:
    """Carry out plans from standard input until it ends."""
    sink = Sink()
    async with sink.listen() as origin:
        _say({"callbacks": origin})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(asdict(await fire(Plan.of(line), sink)))


def _say(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
