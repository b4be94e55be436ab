"""One call of one route: what the table says of the route, and what a handler is given."""

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from pipeline.errors import Code as PipelineCode
from serve.api.problem import Fault, InputInvalid
from serve.api.wire import Empty, Parameters
from serve.deps import Deps
from serve.domain.audit import Action
from serve.domain.handoff import Handoff
from serve.domain.operation import Operation
from serve.domain.quota import Quota
from serve.domain.tenancy.api_key import Principal, Scope
from serve.errors import Code, ServeError

BodyT = TypeVar("BodyT", bound=BaseModel)
ParametersT = TypeVar("ParametersT", bound=Parameters)

IMAGE_CODES: tuple[PipelineCode | Code, ...] = (
    Code.PROOF_INVALID,
    Code.CAPTURE_UNFIT,
    Code.OVERLOADED,
    Code.SERVICE_UNAVAILABLE,
    PipelineCode.NOT_AN_IMAGE,
    PipelineCode.IMAGE_UNSUPPORTED,
    PipelineCode.IMAGE_ANIMATED,
    PipelineCode.IMAGE_TOO_LARGE,
    PipelineCode.IMAGE_TOO_SMALL,
    PipelineCode.IMAGE_CORRUPT,
)
"""What a route that looks at a face may refuse an image with."""

TOKEN = web.RequestKey("token", str)
REQUEST_ID = web.RequestKey("request_id", str)
ADDRESS = web.RequestKey("address", str)
HANDOFF = web.RequestKey("handoff", Handoff)
PRINCIPAL = web.RequestKey("principal", Principal)
CODE = web.RequestKey("code", str)

TOKEN_PREFIX = "st_"  # noqa: S105 (what every token begins with)
_PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT, ParametersT]):
    """What a handler gets: who asks, with what. `token` is empty where no session token came.

    `operation` is what a change is carried out under; `handoff` what the token finds.
    """

    deps: Deps
    request: web.Request
    body: BodyT
    parameters: ParametersT
    operation: Operation
    token: str = ""
    principal: Principal | None = None
    handoff: Handoff | None = None

    @property
    def tenant(self) -> Principal:
        """Who asks, on a route that needs a key."""
        assert self.principal is not None, "a public route has no principal"
        return self.principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[BodyT, ParametersT]):
    """One row of the table. `scope` None means public: a session token is the credential.

    `statuses` are those of success, the usual one first; `refuses` are the codes of this route
    beside those that follow from its shape (`codes`). Where a body is taken and not needed, none
    is an empty object. `has_image` raises the limit on its body;
    `opens_session` sets it apart from other changes (`quota`), and `quota_class` says outright what
    its requests are counted as. One that `is_reading` changes nothing although it is no GET: its
    answer is kept under no key, and is never older than its request. One that `is_guessed` takes a
    secret of a person's besides the key: what is not found counts as a wrong guess. `audits` are
    the actions that it may leave in the audit trail.
    """

    method: str
    path: str
    answer: Callable[[Call[BodyT, ParametersT]], Awaitable[web.Response]]
    audits: tuple[Action, ...]
    scope: Scope | None
    response: type[BaseModel]
    summary: str
    body: type[BodyT]
    parameters: type[ParametersT]
    statuses: tuple[int, ...] = (200,)
    refuses: tuple[PipelineCode | Code, ...] = ()
    has_image: bool = False
    is_mobile_only: bool = False
    opens_session: bool = False
    quota_class: Quota | None = None
    is_reading: bool = False
    is_guessed: bool = False
    needs_body: bool = True

    @property
    def quota(self) -> Quota:
        """The class that its requests are counted in."""
        if self.quota_class is not None:
            return self.quota_class
        if self.scope is None:
            return Quota.SUBMIT if self.has_image else Quota.PHONE
        if self.has_image:
            return Quota.ENROL
        if self.opens_session:
            return Quota.OPEN
        return Quota.READ if self.method == "GET" else Quota.WRITE

    @property
    def name(self) -> str:
        """The handler's name, unique in the table."""
        return self.answer.__name__

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names of what the path holds."""
        return tuple(_PLACEHOLDER.findall(self.path))

    @property
    def has_body(self) -> bool:
        """Whether a JSON object is read."""
        return not issubclass(self.body, Empty)

    @property
    def may_be_later(self) -> bool:
        """Whether work is put off where the client prefers it: not where it always is."""
        return HTTPStatus.ACCEPTED in self.statuses[1:]

    @property
    def takes_idempotency_key(self) -> bool:
        """Whether `Idempotency-Key` counts: for whatever an API key may change."""
        return self.scope is not None and self._may_change

    @property
    def _may_change(self) -> bool:
        return self.method != "GET" and not self.is_reading

    @property
    def codes(self) -> frozenset[PipelineCode | Code]:
        """Every code this route may refuse with."""
        found = {Code.TOO_MANY_REQUESTS, Code.STATE_UNAVAILABLE, Code.INTERNAL_ERROR}
        # A head that is no HTTP, or a parameter that is unknown, is refused everywhere.
        found |= {Code.REQUEST_MALFORMED, Code.FIELD_INVALID}
        if self.scope is None:
            found |= {Code.NOT_FOUND}
        else:
            found |= {Code.KEY_INVALID, Code.SCOPE_MISSING}
        if self.path_names:
            found |= {Code.NOT_FOUND}
        if self._may_change:
            found |= {Code.DURABILITY_UNAVAILABLE, Code.VERSION_CONFLICT}
        if self.audits:
            found |= {Code.DURABILITY_UNAVAILABLE}
        if self.has_body:
            found |= {
                Code.BODY_INVALID,
                Code.BODY_TOO_LARGE,
                Code.BODY_TOO_SLOW,
                Code.CONTENT_TYPE_UNSUPPORTED,
                Code.OVERLOADED,
            }
        if self.takes_idempotency_key:
            found |= {
                Code.IDEMPOTENCY_KEY_INVALID,
                Code.IDEMPOTENCY_MISMATCH,
                Code.IDEMPOTENCY_IN_PROGRESS,
                Code.ANSWER_ERASED,
            }
        if self.is_mobile_only:
            found |= {Code.MOBILE_REQUIRED}
        return frozenset(found) | frozenset(self.refuses)


def api_key(request: web.Request) -> str:
    """The key of `Authorization: Bearer`, or else of `X-API-Key`. Raises `key_invalid`."""
    key = _bearer(request) or request.headers.get("X-API-Key", "").strip()
    if not key:
        raise ServeError(Code.KEY_INVALID, "send `Authorization: Bearer` or `X-API-Key`")
    return key


def session_token(request: web.Request, parameters: Parameters) -> str:
    """The session token of the path, the query or `Authorization`; empty if none is there.

    A bearer of another shape is somebody's API key, which public routes pass over.
    """
    token: str = getattr(parameters, "token", "")
    bearer = _bearer(request)
    return token or (bearer if bearer.startswith(TOKEN_PREFIX) else "")


def agreed_token(token: str, body: BaseModel) -> str:
    """The one session token of a request, whose head gave `token`, if any.

    Raises `field_invalid` when there is none or the body gives another.
    """
    inside: str = getattr(body, "token", None) or ""
    if token and inside and not hmac.compare_digest(token.encode(), inside.encode()):
        raise InputInvalid((Fault(pointer="/token", detail="not that of `Authorization`"),))
    if not token and not inside:
        raise InputInvalid((Fault(pointer="/token", detail="Field required"),))
    return token or inside


def prefers_later(request: web.Request) -> bool:
    """Whether `Prefer` holds `respond-async` (RFC 7240)."""
    wishes = ",".join(request.headers.getall("Prefer", [])).split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)


def _bearer(request: web.Request) -> str:
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
