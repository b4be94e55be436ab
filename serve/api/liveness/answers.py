"""Responses about liveness and age, the advisory ones with names exact as the seed they come from.

What the holder of a session token is told holds no score.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field

from pipeline.liveness.challenge import Step
from pipeline.liveness.judgement import SCORE_MIN, Doubt
from serve.api.answers import Timestamp, timestamp
from serve.api.wire import Wire
from serve.domain.liveness.age import AgeBand, AgeReading
from serve.domain.liveness.challenge import Challenge
from serve.domain.liveness.limits import (
    FRAME_BYTES_MAX,
    FRAME_PIXELS_MAX,
    FRAMES_MAX,
    FRAMES_MIN,
)
from serve.domain.session import Session
from serve.domain.verifications.told import told_score
from serve.flows.liveness.advisory import Advice
from serve.flows.liveness.age import AgeAnswer

SIGNAL_DIGITS = 4

Nonce = Annotated[str, Field(pattern="^[0-9a-f]{32}$", repr=False)]


class ClipLimitsResponse(Wire):
    """What a clip in one request may be."""

    frames_min: int = FRAMES_MIN
    frames_max: int = FRAMES_MAX
    frame_bytes_max: int = FRAME_BYTES_MAX
    frame_pixels_max: int = FRAME_PIXELS_MAX
    body_bytes_max: int
    """Of all of the JSON, where an image in base64 is a third longer."""


class ChallengeResponse(Wire):
    """What the person is asked to do, the same until there is a verdict."""

    steps: tuple[Step, ...]
    """To be done in this order."""
    nonce: Nonce
    """Goes with the frames: they count for this attempt alone."""
    limits: ClipLimitsResponse
    expires_at: Timestamp
    """When the session takes no captures any more."""

    @classmethod
    def of(cls, session: Session, challenge: Challenge, body_bytes_max: int) -> Self:
        """`challenge` on the wire, for a front door that takes bodies of so many bytes."""
        return cls(
            steps=challenge.steps,
            nonce=challenge.nonce,
            limits=ClipLimitsResponse(body_bytes_max=body_bytes_max),
            expires_at=timestamp(session.expires_at_ms),
        )


class ActiveLivenessResponse(Wire):
    """An opinion on a clip that belongs to no session; no session hears of it."""

    is_live: bool
    score: Annotated[float, Field(ge=0.0, le=1.0)]
    """0.5 or more exactly where nothing speaks against it."""
    method: Literal["motion_challenge"] = "motion_challenge"
    challenge: Step
    frames_analyzed: int
    signals: dict[str, float]
    reasons: tuple[Doubt, ...]
    """Everything that speaks against it."""

    @classmethod
    def of(cls, advice: Advice, challenge: Step) -> Self:
        """`advice` on the wire."""
        judgement = advice.judgement
        return cls(
            is_live=judgement.is_passed,
            score=told_score(judgement.score, SCORE_MIN, is_passed=judgement.is_passed),
            challenge=challenge,
            frames_analyzed=advice.frames,
            signals={
                name: round(value, SIGNAL_DIGITS)
                for name, value in judgement.signals.items()
                if math.isfinite(value)
            },
            reasons=advice.doubts,
        )


class AgeIntervalResponse(Wire):
    """Ten years to either side, both ends included: a rule, and no measure of the model."""

    low: int
    high: int
    label: Literal["uncalibrated"] = "uncalibrated"

    @classmethod
    def of(cls, reading: AgeReading) -> Self:
        """The interval of `reading`."""
        return cls(low=reading.low, high=reading.high)


class AgeResponse(Wire):
    """How old the largest face looks; nulls where there is no face or no model."""

    available: bool
    """Whether the model of age is loaded."""
    face_found: bool
    age: int | None
    """Completed years."""
    age_band: AgeBand | None
    is_adult: bool | None
    """Null where the interval reaches from below 18 to 18 or more."""
    interval: AgeIntervalResponse | None
    method: Literal["age_distribution_mean"] = "age_distribution_mean"

    @classmethod
    def of(cls, answer: AgeAnswer) -> Self:
        """`answer` on the wire."""
        reading = answer.reading
        return cls(
            available=answer.is_available,
            face_found=answer.is_found,
            age=None if reading is None else reading.age,
            age_band=None if reading is None else reading.band,
            is_adult=None if reading is None else reading.is_adult,
            interval=None if reading is None else AgeIntervalResponse.of(reading),
        )
