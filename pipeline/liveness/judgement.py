"""What came of a clip: passed or not, how sure, and every reason against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pipeline.evidence import Feedback, Missing, PassiveLiveness, Template

SCORE_MIN = 0.5  # at or above it a clip passed


class Doubt(StrEnum):
    """The closed set of reasons against a clip; `description` is the sentence of each."""

    FRAMES_TOO_FEW = "frames_too_few"
    FACE_LOST = "face_lost"
    STEP_NOT_SEEN = "step_not_seen"
    STEP_NOT_ASKED = "step_not_asked"
    HEAD_FLAT = "head_flat"
    IDENTITY_CHANGED = "identity_changed"
    MOTION_BROKEN = "motion_broken"
    FRAMES_REPEATED = "frames_repeated"
    CLOCK_IMPLAUSIBLE = "clock_implausible"
    LIGHT_NOT_ANSWERED = "light_not_answered"
    ATTACK_DETECTED = "attack_detected"

    @property
    def description(self) -> str:
        """One sentence."""
        return DESCRIPTIONS[self]


DESCRIPTIONS: Mapping[Doubt, str] = MappingProxyType(
    {
        Doubt.FRAMES_TOO_FEW: "Too few frames show a face that can be judged.",
        Doubt.FACE_LOST: "The face left the picture on the way.",
        Doubt.STEP_NOT_SEEN: "A step of the challenge was not seen, or not in its order.",
        Doubt.STEP_NOT_ASKED: "Something was done that the challenge does not ask for.",
        Doubt.HEAD_FLAT: "The head moved as a flat picture does.",
        Doubt.IDENTITY_CHANGED: "Not all frames show the same face.",
        Doubt.MOTION_BROKEN: "The face jumped from one frame to the next.",
        Doubt.FRAMES_REPEATED: "Frames come more than once.",
        Doubt.CLOCK_IMPLAUSIBLE: "The times of the frames are none that a camera gives.",
        Doubt.LIGHT_NOT_ANSWERED: "The face did not answer to the light of the screen.",
        Doubt.ATTACK_DETECTED: "A frame does not appear to show a live person.",
    }
)


@dataclass(frozen=True, slots=True)
class Look:
    """What the dearer models say of a key frame: its template, and whether it is an attack."""

    template: Template | Missing = field(repr=False)
    passive_liveness: PassiveLiveness | Missing


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for a clip.

    `score` is 0 to 1, `SCORE_MIN` or more exactly where there is no doubt. `signals` are the
    numbers it stands on, by the names that `pipeline.liveness.signals` documents.
    `best_shot` is the number of the frame to compare with the reference, None where no frame is
    fit; `feedback` then says why. Where `is_judged` is false nothing was judged: no frame shows
    one face alone, and the clip is to be taken again.
    """

    doubts: tuple[Doubt, ...]
    score: float
    signals: Mapping[str, float]
    best_shot: int | None
    is_judged: bool = True
    feedback: tuple[Feedback, ...] = ()
    passive_liveness: PassiveLiveness | Missing = field(default=Missing.MODEL_UNAVAILABLE)

    @property
    def is_passed(self) -> bool:
        """Whether the challenge was passed."""
        return self.is_judged and not self.doubts
