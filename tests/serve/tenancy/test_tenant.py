"""Tenants: which URLs they may use, and what a patch changes."""

import pytest
from pydantic import ValidationError

from pipeline.decision.policy import LivenessPolicy
from serve.domain.ids import Mode
from serve.domain.tenancy.tenant import (
    ORIGINS_MAX,
    URL_LENGTH_MAX,
    SigningSecret,
    Tenant,
    TenantPatch,
    check_url,
    origin_of,
    patched,
)
from serve.errors import Code, ServeError

ORIGINS = (
    "https://shop.example",
    "https://shop.example:8443",
    "http://shop.example",
    "http://localhost:3000",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
)
TENANT = Tenant(
    id="ten_a",
    name="Shop",
    created_at_ms=1,
    updated_at_ms=1,
    preferences={},
    allowed_origins=ORIGINS,
)


def is_refused(url: str, mode: Mode = Mode.LIVE, *, allow_http: bool = False) -> bool:
    try:
        check_url(TENANT, mode, url, allow_http=allow_http)
    except ServeError as error:
        return error.code is Code.URL_REFUSED
    return False


@pytest.mark.parametrize(
    "url",
    ["https://shop.example/hook", "https://SHOP.example:443/hook?a=1", "https://shop.example:8443"],
)
def test_https_of_a_registered_origin_is_taken(url: str) -> None:
    """Path, query, case of the host and a default port do not matter."""
    assert not is_refused(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/hook",
        "https://shop.example.other.example/",
        "https://shop.example:9443/",
        "https://user@shop.example/",
        "https://user:secret@shop.example/",
        "https://shop.example/#fragment",
        "https://shop.example/a b",
        "https://shop.example\\@other.example/",
        "https://shop.example/\n",
        "https://shop.example:port/",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "//shop.example/",
        "shop.example",
        "https://",
        "https://shop.example/" + "a" * URL_LENGTH_MAX,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    """Another origin, another scheme, and whatever a browser might read differently."""
    assert is_refused(url)
    assert is_refused(url, Mode.TEST, allow_http=True)


@pytest.mark.parametrize(
    ("url", "mode", "allow_http", "refused"),
    [
        ("http://localhost:3000/hook", Mode.TEST, False, False),
        ("http://127.0.0.1:3000/hook", Mode.TEST, False, False),
        ("http://[::1]:3000/hook", Mode.TEST, False, False),
        ("http://localhost:3000/hook", Mode.LIVE, False, True),
        ("http://shop.example/hook", Mode.TEST, False, True),
        ("http://shop.example/hook", Mode.LIVE, False, True),
        ("http://shop.example/hook", Mode.LIVE, True, False),
        ("http://other.example/hook", Mode.LIVE, True, True),
        ("http://localhost:4000/hook", Mode.TEST, False, True),
    ],
)
def test_http_is_the_exception(url: str, mode: Mode, *, allow_http: bool, refused: bool) -> None:
    """Only for loopback in test mode, or where the install allows it; always of known origin."""
    assert is_refused(url, mode, allow_http=allow_http) is refused


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x?y", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("https://a.example:80", "https://a.example:80"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://[0:0::1]:8080/", "http://[::1]:8080"),
        ("https://a.example:", "https://a.example"),
        ("https://my_host-1.a.example", "https://my_host-1.a.example"),
        ("https://xn--mller-kva.example", "https://xn--mller-kva.example"),
        ("https://4.example", "https://4.example"),
        ("https://192.0.2.1:8443", "https://192.0.2.1:8443"),
    ],
)
def test_origins_have_one_spelling(url: str, origin: str) -> None:
    """The origin is as browsers send it."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1", "https://2130706433", "https://0x7f.1", "https://0x", "https://0177.0.0.1",
        "https://1.2.3.4.5", "https://1.2.3.256", "https://shop.example.1", "https://shop.example.",
        "https://.shop.example", "https://shop..example", "https://-shop.example",
        "https://müller.example", "https://①②⑦.0.0.1", "https://shop。example",
        "https://sho%70.example", "https://shop.example%00", "https://shop,example",
        "https://[::1%25lo]", "https://[::1]shop.example", "https://[v1.x]", "https://[127.0.0.1]",
        "https://[::1", "https://::1", f"https://{'a' * 254}", "https://@shop.example",
        "https://shop.example:+443", "https://shop.example\u200b",
    ],
)  # fmt: skip
def test_a_host_that_readers_may_differ_about_is_none(url: str) -> None:
    """Short and odd numbers, dots at the ends, other alphabets, zones, escapes: no origin."""
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)


@pytest.mark.parametrize(
    "patch",
    [
        {"allowed_origins": ["https://shop.example/path"]},
        {"allowed_origins": ["https://shop.example?a"]},
        {"allowed_origins": ["*"]},
        {"allowed_origins": ["null"]},
        {"allowed_origins": ["https://shop.example"] * (ORIGINS_MAX + 1)},
        {"session_retention_days": 0},
        {"session_retention_days": 366},
        {"liveness_policy": "none"},
        {"name": "Other"},
    ],
)
def test_what_no_patch_may_say_is_refused(patch: dict[str, object]) -> None:
    """Origins are bare and bounded, and unknown names are errors."""
    with pytest.raises(ValidationError):
        TenantPatch.model_validate(patch)


def test_a_patch_changes_only_what_it_names() -> None:
    """Everything else stays, the strict policy among it."""
    after = patched(TENANT, TenantPatch(session_retention_days=7), 5)
    expected = TENANT.model_copy(update={"session_retention_days": 7, "updated_at_ms": 5})
    assert after == expected
    assert after.liveness_policy is LivenessPolicy.REQUIRED


def test_a_front_end_that_is_no_url_is_refused() -> None:
    """A hand-off link never leads to what is no http(s) URL."""
    with pytest.raises(ServeError) as refused:
        patched(TENANT, TenantPatch(frontend_base_url="javascript:alert(1)"), 5)
    assert refused.value.code is Code.URL_REFUSED


def test_a_secret_is_not_printed() -> None:
    """The repr of a signing secret does not hold it."""
    text = "whsec_a"
    assert text not in repr(SigningSecret(secret=text, created_at_ms=0))


def test_each_world_has_settings_of_its_own() -> None:
    """What one world changes stays out of the other; an operator changes both."""
    strict, lax = LivenessPolicy.REQUIRED, LivenessPolicy.MATCH_ONLY
    tested = patched(TENANT, TenantPatch(liveness_policy=lax), 5, Mode.TEST)
    assert tested.seen_in(Mode.TEST).liveness_policy is lax
    assert tested.seen_in(Mode.LIVE) == TENANT.model_copy(
        update={"updated_at_ms": 5, "test_settings": tested.test_settings}
    )
    lived = patched(TENANT, TenantPatch(session_retention_days=7), 5, Mode.LIVE)
    assert lived.session_retention_days == 7
    assert lived.seen_in(Mode.TEST).session_retention_days == TENANT.session_retention_days
    both = patched(tested, TenantPatch(session_retention_days=9), 6)
    assert [both.seen_in(mode).session_retention_days for mode in Mode] == [9, 9]
    assert [both.seen_in(mode).liveness_policy for mode in Mode] == [strict, lax]
    assert patched(both, TenantPatch(liveness_policy=lax), 7).test_settings is None
