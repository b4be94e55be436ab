"""What a clip that belongs to no session shows: an opinion, which no session ever hears of.

Nobody drew the challenge, nothing binds the frames to this moment, and nothing is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import Failure
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.judge import key_frames
from pipeline.liveness.judgement import Doubt, Judgement
from serve.deps import Deps
from serve.domain.liveness.challenge import LOT_BYTES
from serve.domain.tenancy.api_key import Principal
from serve.errors import STATUSES, CaptureUnfit, Code, ServeError
from serve.flows.liveness.clip import ClipFrame
from serve.flows.liveness.look import judged, looks_of, observed
from serve.observe import metrics


@dataclass(frozen=True, slots=True)
class Advice:
    """What came of a clip of so many frames; `doubts` are never empty where it is not live."""

    judgement: Judgement
    frames: int

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Every reason against it."""
        found = self.judgement.doubts
        return found if found or self.judgement.is_judged else (Doubt.FACE_LOST,)


async def check_clip(
    deps: Deps, principal: Principal, images: Sequence[bytes], step: Step
) -> Advice:
    """Look for one step in frames that come in their order, without times.

    Raises the code of an unreadable frame as `CaptureUnfit`, and `overloaded` or
    `service_unavailable`.
    """
    tenant_id = principal.tenant_id
    observations = await observed(deps, tenant_id, [ClipFrame(image) for image in images])
    if isinstance(observations, Failure):
        raise unreadable(observations)
    asked = Asked((step,), deps.random(LOT_BYTES))
    kept = {number: images[number] for number in key_frames(asked, observations)}
    looks = await looks_of(deps, tenant_id, kept)
    if isinstance(looks, Failure):
        raise unreadable(looks)
    return Advice(await judged(deps, asked, observations, looks), len(observations))


def unreadable(failure: Failure) -> ServeError:
    """What a picture that nobody can read is refused with."""
    if STATUSES.get(failure.code) != 422:
        return ServeError(Code.SERVICE_UNAVAILABLE, "the models failed", retry_after_s=1)
    metrics.count_unfit(failure.code)
    return CaptureUnfit(failure.code, failure.detail, feedback=("other",))
