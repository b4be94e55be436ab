"""Quotas through the whole door: told on every answer, kept by class, and what is shed first."""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.api.call import Route
from serve.api.routes import ROUTES
from serve.domain.ids import Mode
from serve.domain.quota import SHED_AT, Quota
from serve.observe import metrics
from serve.sections import QuotaSection
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BOUNDLESS,
    BROKEN,
    JOHN,
    KYC,
    NOBODY,
    ORIGIN,
    PHONE,
    Answer,
    Door,
    front_door,
    text,
)

PATIENCE_S = 60.0
TIMEOUT_S = 20.0
UNKNOWN_TOKEN = f"st_07{'a' * 43}"
POLICY = re.compile(r'"([a-z]+)";q=([1-9][0-9]*);w=([1-9][0-9]*)')
LIMIT = re.compile(r'"([a-z]+)";r=([0-9]+);t=([0-9]+)')


def quota_of(**changed: float) -> QuotaSection:
    """Settings of which a test runs into only what it names."""
    return BOUNDLESS.model_copy(update=changed)


def policy_of(answer: Answer) -> str:
    """The policy that an answer tells; fails unless both headers tell it, soundly."""
    told = POLICY.fullmatch(answer.headers["RateLimit-Policy"])
    now = LIMIT.fullmatch(answer.headers["RateLimit"])
    assert told is not None
    assert now is not None
    assert told[1] == now[1]
    assert 0 <= int(now[2]) <= int(told[2])
    assert 0 <= int(now[3]) <= int(told[3])
    if answer.status == 429:
        assert int(answer.headers["Retry-After"]) >= 1
    return told[1]


def remaining(answer: Answer) -> int:
    """How many requests are left, as it tells."""
    found = LIMIT.fullmatch(answer.headers["RateLimit"])
    assert found is not None
    return int(found[2])


def filled(route: Route[Any, Any], token: str) -> str:
    """A path of the route, with ids that find nothing."""
    return re.sub(r"{(\w+)}", lambda place: token if place[1] == "token" else "x", route.path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_route_tells_how_its_caller_stands(
    link: Redis, keyring: Keyring, route: Route[Any, Any]
) -> None:
    """The class of the route as soon as the tenant is known, whatever becomes of the request; its
    address's policy where no key or token tells whose it is.
    """
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        body: object = {} if route.has_body else None
        agent = {"User_Agent": PHONE}
        stranger = await door.call(
            route.method, filled(route, UNKNOWN_TOKEN), body, key="", **agent
        )
        assert stranger.status in {401, 404, 422}
        assert policy_of(stranger) == "address"
        credential = token if route.scope is None else door.tenant.test_api_key
        if route.scope is None:
            body = {"token": token, "proof": "?"} if route.has_image else body
            path = filled(route, token)
            path = f"{path}?token={token}" if path.endswith("/session") else path
        else:
            path = filled(route, "x")
        for payload in (body, b"{" if route.has_body else None):
            own = await door.call(route.method, path, payload, key=credential, **agent)
            assert policy_of(own) == route.quota, (own.status, own.body)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("PUT", "/healthz"),
        ("OPTIONS", f"{KYC}/face/submit"),
        ("GET", f"{KYC}/session"),
        ("PROPFIND", "/"),
    ],
)
async def test_who_is_nobody_is_told_of_the_address(
    link: Redis, keyring: Keyring, method: str, path: str
) -> None:
    """Health, the document, what is not there and what asks for leave count for an address."""
    async with front_door(link, keyring) as door:
        first, second = [await door.call(method, path, key="") for _ in range(2)]
        assert policy_of(first) == policy_of(second) == "address"


async def test_a_key_without_the_scope_counts_for_its_tenant(link: Redis, keyring: Keyring) -> None:
    """Refusals count as well: a tenant that only asks for what it may not is no less busy."""
    async with front_door(link, keyring, quota=quota_of(read_per_s=1)) as door:
        found = [await door.call("GET", "/api/v1/events/x") for _ in range(3)]
        assert [answer.status for answer in found] == [404] * 3
        assert [remaining(answer) for answer in found] == [9, 8, 7]


async def test_a_quota_that_is_used_up_stops_its_own_class_alone(
    link: Redis, keyring: Keyring
) -> None:
    """429 with the seconds to wait; other classes, the other mode and other tenants go on; pages
    may read it, and it is counted.
    """
    name = "limen_quota_refusals_total"
    labels = {"quota": "read", "cause": "quota"}
    before = metrics.REGISTRY.get_sample_value(name, labels) or 0.0
    async with front_door(link, keyring, quota=quota_of(read_per_s=1, burst_s=20)) as door:
        last = await exhausted(door)
        assert (last.code, policy_of(last), remaining(last)) == ("too_many_requests", "read", 0)
        assert (await door.call("PATCH", "/api/v1/tenant", {})).status == 200
        for key in (door.tenant.api_key, door.stranger.test_api_key):
            assert (await door.call("GET", "/api/v1/tenant", key=key)).status == 200
    assert (metrics.REGISTRY.get_sample_value(name, labels) or 0.0) > before


async def exhausted(door: Door) -> Answer:
    """The first refusal."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await door.call("GET", "/api/v1/tenant")
            if answer.status == 429:
                return answer


async def test_test_mode_has_its_share(link: Redis, keyring: Keyring) -> None:
    """The policy that a test key is told is a tenth of a live key's; a factor moves both."""
    async with front_door(link, keyring, quota=quota_of(read_per_s=100, test_share=0.1)) as door:

        async def told() -> list[str]:
            keys = door.tenant.api_key, door.tenant.test_api_key
            answers = [await door.call("GET", "/api/v1/tenant", key=key) for key in keys]
            return [answer.headers["RateLimit-Policy"] for answer in answers]

        assert await told() == ['"read";q=1000;w=10', '"read";q=100;w=10']
        await door.deps.quotas.put_factor(door.tenant.tenant.id, 2.0)
        assert await told() == ['"read";q=2000;w=10', '"read";q=200;w=10']
        refused = await door.call("PATCH", "/api/v1/tenant", {"quota_factor": 1000})
        assert refused.code == "field_invalid"
        assert await told() == ['"read";q=2000;w=10', '"read";q=200;w=10']


async def test_pages_may_read_their_limits(link: Redis, keyring: Keyring) -> None:
    """The headers are among those that a page of the tenant is shown."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        answer = await door.call("GET", f"{KYC}/face/verify/{token}", key="", Origin=ORIGIN)
        shown = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(shown)
        assert policy_of(answer) == "phone"


async def test_an_address_is_stopped_before_redis_is_asked(link: Redis, keyring: Keyring) -> None:
    """With a valid key or without, 429 costs no command; the clock gives the pace back."""
    limits = quota_of(address_per_s=1, address_burst_s=30)
    async with front_door(link, keyring, quota=limits) as door:
        async with asyncio.timeout(PATIENCE_S):
            while (await door.call("GET", "/healthz", key="")).status == 200:
                pass
        before = await commands(link)
        found = [await door.call("GET", "/api/v1/tenant") for _ in range(5)]
        after = await commands(link)
        refused = [answer for answer in found if answer.status == 429]
        assert refused
        assert {(answer.code, policy_of(answer)) for answer in refused} == {
            ("too_many_requests", "address")
        }
        if len(refused) == len(found):
            assert after == before + 1  # the question itself


async def commands(link: Redis) -> int:
    """How many commands Redis has carried out."""
    return int((await link.info("stats"))["total_commands_processed"])


async def test_submissions_under_way_are_bounded(link: Redis, keyring: Keyring) -> None:
    """Beyond as many as may be judged at once 429 says: in a second. What is accepted for later
    and what the other mode does is not among them, and an answer makes room.
    """
    async with front_door(link, keyring, quota=quota_of(inflight_submits_max=1)) as door:
        token = await door.ready_token()
        door.faces.gate = asyncio.Event()
        first = asyncio.create_task(door.submit(token))
        async with asyncio.timeout(PATIENCE_S):
            while door.faces.examined < 2:  # noqa: ASYNC110 (1 was the enrolment)
                await asyncio.sleep(0)
        for named in ({}, {"Authorization": f"Bearer {token}"}):
            refused = await door.submit(token, JOHN, **named)
            assert (refused.status, policy_of(refused)) == (429, "submit")
            assert refused.headers["Retry-After"] == "1"
        later = await door.submit(token, b"later", Prefer="respond-async")
        assert later.code == "submission_in_progress"
        door.faces.gate.set()
        assert (await first).body["status"] == "approved"
        assert await freed(door, token)


@pytest.mark.parametrize("image", [NOBODY, BROKEN, b"?" * 3], ids=["unfit", "broken", "refused"])
async def test_an_error_makes_room_as_well(link: Redis, keyring: Keyring, image: bytes) -> None:
    """However a submission ends it is not under way any more."""
    async with front_door(link, keyring, quota=quota_of(inflight_submits_max=1)) as door:
        token = await door.ready_token()
        if image not in {NOBODY, BROKEN}:
            door.faces.crowded.add(door.tenant.tenant.id)
        assert (await door.submit(token, image)).status in {422, 503}
        door.faces.crowded.clear()
        assert await freed(door, token)


async def test_who_hangs_up_makes_room(link: Redis, keyring: Keyring) -> None:
    """A phone that goes away while its capture is judged is not counted for longer than that."""
    async with front_door(link, keyring, quota=quota_of(inflight_submits_max=1)) as door:
        token = await door.ready_token()
        door.faces.gate = asyncio.Event()
        first = asyncio.create_task(door.submit(token))
        async with asyncio.timeout(PATIENCE_S):
            while door.faces.examined < 2:  # noqa: ASYNC110 (1 was the enrolment)
                await asyncio.sleep(0)
        first.cancel()
        door.faces.gate.set()
        assert await freed(door, token)


async def freed(door: Door, token: str) -> bool:
    """Whether another submission is let in before patience ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while (await door.submit(token, b"another")).status == 429:
                pass
            return True
    return False


STAGES = [(Mode.TEST, Quota.OPEN), (Mode.TEST, Quota.SUBMIT), (Mode.TEST, Quota.ENROL),
          (Mode.LIVE, Quota.ENROL), (Mode.LIVE, Quota.OPEN)]  # fmt: skip


async def test_work_is_shed_in_order(link: Redis, keyring: Keyring) -> None:
    """As the wait of a tenant's images grows, test sessions are refused first, then test images,
    live enrolments, live sessions; live captures never, nor what is accepted for later, nor
    another tenant's.
    """
    async with front_door(link, keyring) as door:
        tokens = {
            Mode.TEST: await door.ready_token(),
            Mode.LIVE: await live_token(door, door.tenant.api_key),
        }
        shares = sorted(set(SHED_AT.values()))
        for share in (0.0, *shares, 5.0):
            for wait_s in (share * TIMEOUT_S - 0.001, share * TIMEOUT_S):
                door.faces.waits_s = {door.tenant.tenant.id: max(0.0, wait_s)}
                for mode, quota in (*STAGES, (Mode.LIVE, Quota.SUBMIT)):
                    answer = await attempt(door, mode, quota, tokens[mode])
                    is_shed = wait_s >= SHED_AT.get((mode, quota), 99.0) * TIMEOUT_S
                    assert (answer.code == "overloaded") == is_shed, (mode, quota, wait_s)
                    if is_shed:
                        assert answer.status == 503
                        assert wait_s <= int(answer.headers["Retry-After"]) or wait_s > 60
        later = await door.submit(tokens[Mode.TEST], b"new", Prefer="respond-async")
        assert later.code != "overloaded"
        own = door.stranger.test_api_key
        body = {"image": text(JOHN)}
        path = "/api/v1/customers/alice/faces"
        assert (await door.call("POST", path, body, key=own)).status == 201


async def live_token(door: Door, key: str) -> str:
    """The token of a session of this key's that waits for a capture."""
    wanted = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}
    assert (await door.call("PATCH", f"{KYC}/preferences", wanted, key=key)).status == 200
    body = {"image": text(JOHN)}
    assert (await door.call("POST", "/api/v1/customers/alice/faces", body, key=key)).status == 201
    return str((await opened(door, key)).body["token"])


async def opened(door: Door, key: str) -> Answer:
    """A session of alice, or why there is none."""
    body = {"reference": "order-1", "customer_id": "alice", "event": "login"}
    return await door.call("POST", f"{KYC}/face/session", body, key=key)


async def attempt(door: Door, mode: Mode, quota: Quota, token: str) -> Answer:
    """One request of a class in a mode."""
    key = door.tenant.api_key if mode is Mode.LIVE else door.tenant.test_api_key
    if quota is Quota.OPEN:
        return await opened(door, key)
    if quota is Quota.ENROL:
        body = {"image": text(JOHN)}
        return await door.call("POST", "/api/v1/customers/alice/faces", body, key=key)
    return await door.submit(token, b"a face")


@pytest.mark.parametrize("is_same", [False, True], ids=["another tenant", "its other world"])
async def test_a_flood_is_its_own_world_s_trouble(
    link: Redis, keyring: Keyring, *, is_same: bool
) -> None:
    """Of a world that asks twenty times as much as its quota most is 429; another tenant, or the
    same one's other world, that keeps to its pace meanwhile loses nothing, from the opened session
    to the verdict.
    """
    limits = quota_of(open_per_s=2, submit_per_s=2, phone_per_s=2, burst_s=10)
    async with front_door(link, keyring, quota=limits) as door:
        token = await door.ready_token()
        key = (door.tenant if is_same else door.stranger).api_key
        quiet = await live_token(door, key)

        async def flood() -> list[Answer]:
            asked = [door.open() for _ in range(400)]
            asked += [door.submit(token, b"flood %d" % number) for number in range(400)]
            path = f"{KYC}/face/verify/{token}"
            asked += [door.call("GET", path, key="") for _ in range(400)]
            return await asyncio.gather(*asked)

        async def keep_pace() -> list[Answer]:
            found = []
            for number in range(9):
                found.append(await door.call("GET", f"{KYC}/face/verify/{quiet}", key=""))
                own = await opened(door, key)
                found += [own, await door.submit(own.body["token"], JOHN + b"%d" % number)]
            return found

        flooded, kept = await asyncio.gather(flood(), keep_pace())
        assert {answer.status for answer in kept} == {200}
        assert Counter(policy_of(answer) for answer in kept) == dict.fromkeys(
            ("phone", "open", "submit"), 9
        )
        refused = Counter(policy_of(answer) for answer in flooded if answer.status == 429)
        assert all(refused[name] > 300 for name in ("open", "submit", "phone")), refused
