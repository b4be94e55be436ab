"""Challenges, and opinions on clips and faces that belong to no session."""

from aiohttp import web

from serve.api.answers import answered
from serve.api.call import Call
from serve.api.intake import proof
from serve.api.intake.body import IMAGE_BODY_BYTES_MAX
from serve.api.intake.frames import decoded_frames
from serve.api.liveness.answers import ActiveLivenessResponse, AgeResponse, ChallengeResponse
from serve.api.liveness.wire import ActiveLivenessBody, AgeBody, ChallengeBody
from serve.api.wire import Empty
from serve.flows.liveness import advisory, age
from serve.flows.liveness.challenge import ensure_challenge


async def read_challenge(call: Call[ChallengeBody, Empty]) -> web.Response:
    """Tells what the person is asked to do."""
    session, challenge, _ = await ensure_challenge(call.deps, call.token, call.handoff)
    body_bytes_max = call.request.app[IMAGE_BODY_BYTES_MAX]
    return answered(ChallengeResponse.of(session, challenge, body_bytes_max))


async def check_liveness(call: Call[ActiveLivenessBody, Empty]) -> web.Response:
    """Says what a clip shows."""
    body = call.body
    images = await decoded_frames(body.frames, "/frames/{}")
    advice = await advisory.check_clip(call.deps, call.tenant, images, body.challenge)
    return answered(ActiveLivenessResponse.of(advice, body.challenge))


async def estimate_age(call: Call[AgeBody, Empty]) -> web.Response:
    """Says how old a face looks."""
    image = await proof.decoded(call.body.image)
    return answered(AgeResponse.of(await age.estimate_age(call.deps, call.tenant, image)))
