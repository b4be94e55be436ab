"""The models inside this process: for small installs, for tests, and in place of a lost engine."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pipeline.face.steps import SELFIE, Plan
from serve.errors import Code, ServeError
from serve.inference.batching import retry_after_s
from serve.inference.parcels import Outcome, Parcel, outcome_of
from serve.inference.room import Layout, Room, Runner
from serve.observe import metrics


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, and how long: `queue_max` images, each `timeout_s` seconds in all."""

    workers: int
    queue_max: int
    timeout_s: float


class LocalFaces:
    """`serve.ports.Faces` over a pipeline in this process; lives as long as its `async with`."""

    def __init__(self, runner: Runner, limits: Limits) -> None:
        self._room = Room(runner, Layout(limits.workers, limits.queue_max))
        self._timeout_s = limits.timeout_s
        self._is_open = False
        self._asked = 0

    @property
    def waiting(self) -> int:
        """Images that no worker has taken yet."""
        return self._room.waiting

    async def __aenter__(self) -> Self:
        await self._room.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take nothing more and finish what was taken: within `timeout_s` nothing waits."""
        self._is_open = False
        await self._room.__aexit__(kind, error, trace)

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """See `serve.ports.Faces`."""
        if not self._is_open:
            raise ServeError(Code.SERVICE_UNAVAILABLE, "the engine is closing", retry_after_s=1)
        if not self._room.has_room(tenant_id, let_in - self._asked):
            raise ServeError(
                Code.OVERLOADED,
                f"{self.waiting} images are waiting",
                retry_after_s=self._retry_after_s(),
            )

    def wait_s(self, tenant_id: str) -> float:
        """See `serve.ports.Faces`."""
        return self._room.wait_s(tenant_id)

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> Outcome:
        """See `serve.ports.Faces`; a caller that is cancelled takes its image with it."""
        self.admit(tenant_id)
        loop = asyncio.get_running_loop()
        arrived_s = loop.time()
        self._asked += 1
        try:
            answer = await self._room.examine(Parcel(image, tenant_id, plan, self._timeout_s))
        finally:
            self._asked -= 1
            metrics.set_queue(self.waiting)
            report = self._room.report()
            metrics.observe_batches(report.batches, report.cpu_s)
        outcome = outcome_of(answer, self._retry_after_s())
        metrics.observe_engine(loop.time() - arrived_s)
        return outcome

    def _retry_after_s(self) -> int:
        return retry_after_s(self.waiting, self._room.slots, self._room.image_s)
