"""A front door's end of the link for images: the `Faces` port, looked at by the engine."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pipeline.face.steps import SELFIE, Plan
from serve.errors import Code, ServeError
from serve.inference.batching import ahead_of, expected
from serve.inference.link import messages
from serve.inference.link.reach import Reach
from serve.inference.parcels import Answer, Flag, Lapse, Outcome, outcome_of, unpack
from serve.observe import metrics

BYTES_MAX = 2**28
"""Bytes of images that one door has with the engine at once; an image alone is always let in."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an image may take in all, and how many bytes of them may be under way."""

    timeout_s: float
    bytes_max: int = BYTES_MAX


class LinkedFaces:
    """`serve.ports.Faces` over the engine that is reached."""

    def __init__(self, reach: Reach, limits: Limits) -> None:
        self.reach = reach
        self._limits = limits
        self._tenants: Counter[str] = Counter()  # images under way
        self._bytes = 0

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """See `serve.ports.Faces`. The queue is known as it was some milliseconds ago.

        When it is full, a tenant with less than a fair share of this door's images is let in.
        """
        engine = self.reach.reached()
        self._check_bytes(1)
        coming = expected(let_in - self._tenants.total(), engine.queue_max)
        if engine.waiting + coming < engine.queue_max:
            return
        own, others = self._tenants[tenant_id], self._tenants.keys() - {tenant_id}
        if own and own * (len(others) + 1) >= self._tenants.total():
            detail = f"{engine.waiting} images are waiting"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=engine.retry_after_s)

    def wait_s(self, tenant_id: str) -> float:
        """See `serve.ports.Faces`. Of the queue only its length is known here; it is taken to hold
        the tenants' images in the proportion in which this door has asked about them.
        """
        engine = self.reach.engine
        if engine is None or not self._tenants:
            return 0.0
        others = (number for name, number in self._tenants.items() if name != tenant_id)
        ahead = ahead_of(self._tenants.get(tenant_id, 0), others)
        return engine.waited_s(ahead * engine.waiting / self._tenants.total())

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> Outcome:
        """See `serve.ports.Faces`; a caller that is cancelled takes its image with it."""
        engine = self.reach.reached()
        self._check_bytes(len(image))
        loop = asyncio.get_running_loop()
        arrived_s, timeout_s = loop.time(), self._limits.timeout_s
        number = self.reach.next_number()
        parts = messages.examine(number, tenant_id, image, timeout_s, Flag.of(plan))
        answer: Answer = Lapse.EXPIRED
        with self._counted(tenant_id, len(image)), suppress(TimeoutError):
            async with asyncio.timeout_at(arrived_s + timeout_s):
                answer = unpack(await engine.ask(number, parts))
        outcome = outcome_of(answer, engine.retry_after_s)
        metrics.observe_engine(loop.time() - arrived_s)
        return outcome

    def _check_bytes(self, size: int) -> None:
        if self._bytes and self._bytes + size > self._limits.bytes_max:
            detail = f"{self._bytes} bytes of images are under way"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=1)

    @contextmanager
    def _counted(self, tenant_id: str, size: int) -> Iterator[None]:
        """An image is under way."""
        self._tenants[tenant_id] += 1
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            self._tenants[tenant_id] -= 1
            if not self._tenants[tenant_id]:
                del self._tenants[tenant_id]
