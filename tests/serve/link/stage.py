"""The engine's end of the link at work, over a dispatcher and an index in a test's hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.face.steps import REFERENCE, SELFIE
from serve.inference.link import messages
from serve.inference.link.messages import SAID_BY_ENGINES, Kind
from serve.inference.link.server import Limits, Work, serve_link
from serve.inference.parcels import Flag, Parcel
from serve.ports.search import Asked, Found
from tests.serve.link.ends import PATIENCE_S, End

MODEL, QUEUE_MAX = "a model", 64
AT_ONCE = Limits(drain_s=0)


class Scripted:
    """A dispatcher that answers an image when it is told to, with the image's own bytes."""

    def __init__(self) -> None:
        self.waiting = 0
        self.rate_per_s = 0.0
        self.parcels: list[Parcel] = []
        self.canceled: asyncio.Queue[bytes] = asyncio.Queue()
        self.arrived: asyncio.Queue[Parcel] = asyncio.Queue()
        self._answers: dict[bytes, asyncio.Future[bytes]] = {}

    async def examine(self, parcel: Parcel) -> bytes:
        if parcel.image == b"defect":
            raise RuntimeError("a defect")
        self._answers[parcel.image] = asyncio.get_running_loop().create_future()
        self.parcels.append(parcel)
        self.arrived.put_nowait(parcel)
        try:
            return await self._answers[parcel.image]
        except asyncio.CancelledError:
            self.canceled.put_nowait(parcel.image)
            raise

    async def arrive(self, count: int = 1) -> None:
        """Wait for as many more images."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                await self.arrived.get()

    def answer(self, image: bytes, packed: bytes | None = None) -> None:
        """Answer an image that has arrived."""
        self._answers[image].set_result(image if packed is None else packed)


class ScriptedIndex:
    """An index that answers a search when it is told to; by then it may have been cancelled."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Asked] = asyncio.Queue()
        self.canceled: asyncio.Queue[Asked] = asyncio.Queue()
        self.answers: asyncio.Queue[Found | Exception] = asyncio.Queue()

    async def search(self, asked: Asked) -> Found:
        self.arrived.put_nowait(asked)
        try:
            answer = await self.answers.get()
        except asyncio.CancelledError:
            self.canceled.put_nowait(asked)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Stage:
    """An engine over a scripted dispatcher, and the doors that a test has made."""

    path: Path
    dispatcher: Scripted
    index: ScriptedIndex = field(default_factory=ScriptedIndex)
    doors: list[End] = field(default_factory=list)

    async def connected(self) -> End:
        """A door that has read nothing yet."""
        door = End(*await asyncio.open_unix_connection(self.path), SAID_BY_ENGINES)
        self.doors.append(door)
        return door

    async def door(self) -> End:
        """A door that has been greeted."""
        door = await self.connected()
        assert (await door.next()).head.kind == Kind.HELLO
        assert (await door.next()).head.kind == Kind.STATE
        return door


@asynccontextmanager
async def a_stage(path: Path) -> AsyncIterator[Stage]:
    """A stage whose doors are closed last."""
    stage = Stage(path, Scripted())
    try:
        yield stage
    finally:
        for door in stage.doors:
            await door.hang_up()


@asynccontextmanager
async def engine(path: Path, limits: Limits = AT_ONCE) -> AsyncIterator[Stage]:
    """The engine's end at work."""
    async with (
        a_stage(path) as stage,
        serve_link(path, Work(stage.dispatcher, MODEL, QUEUE_MAX, stage.index), limits),
    ):
        yield stage


def ask(door: End, number: int, image: bytes = b"", *, chip: bool = False) -> None:
    """Have an image examined, by default one named like its number."""
    image = image or str(number).encode()
    door.send(messages.examine(number, "ten_a", image, 1.5, Flag.of(REFERENCE if chip else SELFIE)))
