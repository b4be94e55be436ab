"""Replicas that a test holds in its hand, and callers of a dispatcher before them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.face.steps import SELFIE
from serve.inference.dispatch import Dispatcher, Limits
from serve.inference.parcels import Parcel, Report
from serve.observe import metrics
from tests.serve.inference.simulation import everybody_waits

TIMEOUT_S = 20.0
Asked = asyncio.Task[bytes]


def said(image: bytes) -> bytes:
    """The answer to an image, as packed by its replica."""
    return b"answer to " + image


@dataclass(slots=True)
class Envelope:
    """One call, which its test lets end."""

    parcels: Sequence[Parcel]
    end: "asyncio.Future[tuple[Sequence[bytes], Report]]"

    @property
    def images(self) -> list[bytes]:
        return [parcel.image for parcel in self.parcels]

    def answer(self, report: Report | None = None) -> None:
        """Answer each image, unless the call is over."""
        if not self.end.done():
            self.end.set_result(([said(image) for image in self.images], report or Report()))


@dataclass(slots=True)
class Replicas:
    """Whoever is called. Holds each call, or answers after `delay_s` unless `break_on` is in it."""

    delay_s: float | None = None
    break_on: bytes | None = None
    break_with: Exception = field(default_factory=lambda: RuntimeError("a defect"))
    envelopes: list[Envelope] = field(default_factory=list)

    async def __call__(self, parcels: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
        envelope = Envelope(parcels, asyncio.get_running_loop().create_future())
        self.envelopes.append(envelope)
        if self.delay_s is not None:
            await asyncio.sleep(self.delay_s)
            if self.break_on in envelope.images:
                raise self.break_with
            envelope.answer()
        return await envelope.end

    @property
    def sizes(self) -> list[int]:
        return [len(envelope.parcels) for envelope in self.envelopes]

    def answer_all(self) -> None:
        for envelope in self.envelopes:
            envelope.answer()


@asynccontextmanager
async def dispatching(
    replicas: Replicas, *, width: int = 1, queue_max: int = 256, **limits: int
) -> AsyncIterator[Dispatcher]:
    """A dispatcher before these replicas."""
    async with Dispatcher(replicas, Limits(queue_max, width, **limits)) as dispatcher:
        yield dispatcher


async def ask(
    dispatcher: Dispatcher, *images: bytes, tenant_id: str = "ten_a", timeout_s: float = TIMEOUT_S
) -> list[Asked]:
    """Callers, one for each image, who have got as far as they can."""
    parcels = [Parcel(image, tenant_id, plan=SELFIE, remaining_s=timeout_s) for image in images]
    tasks = [asyncio.create_task(dispatcher.examine(parcel)) for parcel in parcels]
    await everybody_waits()
    return tasks


def names(number: int, first: int = 0) -> list[bytes]:
    return [b"%d" % each for each in range(first, first + number)]


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"limen_engine_{name}", labels) or 0.0
