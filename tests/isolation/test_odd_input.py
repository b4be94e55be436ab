"""What no schema generates: requests at the edge of HTTP and JSON, each refused in the one form."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from serve.settings import State
from tests.helpers.front_door import JOHN, text
from tests.isolation.stage import Stage, isolation_stage

KYC = "/api/v1/kyc"
OPEN = f"{KYC}/face/session"
BODY = {"reference": "r", "customer_id": "c"}
DEEP = b'{"reference":' + b"[" * 60_000 + b"]" * 60_000 + b"}"
BIG = b"9" * 5_000  # more digits than Python turns into an integer

# Method, path, body, status, code. The body is sent as it is, with a key of every scope.
REQUESTS: dict[str, tuple[str, str, bytes | None, int, str]] = {
    "a NUL in a name": ("POST", OPEN, json.dumps({**BODY, "reference": "a\0b"}).encode(), 422,
                        "field_invalid"),
    "half a surrogate pair": ("POST", OPEN, b'{"reference":"\\ud800","customer_id":"c"}', 400,
                              "body_invalid"),
    "bytes that are no UTF-8": ("POST", OPEN, b'{"reference":"\xff","customer_id":"c"}', 400,
                                "body_invalid"),
    "NaN": ("POST", OPEN, b'{"reference":"r","customer_id":"c","amount":NaN}', 422,
            "field_invalid"),
    "infinity": ("POST", OPEN, b'{"reference":"r","customer_id":"c","amount":1e999}', 422,
                 "field_invalid"),
    "below zero": ("POST", OPEN, b'{"reference":"r","customer_id":"c","amount":-1}', 422,
                   "field_invalid"),
    "a huge integer": ("POST", OPEN, b'{"reference":"r","customer_id":"c","event_count":' + BIG +
                       b"}", 400, "body_invalid"),
    "deep JSON": ("POST", OPEN, DEEP, 413, "body_too_large"),
    "deep JSON that fits": ("POST", OPEN, DEEP[:13] + b"[" * 9_000 + b"]" * 9_000 + b"}", 400,
                            "body_invalid"),
    "a key twice": ("POST", OPEN, b'{"reference":"r","reference":"s","customer_id":"c"}', 400,
                    "body_invalid"),
    "a list": ("POST", OPEN, b"[]", 400, "body_invalid"),
    "nothing": ("POST", OPEN, b"", 400, "body_invalid"),
    "a number for a name": ("POST", OPEN, b'{"reference":1,"customer_id":"c"}', 422,
                            "field_invalid"),
    "an unknown member": ("POST", OPEN, json.dumps({**BODY, "x": 1}).encode(), 422,
                          "field_invalid"),
    "a parameter twice": ("GET", f"{KYC}/status?customer_id=a&customer_id=b", None, 422,
                          "field_invalid"),
    "an unknown parameter": ("GET", f"{KYC}/overview?x=1", None, 422, "field_invalid"),
    "a parameter of the path in the query": (
        "GET", "/api/v1/events/msg_00AAAAAAAAAAAAAAAAAAAAAA?event_id=b", None, 422,
        "field_invalid"),
    "a huge limit": ("GET", f"{KYC}/alerts?limit=" + "9" * 400, None, 422, "field_invalid"),
    "no number": ("GET", f"{KYC}/alerts?limit=1e1", None, 422, "field_invalid"),
    "a cursor of nobody's": ("GET", f"{KYC}/alerts?cursor=AAAA", None, 422, "cursor_invalid"),
    "a NUL in the path": ("GET", f"{KYC}/alerts/%00", None, 404, "not_found"),
    "a NUL for a customer": ("DELETE", "/api/v1/customers/%00", None, 422, "field_invalid"),
    "bytes that are no UTF-8 in the path": ("GET", f"{KYC}/alerts/%ff%fe", None, 404, "not_found"),
    "a slash inside an id": ("GET", f"{KYC}/alerts/a%2Fb", None, 404, "not_found"),
    "a step up": ("GET", f"{KYC}/alerts/%2e%2e%2fpreferences", None, 404, "not_found"),
    "an id with a newline behind": (
        "GET", f"{KYC}/alerts/alr_00AAAAAAAAAAAAAAAAAAAAAA%0A", None, 404, "not_found"),
    "digits of another script": (
        "GET", f"{KYC}/alerts/alr_%D9%A0%D9%A0AAAAAAAAAAAAAAAAAAAAAA", None, 404, "not_found"),
    "a method that is not there": ("DELETE", f"{KYC}/preferences", None, 405,
                                   "method_not_allowed"),
    "a path that is not there": ("GET", "/api/v1/nothing", None, 404, "not_found"),
    "a target that is not short": ("GET", f"{KYC}/alerts?cursor=" + "a" * 20_000, None, 400,
                                   "request_malformed"),
}  # fmt: skip
# Header and value in place of the right ones.
HEADERS: dict[str, tuple[str, str, int, str]] = {
    "no content type": ("Content-Type", "", 415, "content_type_unsupported"),
    "another content type": ("Content-Type", "text/plain", 415, "content_type_unsupported"),
    "compressed": ("Content-Encoding", "gzip", 415, "content_type_unsupported"),
    "a key of another script": ("Authorization", "Bearer sk_live_\xe9", 401, "key_invalid"),
    "a scheme of nobody's": ("Authorization", "Basic c2VjcmV0", 401, "key_invalid"),
    "a name for a length": ("Content-Length", "many", 400, "request_malformed"),
    "a long header": ("X-Long", "a" * 20_000, 400, "request_malformed"),
}


@pytest.fixture(scope="module")
def stage(redis_state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One door for all of them."""
    with isolation_stage(redis_state, tmp_path_factory.mktemp("odd") / "keys") as opened:
        yield opened


def asked(
    stage: Stage, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, dict[str, object]]:
    """One request written by hand, and its answer."""
    connection = http.client.HTTPConnection(stage.url.removeprefix("http://"), timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders(body)
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def assert_refused(
    response: http.client.HTTPResponse, told: dict[str, object], status: int, code: str
) -> None:
    """A problem document with this code and the id of its request."""
    assert (response.status, told["code"]) == (status, code), told
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert told["request_id"] == response.headers["X-Request-Id"]
    assert isinstance(told["error"], dict)
    assert told["error"]["message"]
    assert (status == 405) == ("Allow" in response.headers)


@pytest.mark.parametrize("name", REQUESTS)
def test_odd_requests_are_refused_in_form(stage: Stage, name: str) -> None:
    """Whatever comes is refused with the status and the code that fit, and never a 5xx."""
    method, path, body, status, code = REQUESTS[name]
    headers = {"Authorization": f"Bearer {stage.worlds[0].key}"}
    if body is not None:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    assert_refused(*asked(stage, method, path, body, headers), status, code)


@pytest.mark.parametrize("name", HEADERS)
def test_odd_heads_are_refused_in_form(stage: Stage, name: str) -> None:
    """The same for what stands in the head of a request."""
    header, value, status, code = HEADERS[name]
    body = json.dumps(BODY).encode()
    headers = {
        "Authorization": f"Bearer {stage.worlds[0].key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        header: value,
    }
    sent = {key: text for key, text in headers.items() if text}
    assert_refused(*asked(stage, "POST", OPEN, body, sent), status, code)


def test_a_customer_may_have_any_name(stage: Stage) -> None:
    """Slashes, percents, emoji and quotes name a customer, and come back as they were sent."""
    body = json.dumps({"image": text(JOHN)}).encode()
    key = {"Authorization": f"Bearer {stage.worlds[0].key}", "Content-Type": "application/json"}
    for name in ("a/b", "a/../b", "%2F", "\N{SLIGHTLY SMILING FACE}", "\"'<>", "a b", "..."):
        path = f"/api/v1/customers/{quote(name, safe='')}/faces"
        headers = {**key, "Content-Length": str(len(body))}
        response, told = asked(stage, "POST", path, body, headers)
        assert (response.status, told.get("customer_id")) == (201, name)
