"""The load generator against real servers on loopback: it leaves on time and counts honestly."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hdrh.histogram import HdrHistogram

from serve.bench.generator import SUBMIT, Outcome, Plan, Sink, fire

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The base URL of a server with one submit route."""
    app = web.Application()
    app.router.add_post(SUBMIT, handler)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
def bodies(tmp_path: Path) -> tuple[str, ...]:
    """Two request bodies on disk, the second longer than one chunk."""
    for number, proof in enumerate(("a", "b" * 600_000)):
        (tmp_path / f"{number}.json").write_text(json.dumps({"proof": proof}))
    return tuple(str(tmp_path / f"{number}.json") for number in range(2))


def plan(
    url: str, bodies: tuple[str, ...], number: int, *, in_flight_max: int = 64, called: bool = False
) -> Plan:
    """As many submissions at once."""
    tokens = tuple(f"st_{index}" for index in range(number))
    return Plan(url, bodies, tokens, (0.0,) * number, in_flight_max, called)


async def test_requests_leave_whatever_the_server_does(bodies: tuple[str, ...]) -> None:
    """A server that answers nobody before everybody has come hears from everybody."""
    number = 12
    everybody = asyncio.Barrier(number)

    async def approve(request: web.Request) -> web.Response:
        await request.read()
        await everybody.wait()
        return web.json_response({"status": "approved"})

    async with serving(approve) as url:
        outcome = await fire(plan(url, bodies, number), Sink())
    assert outcome.answers == {"approved": number}


async def test_no_more_are_in_flight_than_the_bound(bodies: tuple[str, ...]) -> None:
    """With a bound of three the server never holds four requests."""
    held = most = 0

    async def approve(request: web.Request) -> web.Response:
        nonlocal held, most
        held += 1
        most = max(most, held)
        await request.read()
        held -= 1
        return web.json_response({"status": "approved"})

    async with serving(approve) as url:
        outcome = await fire(plan(url, bodies, 20, in_flight_max=3), Sink())
    assert outcome.answers == {"approved": 20}
    assert most <= 3


async def test_each_submission_has_its_token_and_a_whole_body(bodies: tuple[str, ...]) -> None:
    """Tokens come one by one in the header, bodies by turns and unbroken."""
    seen: dict[str, int] = {}

    async def approve(request: web.Request) -> web.Response:
        document = await request.json()
        seen[request.headers["Authorization"]] = len(document["proof"])
        return web.json_response({"status": "approved"})

    async with serving(approve) as url:
        await fire(plan(url, bodies, 4), Sink())
    assert seen == {f"Bearer st_{n}": (1, 600_000)[n % 2] for n in range(4)}


async def test_answers_are_counted_by_what_they_say(bodies: tuple[str, ...]) -> None:
    """Approvals have a latency; refusals by code, other answers and silence are counted apart."""

    async def mixed(request: web.Request) -> web.StreamResponse:
        await request.read()
        match request.headers["Authorization"]:
            case "Bearer st_0":
                return web.json_response({"status": "approved"})
            case "Bearer st_1":
                return web.json_response({"code": "overloaded"}, status=503)
            case "Bearer st_2":
                return web.Response(text="no JSON")
            case _:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()

    async with serving(mixed) as url:
        outcome = await fire(plan(url, bodies, 4), Sink())
    assert outcome.answers == {"approved": 1, "overloaded": 1, "no_answer": 2}
    assert HdrHistogram.decode(outcome.histogram).get_total_count() == 1


async def test_a_refusal_before_the_body_is_heard(bodies: tuple[str, ...]) -> None:
    """A server that answers 503 and reads nothing is counted by its code, body sent or not."""

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"code": "overloaded"}, status=503)

    async with serving(refuse) as url:
        outcome = await fire(plan(url, bodies, 40), Sink())
    assert outcome.answers == {"overloaded": 40}


async def test_what_is_answered_later_was_not_done_in_time(bodies: tuple[str, ...]) -> None:
    """Approvals that come when the last request has left are told apart from those before."""
    last_came = asyncio.Event()

    async def approve(request: web.Request) -> web.Response:
        await request.read()
        if request.headers["Authorization"] == "Bearer st_1":
            last_came.set()
        await last_came.wait()
        return web.json_response({"status": "approved"})

    async with serving(approve) as url:
        outcome = await fire(plan(url, bodies, 2), Sink())
    assert outcome.answers == {"approved": 2}
    assert outcome.approved_by_then == 0
    assert outcome.sent_s <= outcome.wall_s
    assert outcome.cpu_s > 0


async def test_it_runs_as_a_process_and_waits_for_callbacks(bodies: tuple[str, ...]) -> None:
    """Told a plan by line, it answers by line once the callbacks of all verdicts have come."""
    origin = ""

    async def approve(request: web.Request) -> web.Response:
        await request.read()
        async with aiohttp.ClientSession() as http, http.post(origin, data=b"{}") as answer:
            assert answer.status == 204
        return web.json_response({"status": "approved"})

    command = (sys.executable, "-m", "serve.bench.generator")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    origin = json.loads(await process.stdout.readline())["callbacks"]
    async with serving(approve) as url:
        for _ in range(2):
            process.stdin.write(
                json.dumps(asdict(plan(url, bodies, 3, called=True))).encode() + b"\n"
            )
            outcome = Outcome(**json.loads(await process.stdout.readline()))
            assert (outcome.answers, outcome.callbacks) == ({"approved": 3}, 3)
    process.stdin.close()
    assert await process.wait() == 0
