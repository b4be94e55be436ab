"""Models and an index of a door's own, for when the engine cannot be reached."""

from collections.abc import Sequence

from pipeline.face.steps import SELFIE, Plan
from serve.errors import Code, ServeError
from serve.inference.link.reach import EngineLostError
from serve.inference.parcels import Outcome
from serve.observe import metrics
from serve.ports import FaceIndex, Faces
from serve.ports.search import Asked, Found, ShardStatus


class FallbackFaces:
    """Asks `second` whenever `first` has no engine, and for what `first` lost with its engine."""

    def __init__(self, first: Faces, second: Faces) -> None:
        self._first = first
        self._second = second

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """See `serve.ports.Faces`."""
        try:
            self._first.admit(tenant_id, let_in)
        except EngineLostError:
            self._second.admit(tenant_id, let_in)

    def wait_s(self, tenant_id: str) -> float:
        """See `serve.ports.Faces`. Nothing is known of a lost engine's queue, and of a second one
        that is not asked nothing waits.
        """
        return max(self._first.wait_s(tenant_id), self._second.wait_s(tenant_id))

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> Outcome:
        """See `serve.ports.Faces`."""
        try:
            return await self._first.examine(image, tenant_id=tenant_id, plan=plan)
        except EngineLostError:
            metrics.count_fallback()
            return await self._second.examine(image, tenant_id=tenant_id, plan=plan)


class FallbackIndex:
    """Asks `second` whenever `first` cannot be asked, or could not look at everybody."""

    def __init__(self, first: FaceIndex, second: FaceIndex) -> None:
        self._first = first
        self._second = second

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        try:
            found = await self._first.search(asked)
        except ServeError as error:
            if error.code is not Code.SERVICE_UNAVAILABLE:
                raise
        else:
            if found.is_complete:
                return found
        return await self._second.search(asked)

    async def statuses(self) -> Sequence[ShardStatus]:
        """Of both."""
        return [*await self._first.statuses(), *await self._second.statuses()]
