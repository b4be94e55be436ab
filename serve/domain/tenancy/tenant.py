"""A tenant: whose customers are verified, under which policies."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from pipeline.decision.policy import DuplicatePolicy, LivenessPolicy
from serve.domain.document import Document
from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import TARGET_FPIR_MAX, TARGET_FPIR_MIN
from serve.domain.tenancy.preferences import Preferences
from serve.errors import Code, ServeError

ORIGINS_MAX = 32
URL_LENGTH_MAX = 2_048
NAME_LENGTH_MAX = 200
HOST_LENGTH_MAX = 253
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER = re.compile(r"([^.]*\.)*([0-9]+|0x[0-9a-f]*)")  # whose last label a resolver may count


def origin_of(url: str) -> str:
    """`scheme://host[:port]` of an http(s) URL, lower case, without a default port.

    The host is a name in ASCII, an IPv4 address in four plain numbers or an IPv6 address without
    a zone: what every reader of the URL takes for the same host. Raises ValueError for anything
    else, a user name or a fragment among them.
    """
    parts = urlsplit(url)
    port = parts.port  # raises ValueError when it is not a number
    if (
        len(url) > URL_LENGTH_MAX
        or parts.scheme not in {"http", "https"}
        or parts.fragment
        or re.search(r"[\s\\\x00-\x1f]", url)
    ):
        raise ValueError("not an http or https URL of a plain host")
    host = _host_of(parts.netloc.lower())
    default_port = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in {None, default_port} else f":{port}")


def _host_of(place: str) -> str:
    """The host of `host[:port]` in its one spelling. Raises ValueError."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^\[\]:@]+))(?::[0-9]*)?", place)
    if found is None:
        raise ValueError("not an http or https URL of a plain host")
    if found["six"]:
        return f"[{IPv6Address(found['six'])}]"
    name = found["name"]
    if _NUMBER.fullmatch(name):
        return str(IPv4Address(name))
    if len(name) > HOST_LENGTH_MAX or not _NAME.fullmatch(name):
        raise ValueError("not an http or https URL of a plain host")
    return name


def _bare_origin(text: str) -> str:
    origin = origin_of(text)
    if urlsplit(text).path not in {"", "/"} or urlsplit(text).query:
        raise ValueError("an origin has no path")
    return origin


Origin = Annotated[
    str,
    AfterValidator(_bare_origin),
    WithJsonSchema({"type": "string", "maxLength": URL_LENGTH_MAX, "pattern": "^https?://"}),
]


class TenantPatch(Document):
    """What an operator or the tenant itself may set; only what is given changes.

    Each of a tenant's worlds has its own: a test key changes nothing of live mode.
    """

    liveness_policy: LivenessPolicy = LivenessPolicy.REQUIRED
    """Whether an approval needs evidence of a live person."""

    allowed_origins: Annotated[tuple[Origin, ...], Field(max_length=ORIGINS_MAX)] = ()
    """Origins that may call the public routes, receive callbacks and be redirected to."""

    frontend_base_url: Annotated[str, Field(max_length=URL_LENGTH_MAX)] = ""
    """Where the hand-off link leads; empty means Limen's own public URL, if it has one."""

    keep_reference_images: bool = True
    """Whether aligned reference chips are kept, encrypted; without them review shows scores only
    and a change of model means enrolling again."""

    duplicates: DuplicatePolicy = DuplicatePolicy.FLAG
    """What becomes of a face that another customer has as well: flagged, held for a reviewer, or
    declined. A flag is left in each case."""

    duplicate_target_fpir: Annotated[
        float | None, Field(ge=TARGET_FPIR_MIN, le=TARGET_FPIR_MAX, allow_inf_nan=False)
    ] = None
    """The share of searches that may show a wrong person: from the score on that the tenant's own
    sweep finds for it, a face is a duplicate. Null, or while no sweep can show it, is the pack's
    threshold."""

    session_retention_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Days after its last change until the record of a session is gone."""


class Tenant(TenantPatch):
    """One organisation. `secrets` are sealed elsewhere; nothing here is one."""

    id: str
    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX)]
    created_at_ms: int
    updated_at_ms: int
    preferences: dict[Mode, Preferences]
    test_settings: TenantPatch | None = None
    """What holds in test mode; None while it is what holds in live mode."""

    def seen_in(self, mode: Mode) -> "Tenant":
        """The tenant with the settings that hold in that world."""
        if mode is Mode.LIVE or self.test_settings is None:
            return self
        return self.model_copy(update=dict(self.test_settings))


class SigningSecret(Document):
    """A `whsec_…` secret of a tenant; `expires_at_ms` is set once it has been replaced."""

    secret: str = Field(repr=False)
    created_at_ms: int
    expires_at_ms: int | None = None


def check_url(tenant: Tenant, mode: Mode, url: str, *, allow_http: bool) -> None:
    """Refuse a callback or redirect URL outside the tenant's origins.

    https, or http for a loopback host in test mode or where the setting `allow_http` says so.
    Raises `url_refused`.
    """
    try:
        origin = origin_of(url)
    except ValueError as error:
        raise ServeError(Code.URL_REFUSED, str(error)) from error
    host = urlsplit(origin).hostname
    is_local_test = mode is Mode.TEST and host in LOOPBACK_HOSTS
    if origin.startswith("http:") and not (allow_http or is_local_test):
        raise ServeError(Code.URL_REFUSED, "https is required")
    if origin not in tenant.allowed_origins:
        raise ServeError(Code.URL_REFUSED, f"{origin} is not among the tenant's allowed origins")


def patched(tenant: Tenant, patch: TenantPatch, now_ms: int, mode: Mode | None = None) -> Tenant:
    """`tenant` with what `patch` names, in one world or, where `mode` is None, in both.

    Raises `url_refused` for a front-end base URL that is no http(s) URL.
    """
    if patch.frontend_base_url:
        try:
            origin_of(patch.frontend_base_url)
        except ValueError as error:
            raise ServeError(Code.URL_REFUSED, f"frontend_base_url: {error}") from error
    given = patch.model_dump(exclude_unset=True)
    live, test = _settings(tenant), _settings(tenant.seen_in(Mode.TEST))
    live |= {} if mode is Mode.TEST else given
    test |= {} if mode is Mode.LIVE else given
    changed = {**live, "test_settings": None if test == live else test, "updated_at_ms": now_ms}
    return Tenant.model_validate({**tenant.model_dump(), **changed})


def _settings(tenant: Tenant) -> dict[str, Any]:
    return tenant.model_dump(include=set(TenantPatch.model_fields))
