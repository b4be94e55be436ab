"""Refusals on the wire: `application/problem+json` after RFC 9457, with this service's codes.

`type`, `title` and `code` name the kind of refusal, `detail` the case at hand, `error` repeats
code and sentence in the form that the SDK reads. No refusal quotes what was sent.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NotRequired, TypedDict

from aiohttp import web
from pydantic import ConfigDict, ValidationError
from pydantic.json_schema import SkipJsonSchema

from pipeline.errors import Code as PipelineCode
from serve.api.wire import Wire
from serve.errors import SENTENCES, STATUSES, CaptureUnfit, Code, ServeError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:limen:error:"
FAULTS_MAX = 20
POINTER_LENGTH_MAX = 200

AnyCode = PipelineCode | Code
# Seconds until asking again makes sense, for refusals that know no better.
RETRY_AFTER_S: Mapping[AnyCode, int] = MappingProxyType(
    {
        Code.TOO_MANY_REQUESTS: 60,
        Code.TOO_MANY_FRAMES: 1,
        Code.SWEEPS_TOO_MANY: 60,
        Code.OVERLOADED: 2,
        Code.SERVICE_UNAVAILABLE: 5,
        Code.STATE_UNAVAILABLE: 5,
        Code.DURABILITY_UNAVAILABLE: 1,
        Code.STORAGE_LOW: 30,
        Code.ERASURE_UNAVAILABLE: 5,
        Code.SUBMISSION_IN_PROGRESS: 1,
        Code.VERSION_CONFLICT: 1,
        Code.IDEMPOTENCY_IN_PROGRESS: 1,
    }
)


class Fault(TypedDict):
    """One thing wrong with the input: where in the body, or in which parameter, and what."""

    pointer: NotRequired[str]
    parameter: NotRequired[str]
    detail: str


class InputInvalid(ServeError):  # noqa: N818 (it reads as the refusal it is)
    """`field_invalid`, with every fault found."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(Code.FIELD_INVALID, "see `errors`")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a problem document says. `code` decides the status."""

    code: AnyCode
    detail: str = ""
    retry_after_s: int | None = None
    feedback: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def wait_s(self) -> int | None:
        """Seconds until asking again makes sense, None where it never does."""
        return self.retry_after_s or RETRY_AFTER_S.get(self.code)


def refusal_of(error: ServeError) -> Refusal:
    """What `error` says on the wire; one that has no status is a defect, and says nothing."""
    if error.code not in STATUSES:
        return Refusal(Code.INTERNAL_ERROR)
    return Refusal(
        error.code,
        error.detail,
        retry_after_s=error.retry_after_s,
        feedback=error.feedback if isinstance(error, CaptureUnfit) else (),
        faults=error.faults if isinstance(error, InputInvalid) else (),
    )


def document_of(refusal: Refusal, request_id: str) -> dict[str, object]:
    """The members of the problem document."""
    code, sentence = refusal.code, SENTENCES[refusal.code]
    document: dict[str, object] = {
        "type": f"{TYPE_PREFIX}{code}",
        "title": sentence,
        "status": STATUSES[code],
        "code": code,
        "request_id": request_id,
        "error": {"message": sentence, "code": code},
    }
    if refusal.detail:
        document["detail"] = refusal.detail
    if refusal.feedback:
        document["feedback"] = list(refusal.feedback)
    if refusal.faults:
        document["errors"] = list(refusal.faults)
    return document


def rendered(refusal: Refusal, request_id: str) -> web.Response:
    """The response, with its request id, `Retry-After` and `WWW-Authenticate` where they belong."""
    code = refusal.code
    headers = {**refusal.headers, "X-Request-Id": request_id}
    if refusal.wait_s is not None:
        headers["Retry-After"] = str(refusal.wait_s)
    if code is Code.KEY_INVALID:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=STATUSES[code],
        body=json.dumps(document_of(refusal, request_id)).encode(),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def body_faults(error: ValidationError) -> tuple[Fault, ...]:
    """What a model found wrong with a body, by JSON pointer."""
    return tuple(
        Fault(pointer=_pointer(location), detail=message) for location, message in _found(error)
    )


def parameter_faults(error: ValidationError) -> tuple[Fault, ...]:
    """What a model found wrong with the parameters of the path or the query."""
    return tuple(
        Fault(parameter=str(location[0])[:POINTER_LENGTH_MAX] if location else "", detail=message)
        for location, message in _found(error)
    )


def _found(error: ValidationError) -> Iterable[tuple[tuple[int | str, ...], str]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(item["loc"], item["msg"]) for item in found[:FAULTS_MAX]]


def _pointer(location: Iterable[int | str]) -> str:
    names = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "".join(f"/{name}" for name in names)[:POINTER_LENGTH_MAX]


_ABSENT_WHERE_NONE = ConfigDict(json_schema_serialization_defaults_required=False)


class ErrorResponse(Wire):
    """What the SDK reads of a refusal."""

    message: str
    code: str


class FaultResponse(Wire):
    """One thing wrong with the input: a JSON pointer into the body, or a parameter's name."""

    model_config = _ABSENT_WHERE_NONE

    pointer: str | SkipJsonSchema[None] = None
    parameter: str | SkipJsonSchema[None] = None
    detail: str


class ProblemResponse(Wire):
    """A refusal, after RFC 9457."""

    model_config = _ABSENT_WHERE_NONE

    type: str
    title: str
    status: int
    code: str
    request_id: str
    error: ErrorResponse
    detail: str | SkipJsonSchema[None] = None
    feedback: tuple[str, ...] | SkipJsonSchema[None] = None
    """Hints to the person whose capture could not be judged, the most helpful first."""
    errors: tuple[FaultResponse, ...] | SkipJsonSchema[None] = None
