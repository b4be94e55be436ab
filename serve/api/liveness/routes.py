"""The routes of challenges, active liveness and age."""

from typing import Any

from serve.api.call import IMAGE_CODES, Route
from serve.api.liveness import answers, handlers, wire
from serve.api.wire import Empty
from serve.domain.quota import Quota
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code

LIVENESS_ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path="/api/v1/kyc/face/challenge",
        answer=handlers.read_challenge,
        audits=(),
        scope=None,
        body=wire.ChallengeBody,
        parameters=Empty,
        response=answers.ChallengeResponse,
        refuses=(
            Code.TOKEN_EXPIRED,
            Code.SUBMISSION_IN_PROGRESS,
            Code.ATTEMPTS_EXHAUSTED,
            Code.SESSION_CLOSED,
        ),
        is_mobile_only=True,
        summary="What the person is asked to do before the camera; drawn once for each attempt.",
    ),
    Route(
        method="POST",
        path="/api/v1/active-liveness",
        answer=handlers.check_liveness,
        audits=(),
        scope=Scope.LIVENESS,
        body=wire.ActiveLivenessBody,
        parameters=Empty,
        response=answers.ActiveLivenessResponse,
        refuses=tuple(code for code in IMAGE_CODES if code is not Code.CAPTURE_UNFIT),
        has_image=True,
        quota_class=Quota.LIVENESS,
        is_reading=True,
        summary="Whether a burst of frames shows a live person; no session hears of it.",
    ),
    Route(
        method="POST",
        path="/api/v1/age-estimate",
        answer=handlers.estimate_age,
        audits=(),
        scope=Scope.LIVENESS,
        body=wire.AgeBody,
        parameters=Empty,
        response=answers.AgeResponse,
        refuses=tuple(code for code in IMAGE_CODES if code is not Code.CAPTURE_UNFIT),
        has_image=True,
        quota_class=Quota.LIVENESS,
        is_reading=True,
        summary="How old the largest face in a picture looks.",
    ),
)
