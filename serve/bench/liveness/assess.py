"""A clip through the models and the rules, as a service does it; a frame seen before is not looked
at again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Template
from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from pipeline.face.steps import FRAME, Plan
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.judge import judge, key_frames
from pipeline.liveness.judgement import Judgement, Look
from pipeline.liveness.observation import Observation, observe
from pipeline.models.load import LoadedPack
from pipeline.render.perform import Clip

LOT = b"suite"
RENDERED_LOOK = Plan(age=False, passive_liveness=False)
"""What key frames of rendered clips are looked at for: passive detection is made for pictures of
real cameras, and what it says of rendered ones means nothing.
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A clip and what was observed in its frames, numbered as they came."""

    frames: tuple[bytes, ...] = field(repr=False)
    observations: tuple[Observation, ...] = field(repr=False)


class Examiner:
    """Looks at clips, with the models of a pack. Threads may share it."""

    def __init__(self, pack: LoadedPack, plan: Plan = RENDERED_LOOK) -> None:
        self._pack = pack
        self._plan = plan
        self._observed: dict[bytes, Observation] = {}
        self._looks: dict[bytes, Look] = {}

    def watch(self, clip: Clip) -> Watched:
        """Observe each frame. The frames must be pictures that decode."""
        digests = [hashlib.sha256(frame).digest() for frame in clip.frames]
        new = {
            digest: frame
            for digest, frame in zip(digests, clip.frames, strict=True)
            if digest not in self._observed
        }
        outcomes = self._pack.faces.run(list(new.values()), FRAME)
        for digest, outcome in zip(new, outcomes, strict=True):
            self._observed[digest] = observe(_evidence(outcome), 0, digest)
        observations = tuple(
            replace(self._observed[digest], number=number, captured_ms=float(captured_ms))
            for number, (digest, captured_ms) in enumerate(
                zip(digests, clip.captured_ms, strict=True)
            )
        )
        return Watched(clip.frames, observations)

    def judge(self, steps: Sequence[Step], watched: Watched) -> Judgement:
        """Judge a clip against a challenge; its key frames are looked at closely."""
        asked = Asked(tuple(steps), LOT)
        numbers = key_frames(asked, watched.observations)
        digests = {number: watched.observations[number].digest for number in numbers}
        new = {
            digest: watched.frames[number]
            for number, digest in digests.items()
            if digest not in self._looks
        }
        outcomes = self._pack.faces.run(list(new.values()), self._plan)
        for digest, outcome in zip(new, outcomes, strict=True):
            evidence = _evidence(outcome)
            self._looks[digest] = Look(evidence.template, evidence.passive_liveness)
        looks = {number: self._looks[digest] for number, digest in digests.items()}
        return judge(asked, watched.observations, looks, self._is_same)

    def _is_same(self, one: Template, other: Template) -> bool:
        compared = self._pack.scale.compare(one, other)
        return compared.similarity >= VERIFY_THRESHOLD_SIMILARITY


def assess_clip(
    pack: LoadedPack, steps: Sequence[Step], clip: Clip, plan: Plan = RENDERED_LOOK
) -> Judgement:
    """Judge one clip."""
    examiner = Examiner(pack, plan)
    return examiner.judge(steps, examiner.watch(clip))


def _evidence(outcome: FaceEvidence | Failure) -> FaceEvidence:
    assert isinstance(outcome, FaceEvidence), "a frame of the suite does not decode"
    return outcome
