"""The application as a whole: who gets in, how far, and how often one may guess."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.api.application import FrontDoor, build_application, public_methods
from serve.api.call import Route
from serve.api.routes import ROUTES
from serve.domain.ids import Mode
from serve.domain.liveness.wire import STREAM_PATH
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code, ServeError
from serve.flows.tenants import create_key, revoke_key
from serve.settings import Server, Settings
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import KYC, Door, assert_documented, deps_on, front_door

PRIVATE = [route for route in ROUTES if route.scope is not None]
UNKNOWN_TOKEN = f"st_07{'a' * 43}"


def path_of(route: Route[Any, Any], value: str = "unknown") -> str:
    """The route's path with `value` in every place, and the query it cannot do without."""
    path = route.path
    for name in route.path_names:
        path = path.replace(f"{{{name}}}", value)
    needed = {"customer_id", "token"} - set(route.path_names)
    wanted = [f"{name}=x" for name in sorted(needed & set(route.parameters.model_fields))]
    return f"{path}?{'&'.join(wanted)}" if wanted else path


async def test_every_private_route_wants_a_key(link: Redis, keyring: Keyring) -> None:
    """Without a key, with a false one and with a revoked one the answer is 401, everywhere."""
    async with front_door(link, keyring, refusals_per_minute_max=2 * len(PRIVATE)) as door:
        gone, text = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, tuple(Scope))
        await revoke_key(door.deps, gone.id)
        false = door.tenant.test_api_key[:-2] + "__"
        for route in PRIVATE:
            for key in ("", false) if route.method == "GET" else ("", text):
                answer = await door.call(route.method, path_of(route), b"{}", key=key)
                assert (answer.status, answer.code) == (401, "key_invalid"), route.path
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert_documented(answer, route.method, route.path)


async def test_every_private_route_wants_its_scope(link: Redis, keyring: Keyring) -> None:
    """A key with all scopes but the route's is answered 403."""
    async with front_door(link, keyring) as door:
        for scope in Scope:
            others = [other for other in Scope if other is not scope]
            _, key = await create_key(door.deps, door.tenant.tenant.id, Mode.LIVE, others)
            for route in PRIVATE:
                if route.scope is scope:
                    answer = await door.call(route.method, path_of(route), b"{}", key=key)
                    assert (answer.status, answer.code) == (403, "scope_missing"), route.path
                    assert_documented(answer, route.method, route.path)


async def test_the_other_header_carries_a_key_as_well(link: Redis, keyring: Keyring) -> None:
    """`X-API-Key` does what `Authorization: Bearer` does."""
    async with front_door(link, keyring) as door:
        key = door.tenant.api_key
        answer = await door.call("GET", "/api/v1/tenant", key="", X_API_Key=key)
        assert answer.status == 200
        assert answer.body["name"] == "First"


@pytest.mark.parametrize(
    ("method", "template"),
    [
        (route.method, route.path)
        for route in PRIVATE
        if route.path_names and route.path_names != ("customer_id",)
    ],
)
async def test_unknown_ids_are_not_found(
    link: Redis, keyring: Keyring, method: str, template: str
) -> None:
    """An id of no record, or of no shape, is 404 on every route that takes one."""
    async with front_door(link, keyring) as door:
        (route,) = (item for item in PRIVATE if (item.method, item.path) == (method, template))
        shapes = [f"{prefix}_07{'a' * 22}" for prefix in ("ses", "alr", "msg", "era")]
        body = {"decision": "approved"} if template.endswith("review") else {}
        body = {"status": "resolved"} if template.endswith("{flag_id}") else body
        for value in ("unknown", "a%2Fb", "%00", *shapes):
            answer = await door.call(method, path_of(route, value), body)
            assert (answer.status, answer.code) == (404, "not_found"), value
            assert_documented(answer, method, template)


async def test_unknown_paths_and_wrong_methods_are_problems(link: Redis, keyring: Keyring) -> None:
    """404, and 405 with `Allow`, as problem documents with a request id."""
    async with front_door(link, keyring) as door:
        lost = await door.call("GET", "/api/v1/kyc/nothing")
        assert (lost.status, lost.code) == (404, "not_found")
        wrong = await door.call("DELETE", f"{KYC}/preferences")
        assert (wrong.status, wrong.code) == (405, "method_not_allowed")
        assert wrong.headers["Allow"] == "GET,HEAD,PATCH"
        for answer in (lost, wrong):
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            assert answer.headers["X-Request-Id"] == answer.body["request_id"]


async def test_the_older_path_by_reference_does_not_exist(link: Redis, keyring: Keyring) -> None:
    """A reference can be guessed: it finds nothing, whoever asks."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        for path in (f"{KYC}/face/verify/order-1", f"{KYC}/session/order-1"):
            assert (await door.call("GET", path)).status == 404


async def test_parameters_are_checked(link: Redis, keyring: Keyring) -> None:
    """A bad, unknown, missing or repeated parameter is 422 and named."""
    async with front_door(link, keyring) as door:
        alerts, sessions = f"{KYC}/alerts", f"{KYC}/face/sessions"
        cases = {
            f"{alerts}?limit=0": "limit",
            f"{alerts}?limit=101": "limit",
            f"{alerts}?limit=many": "limit",
            f"{alerts}?status=shut": "status",
            f"{alerts}?stauts=open": "stauts",
            f"{alerts}?limit=1&limit=2": "limit",
            sessions: "customer_id",
            f"{sessions}?customer_id=": "customer_id",
            f"{sessions}?customer_id=a%00b": "customer_id",
            f"{sessions}?customer_id={'a' * 257}": "customer_id",
            f"{sessions}/ses_1?session_id=ses_2": "session_id",
        }
        for path, name in cases.items():
            answer = await door.call("GET", path)
            assert (answer.status, answer.code) == (422, "field_invalid"), path
            assert answer.body["errors"][0]["parameter"] == name


@pytest.mark.parametrize("what", ["key", "token"])
async def test_guessing_is_stopped(link: Redis, keyring: Keyring, what: str) -> None:
    """After as many unknown keys or tokens as are allowed, even a good one has to wait."""
    async with front_door(link, keyring, refusals_per_minute_max=3) as door:
        token = await door.ready_token()
        guess = guess_key if what == "key" else guess_token
        for _ in range(3):
            assert await guess(door) in {401, 404}
        for path, key in ((f"{KYC}/preferences", None), (f"{KYC}/face/verify/{token}", "")):
            answer = await door.call("GET", path, key=key)
            assert (answer.status, answer.code) == (429, "too_many_requests")
            assert 1 <= int(answer.headers["Retry-After"]) <= 61
        assert (await door.call("GET", "/healthz", key="")).status == 200


async def guess_key(door: Door) -> int:
    return (await door.call("GET", "/api/v1/tenant", key="sk_live_no")).status


async def guess_token(door: Door) -> int:
    return (await door.call("GET", f"{KYC}/session/{UNKNOWN_TOKEN}", key="")).status


async def test_an_honest_client_is_no_guesser(link: Redis, keyring: Keyring) -> None:
    """Ids of the tenant's that are not found do not count."""
    async with front_door(link, keyring, refusals_per_minute_max=1) as door:
        for _ in range(3):
            assert (await door.call("GET", f"{KYC}/alerts/alr_1")).status == 404


async def test_guesses_are_counted_by_the_address_behind_a_proxy(
    link: Redis, keyring: Keyring
) -> None:
    """Through a trusted proxy each client has a budget of its own."""
    settings = {"refusals_per_minute_max": 1, "trusted_proxies": ("127.0.0.0/8",)}
    async with front_door(link, keyring, **settings) as door:
        for address, status in (("203.0.113.1", 401), ("203.0.113.1", 429), ("203.0.113.2", 401)):
            answer = await door.call(
                "GET", "/api/v1/tenant", key="sk_live_no", X_Forwarded_For=address
            )
            assert answer.status == status


async def test_health_needs_nothing(link: Redis, keyring: Keyring) -> None:
    """`/healthz` answers without a key, and HEAD as well as GET."""
    async with front_door(link, keyring) as door:
        assert (await door.call("GET", "/healthz", key="")).body == {"status": "ok"}
        assert (await door.call("HEAD", "/healthz", key="")).status == 200


async def test_the_description_is_served(link: Redis, keyring: Keyring) -> None:
    """`/openapi.json` is the document of the table of routes."""
    async with front_door(link, keyring) as door:
        answer = await door.call("GET", "/openapi.json", key="")
        assert answer.status == 200
        assert answer.body["openapi"] == "3.1.0"


async def test_the_router_is_the_table(link: Redis, keyring: Keyring) -> None:
    """Nothing is routed that the table does not have, but health, description, streams and
    preflights.
    """
    application = build_application(deps_on(link, keyring), Settings())
    routed = {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    own = {("GET", "/healthz"), ("GET", "/openapi.json"), ("GET", STREAM_PATH)}
    preflights = {("OPTIONS", path) for path in public_methods()}
    assert routed == {(route.method, route.path) for route in ROUTES} | own | preflights


async def test_two_submissions_at_once_are_one_attempt(link: Redis, keyring: Keyring) -> None:
    """The same bytes from two connections get one answer, or one is told to wait."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        answers = await asyncio.gather(*(door.submit(token, b"mary") for _ in range(5)))
        assert {answer.status for answer in answers} <= {200, 409}
        told = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
        assert told.body["data"]["retries_remaining"] == 2


async def test_a_wrong_proxy_stops_the_start(link: Redis, keyring: Keyring) -> None:
    """A trusted proxy that is no network is refused by name before anything is served."""
    settings = Settings(server=Server(trusted_proxies=("not a network",)))
    with pytest.raises(ServeError) as caught:
        FrontDoor.opened(deps_on(link, keyring), settings)
    assert caught.value.code is Code.SETTING_INVALID


async def test_secrets_are_in_no_repr(link: Redis, keyring: Keyring) -> None:
    """The shared state of the door prints neither pepper nor keys."""
    door = FrontDoor.opened(deps_on(link, keyring), Settings())
    assert repr(keyring.pepper) not in repr(door)
