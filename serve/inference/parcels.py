"""What travels between a front door, the engine and its replicas: images one way, answers back.

Deadlines travel as seconds that are left: the clocks of two machines do not agree.
"""

import copyreg
import pickle
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Any

from pipeline.errors import Failure
from pipeline.evidence import (
    Age,
    Box,
    Detection,
    FaceEvidence,
    Mesh,
    PassiveLiveness,
    Pose,
    Quality,
    Template,
    Trace,
)
from pipeline.face.steps import Plan
from serve.errors import Code, ServeError


class Lapse(StrEnum):
    """Why an image was not looked at, through no fault of its own; it may be sent again."""

    OVERLOADED = "overloaded"  # the queue is full, or somebody with less in it needed the room
    EXPIRED = "expired"  # its deadline passed first
    CANCELED = "canceled"  # nobody waits for it any more
    LOST = "lost"  # whoever looked at it died, or broke on it


Outcome = FaceEvidence | Failure
Answer = Outcome | Lapse


@dataclass(frozen=True, slots=True)
class Parcel:
    """One encoded image on its way to the models, with `remaining_s` seconds to its deadline."""

    image: bytes = field(repr=False)
    tenant_id: str
    plan: Plan
    remaining_s: float


class Flag(IntFlag):
    """A plan as it travels: what is asked for beyond detection, mesh, pose and quality."""

    NONE = 0
    CHIP = 1
    TEMPLATE = 2
    PASSIVE_LIVENESS = 4
    AGE = 8
    TRACE = 16

    @classmethod
    def of(cls, plan: Plan) -> "Flag":
        """What stands for `plan`."""
        found = cls.NONE
        for flag in cls:
            if getattr(plan, str(flag.name).lower()):
                found |= flag
        return found

    @property
    def plan(self) -> Plan:
        """The plan that it stands for."""
        return Plan(**{str(flag.name).lower(): flag in self for flag in Flag})


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica did since its last report, and how it stands.

    `batches` are the images of each device batch, `cpu_s` the processor seconds of its threads,
    `waiting` the images not yet taken, `image_s` the wall seconds an image takes one slot.
    """

    batches: tuple[int, ...] = ()
    cpu_s: float = 0.0
    waiting: int = 0
    image_s: float = 0.0
    slots: int = 1


def _take_apart(value: Any) -> tuple[type, tuple[Any, ...]]:  # noqa: ANN401 (of EVIDENCE)
    return type(value), tuple(getattr(value, name) for name in type(value).__slots__)


EVIDENCE = (
    FaceEvidence, Failure, Detection, Box, Mesh, Pose, Quality, Template, Age, PassiveLiveness,
    Trace,
)  # fmt: skip
for _kind in EVIDENCE:  # twice as fast as what frozen dataclasses do by themselves
    copyreg.pickle(_kind, _take_apart)


def pack(answer: Answer) -> bytes:
    """An answer as bytes, for `unpack`."""
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes) -> Answer:
    """What `pack` was given. `data` comes from the install's own processes, never from a client."""
    answer: Answer = pickle.loads(data)  # noqa: S301 (see above)
    return answer


def outcome_of(answer: Answer, retry_after_s: int) -> Outcome:
    """What the models found. Raises `overloaded` or `service_unavailable` for a lapse."""
    if not isinstance(answer, Lapse):
        return answer
    if answer is Lapse.OVERLOADED:
        detail = "more images are waiting than the models can take"
        raise ServeError(Code.OVERLOADED, detail, retry_after_s=retry_after_s)
    detail = LAPSES.get(answer, "the image was not looked at")
    raise ServeError(Code.SERVICE_UNAVAILABLE, detail, retry_after_s=1)


LAPSES = {
    Lapse.EXPIRED: "no answer came in time",
    Lapse.LOST: "whoever looked at the image was lost",
}
