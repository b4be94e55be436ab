"""A process without models: commands that only read or write records."""

from typing import NoReturn

from pipeline.face.steps import SELFIE, Plan
from serve.errors import Code, ServeError


class AbsentFaces:
    """Stands where `Faces` and `Comparator` stand, and refuses: no score is ever made up."""

    def admit(self, tenant_id: str, let_in: int = 0) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse(tenant_id, let_in)

    def wait_s(self, tenant_id: str) -> float:  # noqa: ARG002 (the port's)
        """Nothing waits here."""
        return 0.0

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse(image, tenant_id, plan)

    def compare(self, reference: object, probe: object, /) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse(reference, probe)

    @property
    def dimension(self) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse()

    def similarity(self, native: float) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse(native)

    def native(self, similarity: float) -> NoReturn:
        """Raises `service_unavailable`."""
        _refuse(similarity)


def _refuse(*_asked: object) -> NoReturn:
    raise ServeError(Code.SERVICE_UNAVAILABLE, "this process has no models")
