"""The routes of verifications."""

from serve.api import wire
from serve.api.call import IMAGE_CODES, Route
from serve.api.verifications import answers, handlers
from serve.api.verifications.wire import (
    CreateVerificationBody,
    ReverifyBody,
    VerificationParameters,
    VerificationReviewBody,
)
from serve.domain.audit import Action
from serve.domain.quota import Quota
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code

VERIFICATION_ROUTES = (
    Route(
        method="POST",
        path="/api/v1/verifications",
        answer=handlers.create_verification,
        audits=(Action.VERIFICATION_CREATED,),
        scope=Scope.CUSTOMERS,
        body=CreateVerificationBody,
        parameters=wire.Empty,
        response=answers.VerificationResponse,
        statuses=(201,),
        refuses=(Code.STORAGE_LOW,),
        needs_body=False,
        summary="Create a verification.",
    ),
    Route(
        method="GET",
        path="/api/v1/verifications",
        answer=handlers.list_verifications,
        audits=(Action.VERIFICATION_READ,),
        scope=Scope.CUSTOMERS,
        body=wire.Empty,
        parameters=wire.PageParameters,
        response=answers.VerificationsResponse,
        refuses=(Code.CURSOR_INVALID,),
        summary="Verifications, those of enrolments and sessions among them, the newest first.",
    ),
    Route(
        method="GET",
        path="/api/v1/verifications/{verification_id}",
        answer=handlers.read_verification,
        audits=(Action.VERIFICATION_READ,),
        scope=Scope.CUSTOMERS,
        body=wire.Empty,
        parameters=VerificationParameters,
        response=answers.VerificationResponse,
        summary="One verification.",
    ),
    Route(
        method="POST",
        path="/api/v1/verifications/{verification_id}/review",
        answer=handlers.review_verification,
        audits=(Action.VERIFICATION_REVIEWED, Action.SESSION_REVIEWED),
        scope=Scope.CUSTOMERS,
        body=VerificationReviewBody,
        parameters=VerificationParameters,
        response=answers.VerificationResponse,
        refuses=(Code.VERIFICATION_CLOSED,),
        summary="Decide a verification that needs a reviewer.",
    ),
    Route(
        method="POST",
        path="/api/v1/customers/{customer_id}/identity-token",
        answer=handlers.issue_identity,
        audits=(Action.IDENTITY_ISSUED,),
        scope=Scope.CUSTOMERS,
        body=wire.Empty,
        parameters=wire.CustomerParameters,
        response=answers.IdentityResponse,
        statuses=(201,),
        refuses=(Code.IDENTITY_REFUSED, Code.STORAGE_LOW),
        summary="Issue a reusable identity token; the one before is refused from now on.",
    ),
    Route(
        method="POST",
        path="/api/v1/reverify",
        answer=handlers.repeat_verification,
        audits=(Action.VERIFICATION_REPEATED,),
        scope=Scope.CUSTOMERS,
        body=ReverifyBody,
        parameters=wire.Empty,
        response=answers.VerificationResponse,
        statuses=(201,),
        refuses=(*IMAGE_CODES, Code.NOT_FOUND, Code.IDENTITY_REFUSED, Code.STORAGE_LOW),
        has_image=True,
        quota_class=Quota.SEARCH,
        is_guessed=True,
        summary="Verify a person again by their reusable identity token and a selfie.",
    ),
)
