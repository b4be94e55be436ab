"""`limen bench stream`: how many streams a machine holds, and what they and idle sockets cost.

Each engine has a service of its own, alone on the machine. At each pace of the cameras more and
more sockets play clips that pass, rendered from one real photo; a stream that ends makes room for
the next, so that as many are always open. Idle sockets are measured on a fresh service each: what
one crowd gave back, the next would find.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.evidence import Pixels
from pipeline.face.steps import FacePipeline
from serve.bench.frames import SIZES_PX, make_frame
from serve.bench.processes import DOOR, usage
from serve.bench.service import Partner, Service, environment, partner, run_service
from serve.bench.streams.clips import actor, write_clips
from serve.bench.streams.crowd import Held, Hold
from serve.bench.streams.figures import Idle, Place, Point
from serve.bench.streams.play import Play, Played
from serve.bench.tenant import call, customers_for, enrol, open_sessions
from serve.bench.watch import EVERY_S, watching
from serve.settings import EngineKind, Settings, variable

GENERATOR = "serve.bench.streams.generator"
ENGINES = (EngineKind.RAY, EngineKind.LOCAL)
SOCKETS = (1, 2, 5, 10, 20, 50)
PACES = (5.0, 8.0, 10.0)
ENROLLED_FRAME = "720x960"
ORIGIN = "http://127.0.0.1"
STAGGER_S = 4.0  # about as long as a clip: phases of the streams are spread over it
CLIP_S_MIN = 3.0  # no clip is shorter
WARM_S = 1.0
SETTLE_S = 1.0  # for what closed sockets leave to be given back
SPARE_SOCKETS = 1_000
SPARE_FILES = 256
BEFORE_START, AFTER_HELLO = "before their start", "after their hello"

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` are those of each point that count; `idle` 0 leaves idle sockets out, and `active`
    streams are played beside them.
    """

    seed: int
    engines: tuple[EngineKind, ...] = ENGINES
    sockets: tuple[int, ...] = SOCKETS
    paces: tuple[float, ...] = PACES
    seconds: float = 12.0
    idle: int = 2_000
    active: int = 50

    @property
    def files(self) -> int:
        """Open files that one process of the generator, and the front door, may need."""
        return max([self.idle + self.active, *self.sockets]) + SPARE_FILES


@dataclass(frozen=True, slots=True)
class _Stage:
    """What every measurement needs: a folder with clips for each pace, and a reference image."""

    folder: Path
    reference: bytes
    settings: Settings
    options: Options
    on_step: OnStep

    def clips(self, pace: float) -> Path:
        """Where the clips of that pace lie."""
        return self.folder / f"clips-{pace:g}"


@dataclass(frozen=True, slots=True)
class _Bench:
    """A service with customers enrolled, and the phones' process."""

    stage: _Stage
    engine: EngineKind
    service: Service
    http: aiohttp.ClientSession
    phones: Partner

    def door_bytes(self) -> int:
        """What is resident in the front door."""
        return usage(self.service.pid)[DOOR].rss_bytes


async def measure(
    settings: Settings, faces: FacePipeline, photo: Pixels, options: Options, on_step: OnStep
) -> tuple[list[Point], list[Idle]]:
    """A point for each engine, pace and number of sockets; and what idle sockets cost.

    `photo` is `(H, W, 3)` uint8 RGB with one face. Raises `no_face` for one without, and
    `server_unreachable` when a service does not start or refuses to be set up.
    """
    points: list[Point] = []
    idles: list[Idle] = []
    head = actor(faces, photo)
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name:
        reference = make_frame(photo, SIZES_PX[ENROLLED_FRAME])
        stage = _Stage(Path(name), reference, settings, options, on_step)
        for pace in options.paces:
            on_step(f"render clips of {pace:g} frames a second")
            await asyncio.to_thread(write_clips, head, stage.clips(pace), pace, options.seed)
        for engine in options.engines if options.sockets else ():
            async for point in _points(stage, engine):
                points.append(point)
                on_step(f"{engine}: {_said_of(point)}")
        for state in (BEFORE_START, AFTER_HELLO) if options.idle else ():
            idle, beside = await _idle(stage, options.engines[0], state)
            idles.append(idle)
            points += beside
            on_step(f"{idle.engine}: {idle.open} {state} take {idle.kib_each:.1f} KiB each")
    return points, idles


async def _points(stage: _Stage, engine: EngineKind) -> AsyncIterator[Point]:
    options = stage.options
    tokens_max = _tokens(max(options.sockets), options.seconds)
    async with _service(stage, engine, "points", tokens_max) as bench:
        await _warm(bench, min(options.sockets))
        for pace in options.paces:
            for sockets in options.sockets:
                yield await _measured(bench, Place(engine, sockets, pace))


async def _measured(bench: _Bench, place: Place, first: int = 0) -> Point:
    """The point of `place`; its sessions are those of the customers from `first` on."""
    seconds = bench.stage.options.seconds
    number = _tokens(place.sockets, seconds)
    tokens = await open_sessions(bench.http, number, "", first)
    async with watching(bench.service, bench.http) as seen:
        played = await _play(bench, place, tokens, STAGGER_S)
    return Point(place, played, seen.spent, seen.lost, seen.others(played.cpu_s))


async def _play(bench: _Bench, place: Place, tokens: tuple[str, ...], after_s: float) -> Played:
    seconds = bench.stage.options.seconds
    clips = str(bench.stage.clips(place.frames_per_s))
    plan = Play(bench.service.url, clips, tokens, place.sockets, after_s + seconds, after_s)
    return Played(**await bench.phones.ask({"play": asdict(plan)}))


async def _warm(bench: _Bench, sockets: int, first: int = 0) -> None:
    """A stream on each socket that counts for nothing: arenas grow, connections are made."""
    tokens = await open_sessions(bench.http, sockets, "", first)
    clips = str(bench.stage.clips(bench.stage.options.paces[0]))
    plan = Play(bench.service.url, clips, tokens, sockets, WARM_S, 0.0)
    await bench.phones.ask({"play": asdict(plan)})


async def _idle(stage: _Stage, engine: EngineKind, state: str) -> tuple[Idle, list[Point]]:
    """What that many idle sockets cost; beside those that had their hello, streams are played."""
    options = stage.options
    first = customers_for(options.idle)
    async with AsyncExitStack() as stack:
        name = state.replace(" ", "-")
        bench = await stack.enter_async_context(_service(stage, engine, name, options.idle))
        crowd = await stack.enter_async_context(partner(GENERATOR))
        has_hello = state == AFTER_HELLO
        beside_max = _tokens(options.active, options.seconds)
        await enrol(bench.http, ORIGIN, stage.reference, beside_max, first)
        await _warm(bench, options.active, first)
        tokens = await open_sessions(bench.http, options.idle, "") if has_hello else ()
        before = bench.door_bytes()
        plan = Hold(bench.service.url, options.idle, tokens)
        Held(**await crowd.ask({"hold": asdict(plan)}))
        full, points, beside = bench.door_bytes(), list[Point](), None
        if has_hello and options.active:
            place = Place(engine, options.active, options.paces[0], options.idle)
            sampling = asyncio.create_task(_most(bench))
            points = [await _measured(bench, place, first)]
            sampling.cancel()
            beside = await sampling
        held = Held(**await crowd.ask({}))
        await asyncio.sleep(SETTLE_S)
        idle = Idle(
            engine, state, options.idle, held.open, held.seconds, held.refused, before, full,
            bench.door_bytes(), beside,
        )  # fmt: skip
        return idle, points


async def _most(bench: _Bench) -> int:
    """The most that was resident in the front door until this is canceled."""
    most = bench.door_bytes()
    try:
        while True:
            await asyncio.sleep(EVERY_S)
            most = max(most, bench.door_bytes())
    except asyncio.CancelledError:
        return most


@asynccontextmanager
async def _service(
    stage: _Stage, engine: EngineKind, name: str, sessions_max: int
) -> AsyncIterator[_Bench]:
    """A service with this engine, customers enough for so many sessions, and phones."""
    data_dir = stage.folder / f"{engine}-{name}"
    stage.on_step(f"{engine}: start the service")
    async with (
        run_service(data_dir, _environment(stage, engine)) as service,
        partner(GENERATOR) as phones,
    ):
        tenant: dict[str, Any] = json.loads((data_dir / "demo.json").read_bytes())
        headers = {"Authorization": f"Bearer {tenant['test_api_key']}"}
        async with aiohttp.ClientSession(service.url, headers=headers) as http:
            await enrol(http, ORIGIN, stage.reference, sessions_max)
            await call(http, "PATCH", "/api/v1/tenant", {"liveness_policy": "required"})
            yield _Bench(stage, engine, service, http, phones)


def _environment(stage: _Stage, engine: EngineKind) -> dict[str, str]:
    """With room for every socket, however long they wait, and for the fastest camera."""
    options, stream = stage.options, stage.settings.stream
    sockets = str(options.files + SPARE_SOCKETS)
    pace = max(stream.frames_per_s_max, *options.paces)
    return {
        **environment(stage.settings, engine),
        variable("server", "connections_max"): sockets,
        variable("server", "connections_per_address_max"): sockets,
        variable("stream", "sockets_max"): sockets,
        variable("stream", "start_seconds_max"): "60",
        variable("stream", "frames_per_s_max"): f"{pace:g}",
    }


def _tokens(sockets: int, seconds: float) -> int:
    """Sessions enough for that many sockets, each stream taking at least as long as a clip."""
    return sockets * (ceil((STAGGER_S + seconds) / CLIP_S_MIN) + 1)


def _said_of(point: Point) -> str:
    lost = f", lost: {', '.join(point.lost)}" if point.lost else ""
    return (
        f"{point.place}: {point.examined_per_s:.1f} of {point.made_per_s:.1f} frames/s examined, "
        f"{point.approved} of {point.streams} approved{lost}"
    )
