"""A room over a pipeline that is held at its gates, and the callers who come to it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import SELFIE, Plan
from serve.inference.parcels import Answer, Lapse, Outcome, Parcel
from serve.inference.room import Layout, Room
from tests.helpers.builders import face_evidence
from tests.serve.inference.toy_runner import PATIENCE_S

A, B = "ten_a", "ten_b"
FAILURES = {b"corrupt": Code.IMAGE_CORRUPT, b"device": Code.DEVICE_ERROR}


def parcel(
    image: str | int,
    tenant_id: str = A,
    remaining_s: float = PATIENCE_S,
    *,
    plan: Plan = SELFIE,
) -> Parcel:
    return Parcel(str(image).encode(), tenant_id, plan, remaining_s)


class Gate:
    """Threads wait here until they are let go; a test waits for them to come."""

    def __init__(self) -> None:
        self._came = threading.Semaphore(0)
        self._open = threading.Semaphore(0)

    def go_through(self) -> None:
        self._came.release()
        assert self._open.acquire(timeout=PATIENCE_S)

    async def came(self, times: int = 1) -> None:
        for _ in range(times):
            assert await asyncio.to_thread(self._came.acquire, timeout=PATIENCE_S)

    def let_go(self, times: int = 1000) -> None:
        """As many, now or when they come."""
        self._open.release(times)


class Scripted:
    """A pipeline held at its gates. An image is its number, or what happens to it: `corrupt` and
    `device` fail, `defect` breaks its batch, `undecodable` its decoding.
    """

    def __init__(self) -> None:
        self.decoded: list[list[bytes]] = []
        self.batches: list[list[bytes]] = []
        self.plans: list[Sequence[Plan]] = []
        self.decoding, self.running = Gate(), Gate()

    def prepare(self, images: Sequence[bytes]) -> list[bytes]:
        if not images:
            return []
        self.decoded.append(list(images))
        self.decoding.go_through()
        if b"undecodable" in images:
            raise RuntimeError("a defect")
        return [b"decoded " + image for image in images]

    def complete(self, prepared: Sequence[bytes], plans: Sequence[Plan]) -> list[Outcome]:
        images = [each.removeprefix(b"decoded ") for each in prepared]
        assert images != list(prepared)
        self.batches.append(images)
        self.plans.append(plans)
        self.running.go_through()
        if b"defect" in images:
            raise RuntimeError("a defect")
        return [
            Failure(FAILURES[image], "no")
            if image in FAILURES
            else face_evidence(width_px=int(image))
            for image in images
            if image != b"forgotten"
        ]


@asynccontextmanager
async def opened(
    runner: Scripted, *, holds_decoding: bool = False, **layout: int
) -> AsyncIterator[Room]:
    """A room of one slot, unless told otherwise; with the block every gate opens."""
    if not holds_decoding:
        runner.decoding.let_go()
    async with Room(runner, Layout(**{"slots": 1, "queue_max": 64, **layout})) as room:
        try:
            yield room
        finally:
            runner.decoding.let_go()
            runner.running.let_go()


Asked = asyncio.Task[Answer]


async def ask(
    room: Room, *images: str | int, tenant_id: str = A, remaining_s: float = PATIENCE_S
) -> list[Asked]:
    """Callers that come in one go, all of them waiting by now."""
    tasks = [asyncio.create_task(room.examine(parcel(each, tenant_id, remaining_s)))
             for each in images]  # fmt: skip
    for _ in range(2):  # each runs up to its wait, and then the room looks at them all
        await asyncio.sleep(0)
    return tasks


async def said(tasks: Sequence[Asked]) -> list[int | Lapse | Code]:
    """The number in each answer, or why there is none."""
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*tasks)
    return [
        answer
        if isinstance(answer, Lapse)
        else answer.width_px
        if isinstance(answer, FaceEvidence)
        else Code(answer.code)
        for answer in answers
    ]


def numbers(*images: int) -> list[bytes]:
    return [str(number).encode() for number in images]
