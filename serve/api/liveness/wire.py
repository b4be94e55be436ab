"""Requests about liveness and age as models."""

from pydantic import Field

from pipeline.liveness.challenge import Step
from serve.api.wire import Body, Token
from serve.domain.liveness.limits import ADVISORY_FRAMES_MAX, ADVISORY_FRAMES_MIN


class ChallengeBody(Body):
    """Whose challenge."""

    token: Token | None = Field(default=None, repr=False)
    """The session token, unless `Authorization: Bearer` carries it."""


class ActiveLivenessBody(Body):
    """A clip that belongs to no session."""

    frames: tuple[str, ...] = Field(
        min_length=ADVISORY_FRAMES_MIN, max_length=ADVISORY_FRAMES_MAX, repr=False
    )
    """Images in their order, each in base64 or as a data URL; all of one size, 512 KiB and four
    million pixels at most, and within the body of this route, 10 MiB unless it is set otherwise.
    """
    challenge: Step = Step.HEAD_TURN
    """What they are to show."""


class AgeBody(Body):
    """Somebody's face."""

    image: str = Field(repr=False)
    """The image of a face, in base64 or as a data URL."""
