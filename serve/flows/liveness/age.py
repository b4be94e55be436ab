"""The age of the largest face in a picture that belongs to nobody: nothing of it is kept."""

from dataclasses import dataclass

from pipeline.errors import Failure
from pipeline.evidence import Age, Missing
from pipeline.face.steps import AGE
from serve.deps import Deps
from serve.domain.liveness.age import AgeReading, read_age
from serve.domain.tenancy.api_key import Principal
from serve.flows.liveness.advisory import unreadable


@dataclass(frozen=True, slots=True)
class AgeAnswer:
    """Whether there is a model of age and a face, and what it reads of the face."""

    is_available: bool
    is_found: bool
    reading: AgeReading | None


async def estimate_age(deps: Deps, principal: Principal, image: bytes) -> AgeAnswer:
    """Look at a picture. Raises the code of an unreadable one as `CaptureUnfit`, and
    `overloaded` or `service_unavailable`.
    """
    evidence = await deps.faces.examine(image, tenant_id=principal.tenant_id, plan=AGE)
    if isinstance(evidence, Failure):
        raise unreadable(evidence)
    is_found, age = bool(evidence.detections), evidence.age
    reading = read_age(age.years) if isinstance(age, Age) and is_found else None
    return AgeAnswer(age is not Missing.MODEL_UNAVAILABLE, is_found, reading)
