"""The `Faces` port over toy faces, with the troubles of a real engine on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import SELFIE, Plan
from serve.errors import ServeError
from tests.helpers.builders import a_trace
from tests.helpers.toy_faces import ToyFaces


@dataclass(slots=True)
class ScriptedFaces:
    """What toy images show. `asked` are the images so far, and `plans` what was asked of each;
    `trouble` is raised for the next. A frame of a clip shows no face to follow.
    """

    engine: ToyFaces = field(default_factory=ToyFaces)
    asked: list[str] = field(default_factory=list)
    trouble: ServeError | None = None
    plans: list[Plan] = field(default_factory=list)
    _arrived: asyncio.Event | None = None
    _opened: asyncio.Event | None = None

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """Raises the trouble of `examine`, which keeps it."""
        if self.trouble is not None:
            raise self.trouble

    def wait_s(self, tenant_id: str) -> float:
        """Nothing waits."""
        return 0.0

    async def examine(
        self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE
    ) -> FaceEvidence | Failure:
        self.asked.append(image.decode())
        self.plans.append(plan)
        if self._arrived is not None and self._opened is not None:
            self._arrived.set()
            await self._opened.wait()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        (evidence,) = self.engine.run([image])
        if isinstance(evidence, Failure):
            return evidence
        if plan.trace:
            return replace(evidence, trace=a_trace())
        return replace(evidence, chip=np.full((150, 150, 3), 127, np.uint8) if plan.chip else None)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Event]:
        """Whoever asks waits until the block ends; the event says that somebody does."""
        arrived, opened = self._arrived, self._opened = asyncio.Event(), asyncio.Event()
        try:
            yield arrived
        finally:
            self._arrived = self._opened = None
            opened.set()
