"""`limen bench http`: what a selfie costs from the socket to the signed verdict, engine by engine.

Engines take turns, round after round, so that what else the machine does hits all of them. A turn
has a service of its own, alone on the machine: even an idle Ray cluster costs a twentieth of a
core. It is first saturated, which gives its peak in images/s, and then offered parts of that in
an open loop, which gives latencies, and above its peak refusals. Sessions are opened beforehand;
what is measured is `POST /api/v1/kyc/face/submit`, with its writes and its callback.
"""

import base64
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import numpy as np

from pipeline.evidence import Pixels
from serve.bench.figures import Place, Point
from serve.bench.frames import SIZES_PX, make_frame
from serve.bench.generator import Outcome, Plan
from serve.bench.schedule import arrivals, at_once, images_at
from serve.bench.service import Partner, Service, environment, partner, run_service
from serve.bench.tenant import enrol, open_sessions
from serve.bench.watch import watching
from serve.settings import EngineKind, Settings

GENERATOR = "serve.bench.generator"
ENGINES = (EngineKind.RAY, EngineKind.LOCAL, EngineKind.NAIVE_SERVE)
FRAMES = ("1280x720",)
LOADS = (0.5, 0.8, 1.0, 1.5)
ENROLLED_FRAME = "720x960"
LIGHTS = (1.0, 0.9)  # so that not every body is the same bytes
WARM_IMAGES = 48
OPEN_IN_FLIGHT_MAX = 4_096
SATURATED_IN_FLIGHT = 32  # for each worker thread
SESSION_S_MAX = 480.0  # of a token's ten minutes
OTHERS_MAX = 0.05  # of the machine: above it figures are not the service's alone

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`images` for each point of each round; `loads` are the open loops' parts of the peak."""

    images: int
    seed: int
    with_callbacks: bool
    rounds: int = 1
    engines: tuple[EngineKind, ...] = ENGINES
    frames: tuple[str, ...] = FRAMES
    loads: tuple[float, ...] = LOADS


@dataclass(frozen=True, slots=True)
class _Clients:
    """The process that fires requests, where it takes callbacks, and the bodies that it sends."""

    process: Partner
    origin: str
    bodies: Mapping[str, tuple[str, ...]]
    reference: bytes


@dataclass(frozen=True, slots=True)
class _Bench:
    """All that measuring a point needs."""

    service: Service
    http: aiohttp.ClientSession
    clients: _Clients
    settings: Settings
    options: Options

    @property
    def saturating(self) -> int:
        """Submissions in flight that leave no thread idle, and are never too many."""
        threads = self.settings.pipeline.threads or os.cpu_count() or 1
        return min(SATURATED_IN_FLIGHT * threads, self.settings.engine.queue_max)


async def measure(
    settings: Settings, photo: Pixels, options: Options, on_step: OnStep
) -> list[Point]:
    """For each round, engine and frame a saturated point and one at each load.

    `photo` is `(H, W, 3)` uint8 RGB with one face. Raises `server_unreachable` when a service
    does not start or refuses to be set up.
    """
    points: list[Point] = []
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name:
        folder = Path(name)
        bodies = {frame: _write_bodies(folder, photo, frame) for frame in options.frames}
        reference = make_frame(photo, SIZES_PX[ENROLLED_FRAME])
        async with partner(GENERATOR) as process:
            origin = str((await process.said())["callbacks"])
            clients = _Clients(process, origin, bodies, reference)
            for number in range(1, options.rounds + 1):
                for engine in options.engines:
                    turn = f"round {number} of {options.rounds}, {engine}"
                    on_step(f"{turn}: start the service")
                    data_dir = folder / f"{number}-{engine}"
                    async with _service(data_dir, settings, engine, clients, options) as bench:
                        for frame in options.frames:
                            place = Place(engine, frame, None, number)
                            async for point in _points(bench, place):
                                points.append(point)
                                on_step(f"{turn}: {frame}, {_said_of(point)}")
    return points


@asynccontextmanager
async def _service(
    data_dir: Path, settings: Settings, engine: EngineKind, clients: _Clients, options: Options
) -> AsyncIterator[_Bench]:
    """A service with this engine and customers enrolled, until the block ends."""
    async with run_service(data_dir, environment(settings, engine)) as service:
        # The key of its test world, which may call back to this machine.
        tenant = json.loads((data_dir / "demo.json").read_bytes())
        headers = {"Authorization": f"Bearer {tenant['test_api_key']}"}
        async with aiohttp.ClientSession(service.url, headers=headers) as http:
            bench = _Bench(service, http, clients, settings, options)
            sessions_max = max(WARM_IMAGES, *(_images(bench, load) for load in options.loads))
            await enrol(http, clients.origin, clients.reference, sessions_max)
            yield bench


async def _points(bench: _Bench, place: Place) -> AsyncIterator[Point]:
    """The saturated one first; `place` is its."""
    options = bench.options
    await _measured(bench, place, None, (at_once(WARM_IMAGES), bench.saturating))
    full = await _measured(bench, place, None, (at_once(options.images), bench.saturating))
    yield full
    for load in options.loads:
        rate = load * full.images_per_s
        if rate > 0:
            number = max(1, min(_images(bench, load), int(SESSION_S_MAX * rate)))
            times = arrivals(rate, number, options.seed + place.round)
            at = Place(place.engine, place.frame, load, place.round)
            yield await _measured(bench, at, rate, (times, OPEN_IN_FLIGHT_MAX))


async def _measured(
    bench: _Bench, place: Place, rate: float | None, pace: tuple[Sequence[float], int]
) -> Point:
    times, in_flight_max = pace
    clients, has_callbacks = bench.clients, bench.options.with_callbacks
    callback_url = f"{clients.origin}/" if has_callbacks else ""
    tokens = await open_sessions(bench.http, len(times), callback_url)
    bodies = clients.bodies[place.frame]
    plan = Plan(bench.service.url, bodies, tokens, tuple(times), in_flight_max, has_callbacks)
    async with watching(bench.service, bench.http) as seen:
        outcome = Outcome(**await clients.process.ask(asdict(plan)))
    others = seen.others(outcome.cpu_s)
    return Point(place, rate, outcome, seen.spent, tuple(seen.rss_bytes), seen.lost, others)


def _images(bench: _Bench, load: float) -> int:
    return images_at(load, bench.options.images, bench.settings.engine.queue_max)


def _said_of(point: Point) -> str:
    offered = "" if point.offered_per_s is None else f" of {point.offered_per_s:.1f}"
    errors = sum(point.errors.values())
    refused = f", {errors} not approved" if errors else ""
    lost = f", lost: {', '.join(point.lost)}" if point.lost else ""
    others = f", others took {point.others:.0%} of the machine" if point.others > OTHERS_MAX else ""
    return f"{point.place}: {point.images_per_s:.1f}{offered} images/s{refused}{lost}{others}"


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
