"""What every request goes through: ids, headers, problems, pages of other origins, log lines."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from redis.asyncio import Redis

from serve.api.middleware import UNMATCHED
from serve.errors import Code, ServeError
from serve.flows import preferences
from serve.observe import logs, metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import DESKTOP, KYC, ORIGIN, front_door, text

SUBMIT = f"{KYC}/face/submit"


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What this process logs, as the service writes it."""
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT_NAME)
    before = (root.handlers[:], root.level, ours.level)
    stream = StringIO()
    logs.set_up(stream)
    yield stream
    root.handlers[:], root.level, ours.level = before


def lines(log: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_every_answer_is_safe_to_show(link: Redis, keyring: Keyring) -> None:
    """An id of its own, no caching, no referrer, no sniffing, no name of a library; always."""
    async with front_door(link, keyring) as door:
        seen = set()
        for method, path in (("GET", "/healthz"), ("GET", "/x"), ("PUT", "/healthz"),
                             ("GET", f"{KYC}/preferences"), ("OPTIONS", SUBMIT)):  # fmt: skip
            answer = await door.call(method, path)
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Server"] == "limen"
            seen.add(answer.headers["X-Request-Id"])
        assert len(seen) == 5


PREFLIGHT = {
    "Origin": ORIGIN,
    "Access_Control_Request_Method": "POST",
    "Access_Control_Request_Headers": "content-type,x-user-id, Authorization,cookie,x_bad!",
}


async def test_a_preflight_of_a_tenant_s_page_is_answered(link: Redis, keyring: Keyring) -> None:
    """Its origin, the path's methods, any `X-*` header, no credentials, for ten minutes."""
    async with front_door(link, keyring) as door:
        answer = await door.call("OPTIONS", SUBMIT, key="", **PREFLIGHT)
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert (
            answer.headers["Access-Control-Allow-Headers"]
            == "content-type, x-user-id, authorization"
        )
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example", ""])
async def test_a_preflight_of_another_page_is_told_nothing(
    link: Redis, keyring: Keyring, origin: str
) -> None:
    """An origin of no tenant gets no permission."""
    async with front_door(link, keyring) as door:
        answer = await door.call("OPTIONS", SUBMIT, key="", **{**PREFLIGHT, "Origin": origin})
        assert answer.status == 204
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_private_routes_answer_no_preflight(link: Redis, keyring: Keyring) -> None:
    """A key does not belong in a page: its routes are 405 for OPTIONS."""
    async with front_door(link, keyring) as door:
        answer = await door.call("OPTIONS", f"{KYC}/preferences", key="", **PREFLIGHT)
        assert (answer.status, answer.code) == (405, "method_not_allowed")


async def test_an_answer_is_shared_with_its_tenant_s_pages_only(
    link: Redis, keyring: Keyring
) -> None:
    """The origin of another tenant, though known, reads nothing; refusals are shared as well."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        path = f"{KYC}/face/verify/{token}"
        own = await door.call("GET", path, key="", Origin=ORIGIN)
        assert own.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Retry-After" in own.headers["Access-Control-Expose-Headers"]
        refused = await door.submit(token, b"nobody", Origin=ORIGIN)
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (422, ORIGIN)
        for origin in ("https://b.example", "https://evil.example"):
            other = await door.call("GET", path, key="", Origin=origin)
            assert other.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Origin" not in other.headers
        private = await door.call("GET", f"{KYC}/preferences", Origin=ORIGIN)
        assert "Access-Control-Allow-Origin" not in private.headers


async def test_an_unknown_token_is_shared_with_nobody(link: Redis, keyring: Keyring) -> None:
    """Where no tenant is known, no origin is."""
    async with front_door(link, keyring) as door:
        for token in ("x", f"st_07{'a' * 43}"):
            path = f"{KYC}/session/{token}"
            answer = await door.call("GET", path, key="", Origin=ORIGIN)
            assert answer.status == 404
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_log_lines_name_templates_and_nobody(
    link: Redis, keyring: Keyring, log: StringIO
) -> None:
    """Whatever happens, no path, token, key, customer, reference, image or origin is logged."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        secret = "a-secret-customer"  # noqa: S105 (what must not be found)
        await door.enrol(customer=secret)
        await door.call("GET", f"{KYC}/face/sessions?customer_id={secret}")
        await door.call("GET", f"{KYC}/face/verify/{token}", key="", Origin=ORIGIN)
        await door.call("GET", f"{KYC}/session?token={token}", key="")
        await door.call("GET", f"/nothing/{token}", key=token)
        await door.submit(token, b"nobody")
        await door.submit(token, User_Agent=DESKTOP)
        await door.call("POST", SUBMIT, {"token": token, "proof": text(b"x"), secret: 1}, key=token)
        written = log.getvalue()
        for word in (token, secret, "order-1", "alice", ORIGIN, "iPhone", "/nothing",
                     door.tenant.api_key, door.tenant.test_api_key, text(b"nobody")):  # fmt: skip
            assert word not in written
        found = lines(log)
        assert {line["event"] for line in found} == {"request"}
        routes = {line["route"] for line in found}
        assert {f"{KYC}/face/verify/{{token}}", f"{KYC}/session", UNMATCHED} <= routes
        assert {line["status"] for line in found} >= {200, 400, 404, 422}
        keyed = [line for line in found if "key_id" in line]
        assert {line["tenant_id"] for line in keyed} == {door.tenant.tenant.id}


async def test_a_defect_is_logged_and_hidden(
    link: Redis, keyring: Keyring, log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 with a request id; the log has the type and the place, and neither has the values."""

    async def broken(*_asked: object) -> None:
        raise ValueError("a secret value")

    monkeypatch.setattr(preferences, "read", broken)
    async with front_door(link, keyring) as door:
        answer = await door.call("GET", f"{KYC}/preferences")
        assert (answer.status, answer.code) == (500, "internal_error")
        assert "secret" not in json.dumps(answer.body) + log.getvalue()
        (defect,) = (line for line in lines(log) if line["event"] == "defect")
        assert defect["request_id"] == answer.body["request_id"]
        assert defect["error_type"] == "ValueError"
        assert "test_middleware.py" in str(defect["frames"])


async def test_a_code_without_a_status_is_a_defect(
    link: Redis, keyring: Keyring, log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to the command line never reaches a client."""

    async def misplaced(*_asked: object) -> None:
        raise ServeError(Code.KEYS_MISMATCH, "a secret value")

    monkeypatch.setattr(preferences, "read", misplaced)
    async with front_door(link, keyring) as door:
        answer = await door.call("GET", f"{KYC}/preferences")
        assert (answer.status, answer.code) == (500, "internal_error")
        assert "secret" not in json.dumps(answer.body) + log.getvalue()


async def test_requests_are_counted_by_template(link: Redis, keyring: Keyring) -> None:
    """The metric knows the route's template, the method and the status; refusals their code,
    and how long each took.
    """

    def counted(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    route = f"{KYC}/session/{{token}}"
    before = counted("limen_http_requests_total", route=route, method="GET", status="404")
    refused = counted("limen_refusals_total", code="not_found")
    timed = counted("limen_refusal_seconds_count", code="not_found")
    strange = counted("limen_http_requests_total", route=UNMATCHED, method="other", status="404")
    async with front_door(link, keyring) as door:
        await door.call("GET", f"{KYC}/session/x", key="")
        await door.call("PROPFIND", "/coffee", key="")
    after = counted("limen_http_requests_total", route=route, method="GET", status="404")
    assert after == before + 1
    assert counted("limen_refusals_total", code="not_found") == refused + 2
    assert counted("limen_refusal_seconds_count", code="not_found") == timed + 2
    again = counted("limen_http_requests_total", route=UNMATCHED, method="other", status="404")
    assert again == strange + 1


def test_only_json_lines_are_set_up(log: StringIO) -> None:
    """A library's warning is one JSON line as well, without what it says."""
    logging.getLogger("aiohttp.server").warning("bad request %s", "a secret")
    (line,) = lines(log)
    assert line["logger"] == "aiohttp.server"
    assert "secret" not in log.getvalue()
