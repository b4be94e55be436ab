"""`limen bench http`: what a selfie costs from the socket to the signed verdict.

For each frame size the service is first saturated, which gives images/s, and then offered a
share of that in an open loop, which gives latencies. Sessions are opened beforehand; what is
measured is `POST /api/v1/kyc/face/submit`, with its writes and its callback.
"""

import asyncio
import base64
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from pipeline.evidence import Pixels
from serve.bench.figures import Point
from serve.bench.frames import SIZES_PX, make_frame
from serve.bench.generator import Outcome, Plan
from serve.bench.schedule import arrivals, at_once
from serve.bench.service import Service, run_service
from serve.domain.preferences import Event, Triggers
from serve.errors import Code, ServeError
from serve.settings import Settings, variable

FRAMES = ("1280x720", "12Mpx")
ENROLLED_FRAME = "720x960"
EVENTS = tuple(event for event in Event if getattr(Triggers(), event) is False)  # plain switches
LIGHTS = (1.0, 0.9)  # so that not every body is the same bytes
WARM_IMAGES = 24
OPEN_IN_FLIGHT_MAX = 4_096
SATURATED_IN_FLIGHT = 8  # for each worker thread
SET_UP_IN_FLIGHT = 8
SESSION_S_MAX = 480.0  # of a token's ten minutes
SET_UP_S_MAX = 60.0

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`images` for each point; `load` is the open loop's share of what saturates."""

    images: int
    load: float
    seed: int
    with_callbacks: bool
    frames: tuple[str, ...] = FRAMES


@dataclass(frozen=True, slots=True)
class _Bench:
    """All that measuring a point needs."""

    service: Service
    http: aiohttp.ClientSession
    generator: Process
    options: Options
    threads: int
    callback_url: str


async def measure(
    settings: Settings, photo: Pixels, options: Options, on_step: OnStep
) -> list[Point]:
    """Two points for each frame. `photo` is `(H, W, 3)` uint8 RGB with one face.

    Raises `server_unreachable` when the service does not start or refuses to be set up.
    """
    points: list[Point] = []
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name:
        folder = Path(name)
        on_step("start the service")
        async with (
            run_service(folder / "var", _environment(settings)) as service,
            _generator() as (generator, origin),
        ):
            # Its key of the test world, which may call back to this machine.
            tenant = json.loads((folder / "var" / "demo.json").read_bytes())
            headers = {"Authorization": f"Bearer {tenant['test_api_key']}"}
            async with aiohttp.ClientSession(service.url, headers=headers) as http:
                callback_url = f"{origin}/" if options.with_callbacks else ""
                threads = settings.pipeline.threads or os.cpu_count() or 1
                bench = _Bench(service, http, generator, options, threads, callback_url)
                on_step("enrol customers")
                await _call(http, "PATCH", "/api/v1/tenant", {"allowed_origins": [origin]})
                await _set_up(bench, make_frame(photo, SIZES_PX[ENROLLED_FRAME]))
                for frame in options.frames:
                    bodies = _write_bodies(folder, photo, frame)
                    points += [point async for point in _points(bench, frame, bodies, on_step)]
    return points


async def _points(
    bench: _Bench, frame: str, bodies: tuple[str, ...], on_step: OnStep
) -> AsyncIterator[Point]:
    options = bench.options
    on_step(f"{frame}: warm up")
    saturating = SATURATED_IN_FLIGHT * bench.threads
    await _measured(bench, frame, bodies, None, (at_once(WARM_IMAGES), saturating))
    on_step(f"{frame}: saturated")
    full = await _measured(bench, frame, bodies, None, (at_once(options.images), saturating))
    yield full
    rate = options.load * full.images_per_s
    if rate > 0:
        number = max(1, min(options.images, int(SESSION_S_MAX * rate)))
        on_step(f"{frame}: open loop at {rate:.1f} images/s")
        times = arrivals(rate, number, options.seed)
        yield await _measured(bench, frame, bodies, rate, (times, OPEN_IN_FLIGHT_MAX))


async def _measured(
    bench: _Bench,
    frame: str,
    bodies: tuple[str, ...],
    rate: float | None,
    pace: tuple[Sequence[float], int],
) -> Point:
    times, in_flight_max = pace
    tokens = await _open_sessions(bench, len(times))
    has_callbacks = bench.options.with_callbacks
    plan = Plan(bench.service.url, bodies, tokens, tuple(times), in_flight_max, has_callbacks)
    before = await bench.service.spent(bench.http)
    outcome = Outcome(**await _exchange(bench.generator, asdict(plan)))
    after = await bench.service.spent(bench.http)
    return Point(frame, rate, outcome, after.since(before))


async def _set_up(bench: _Bench, reference: bytes) -> None:
    triggers = dict.fromkeys(EVENTS, True)
    body = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": triggers}
    await _call(bench.http, "PATCH", "/api/v1/kyc/preferences", body)
    image = {"image": base64.b64encode(reference).decode()}
    customers = -(-max(bench.options.images, WARM_IMAGES) // len(EVENTS))
    await _together(
        _call(bench.http, "POST", f"/api/v1/customers/{_customer(number)}/faces", image)
        for number in range(customers)
    )


async def _open_sessions(bench: _Bench, number: int) -> tuple[str, ...]:
    """Tokens of fresh sessions; those of one customer lie as far apart as can be."""
    customers = -(-number // len(EVENTS))
    places = [divmod(index, customers) for index in range(number)]
    answers = await _together(
        _call(
            bench.http,
            "POST",
            "/api/v1/kyc/face/session",
            {
                "reference": f"bench {index}",
                "customer_id": _customer(customer),
                "event": EVENTS[event],
                "callback_url": bench.callback_url,
            },
        )
        for index, (event, customer) in enumerate(places)
    )
    return tuple(str(answer["token"]) for answer in answers)


async def _together(
    calls: Iterable[Coroutine[Any, Any, dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The answers in order, a few calls at a time."""
    slots = asyncio.Semaphore(SET_UP_IN_FLIGHT)

    async def one(call: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        async with slots:
            return await call

    return await asyncio.gather(*map(one, calls))


async def _call(
    http: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=SET_UP_S_MAX)
    try:
        async with http.request(method, path, json=body, timeout=timeout) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        detail = f"{method} {path}: {type(error).__name__}"
        raise ServeError(Code.SERVER_UNREACHABLE, detail) from error
    if not response.ok:
        detail = f"{method} {path} answered {response.status} {answer.get('code')}"
        raise ServeError(Code.SERVER_UNREACHABLE, detail)
    return answer


@asynccontextmanager
async def _generator() -> AsyncIterator[tuple[Process, str]]:
    """The clients' process, and the origin where it takes callbacks."""
    command = (sys.executable, "-m", "serve.bench.generator")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**20)
    assert process.stdin is not None
    try:
        yield process, str((await _said(process))["callbacks"])
    finally:
        process.stdin.close()
        await process.wait()


async def _exchange(generator: Process, document: Mapping[str, Any]) -> dict[str, Any]:
    assert generator.stdin is not None
    generator.stdin.write(json.dumps(document).encode() + b"\n")
    await generator.stdin.drain()
    return await _said(generator)


async def _said(generator: Process) -> dict[str, Any]:
    assert generator.stdout is not None
    found: dict[str, Any] = json.loads(await generator.stdout.readline())
    return found


def _write_bodies(folder: Path, photo: Pixels, frame: str) -> tuple[str, ...]:
    """Request bodies of the photo in two lights, on disk; their paths."""
    paths = []
    for number, light in enumerate(LIGHTS):
        pixels = (photo * light).astype(np.uint8)
        proof = base64.b64encode(make_frame(pixels, SIZES_PX[frame])).decode()
        path = folder / f"{frame}-{number}.json"
        path.write_text(json.dumps({"proof": proof}))
        paths.append(str(path))
    return tuple(paths)


def _customer(number: int) -> str:
    return f"bench-{number}"


def _environment(settings: Settings) -> dict[str, str]:
    """This process's own, with the models that the command line chose, on free ports."""
    return {
        **os.environ,
        variable("models", "cache_dir"): str(settings.models.cache_dir),
        variable("pipeline", "detector"): settings.pipeline.detector,
        variable("pipeline", "threads"): str(settings.pipeline.threads),
        variable("admin", "listen"): "127.0.0.1:0",
    }
