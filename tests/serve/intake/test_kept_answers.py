"""What is kept under an `Idempotency-Key`, what is not, for whom, and until when."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientError
from redis.asyncio import Redis

from serve.domain import idempotency
from serve.domain.idempotency import Repeat
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code, ServeError
from serve.flows.tenants import create_key
from serve.observe import metrics
from serve.store.intake.idempotency import RedisIdempotency
from serve.store.ledger import RedisLedger
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BROKEN,
    JOHN,
    KYC,
    MARY,
    NOBODY,
    Answer,
    Door,
    front_door,
    text,
)

REPLAYED = "Idempotency-Replayed"
FACES = "/api/v1/customers/alice/faces"
SESSION = f"{KYC}/face/session"
ALICE = "/api/v1/customers/alice"
OPEN = {"reference": "order-9", "customer_id": "alice", "event": "login"}
WAIT_S = 20.0  # for what comes in milliseconds


def is_replay(answer: Answer) -> bool:
    return answer.headers.get(REPLAYED) == "true"


async def enrol(door: Door, image: bytes = JOHN, key: str = "enrol") -> Answer:
    """Alice's face, under a key."""
    return await door.call("POST", FACES, {"image": text(image)}, Idempotency_Key=key)


async def end_leases(link: Redis) -> None:
    """As if 30 s had gone by."""
    async for key in link.scan_iter("*:idem:*"):
        await link.hset(key, "t", "0")


def counted(outcome: Repeat) -> float:
    labels = {"outcome": outcome.value}
    return metrics.REGISTRY.get_sample_value("limen_idempotency_total", labels) or 0.0


async def test_worlds_and_routes_share_no_keys(link: Redis, keyring: Keyring) -> None:
    """One key, sent by two tenants, in two modes and on two routes, is five keys."""
    async with front_door(link, keyring) as door:
        faces = set()
        for api_key in (
            door.tenant.api_key,
            door.tenant.test_api_key,
            door.stranger.api_key,
            door.stranger.test_api_key,
        ):
            body = {"image": text(JOHN)}
            first = await door.call("POST", FACES, body, key=api_key, Idempotency_Key="k")
            assert (first.status, is_replay(first)) == (201, False)
            faces.add(first.body["face_id"])
        assert len(faces) == 4
        other = await door.call("POST", SESSION, OPEN, Idempotency_Key="k")
        assert (other.status, is_replay(other)) == (200, False)


async def test_what_is_asked_counts_and_not_how_it_is_written(
    link: Redis, keyring: Keyring
) -> None:
    """Spaces, escapes and the order of members make no other request; a member more does."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        first = await door.call("POST", SESSION, OPEN, Idempotency_Key="k")
        assert first.body["token"] not in {"", token}
        spaced = json.dumps(dict(reversed(OPEN.items())), indent=2).replace("alice", "\\u0061lice")
        again = await door.call("POST", SESSION, spaced.encode(), Idempotency_Key="k")
        assert is_replay(again)
        assert again.body == first.body
        more = await door.call("POST", SESSION, {**OPEN, "amount": 5}, Idempotency_Key="k")
        assert more.code == "idempotency_mismatch"


@pytest.mark.parametrize(
    ("image", "code"),
    [(NOBODY, "capture_unfit"), (BROKEN, "image_corrupt"), (b"", "proof_invalid")],
)
async def test_a_refusal_of_the_request_is_kept(
    link: Redis, keyring: Keyring, image: bytes, code: str
) -> None:
    """It is replayed with its code, detail and hints, under the id of the request that gets it."""
    async with front_door(link, keyring) as door:
        first = await enrol(door, image)
        assert first.code == code
        looked = door.faces.examined
        again = await enrol(door, image)
        assert is_replay(again)
        assert (again.status, again.headers["Content-Type"]) == (422, first.headers["Content-Type"])
        ids = [item.body.pop("request_id") for item in (first, again)]
        assert again.body == first.body
        assert ids == [item.headers["X-Request-Id"] for item in (first, again)]
        assert ids[0] != ids[1]
        assert door.faces.examined == looked


async def test_a_refusal_stands_when_its_cause_has_gone(link: Redis, keyring: Keyring) -> None:
    """404 stays 404 under its key, and under another key the request is asked anew."""
    async with front_door(link, keyring) as door:
        missing = await door.call("DELETE", ALICE, Idempotency_Key="k")
        assert missing.status == 404
        await door.enrol()
        again = await door.call("DELETE", ALICE, Idempotency_Key="k")
        assert (again.status, is_replay(again)) == (404, True)
        assert (await door.call("DELETE", ALICE, Idempotency_Key="k2")).status == 200


async def test_what_never_reached_the_handler_is_not_kept(link: Redis, keyring: Keyring) -> None:
    """A wrong key, a missing scope, a body that is none: the same key serves the right request."""
    async with front_door(link, keyring) as door:
        bare = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, [Scope.EVENTS])
        for body, api_key, status in (
            ({"image": text(JOHN)}, "sk_test_wrong", 401),
            ({"image": text(JOHN)}, bare[1], 403),
            ({"picture": text(JOHN)}, None, 422),
            (b"[1, 2", None, 400),
        ):
            refused = await door.call("POST", FACES, body, key=api_key, Idempotency_Key="k")
            assert refused.status == status
        assert (await enrol(door, key="k")).status == 201
        assert [key async for key in link.scan_iter("*:idem:*")] != []


async def test_what_says_try_again_is_not_kept(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 503, 500 and a conflict that says `Retry-After` the request is carried out."""
    async with front_door(link, keyring) as door:
        commit = RedisLedger.commit
        trouble: list[Exception] = [
            ServeError(Code.OVERLOADED, "a full queue"),
            RuntimeError("a defect"),
            ServeError(Code.SUBMISSION_IN_PROGRESS, "it is being judged"),
        ]

        async def troubled(*args: Any) -> Any:
            if trouble:
                raise trouble.pop(0)
            return await commit(*args)

        monkeypatch.setattr(RedisLedger, "commit", troubled)
        for status in (503, 500, 409):
            refused = await enrol(door)
            assert (refused.status, is_replay(refused)) == (status, False)
            assert (await enrol(door, MARY)).code == "idempotency_mismatch"
        assert (await enrol(door)).status == 201
        assert is_replay(await enrol(door))


async def test_an_answer_goes_with_its_customer(link: Redis, keyring: Keyring) -> None:
    """What told of an erased customer is 410, and is not done again; the receipt stays."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        mary = await enrol(door, MARY)
        opened = await door.call("POST", SESSION, OPEN, Idempotency_Key="open")
        assert (mary.status, opened.status) == (201, 200)
        receipt = await door.call("DELETE", ALICE, Idempotency_Key="erase")
        assert receipt.status == 200

        async def assert_gone() -> None:
            for again in (
                await enrol(door, MARY),
                await door.call("POST", SESSION, OPEN, Idempotency_Key="open"),
            ):
                assert (again.status, again.code) == (410, "answer_erased")
            replayed = await door.call("DELETE", ALICE, Idempotency_Key="erase")
            assert (replayed.body, is_replay(replayed)) == (receipt.body, True)

        await assert_gone()
        status = await door.call("GET", f"{KYC}/status?customer_id=alice")
        assert status.body["kyc_status"] == "pending"
        assert (await door.enrol()).status == 201  # somebody of that name, anew
        await assert_gone()
        status = await door.call("GET", f"{KYC}/status?customer_id=alice")
        assert status.body["kyc_status"] == "approved"


@pytest.mark.parametrize("is_told", [True, False])
async def test_no_retry_brings_an_erased_customer_back(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """An enrolment whose answer was lost, asked for again after an erasure, is 410; a new one is
    carried out.
    """
    async with front_door(link, keyring) as door:
        commit, finish = RedisLedger.commit, RedisIdempotency.finish

        async def lost(*args: Any) -> Any:
            if not is_told:
                await commit(*args)
            raise ServeError(Code.STATE_UNAVAILABLE, "the link broke")

        if is_told:
            monkeypatch.setattr(RedisIdempotency, "finish", lost)
        else:
            monkeypatch.setattr(RedisLedger, "commit", lost)
        assert (await enrol(door)).status == (201 if is_told else 503)
        monkeypatch.setattr(RedisLedger, "commit", commit)
        monkeypatch.setattr(RedisIdempotency, "finish", finish)
        assert (await door.call("DELETE", ALICE)).status == 200
        await end_leases(link)
        for key in ("enrol", "enrol", '"enrol"'):
            again = await enrol(door, key=key)
            assert (again.status, again.code) == (410, "answer_erased")
        status = await door.call("GET", f"{KYC}/status?customer_id=alice")
        assert status.body["kyc_status"] == "pending"
        assert (await enrol(door, MARY, key="another")).status == 201
        assert (await enrol(door)).code == "answer_erased"


async def test_a_kept_answer_is_in_the_clear_nowhere(link: Redis, keyring: Keyring) -> None:
    """No record of a key shows the token, the customer, the key itself or what was answered."""
    async with front_door(link, keyring) as door:
        await door.ready_token()
        opened = await door.call("POST", SESSION, OPEN, Idempotency_Key="canary-key")
        passed = {**OPEN, "event": "deposit", "reference": "canary-reference"}
        answer = await door.call("POST", SESSION, passed, Idempotency_Key="canary-key-2")
        assert (answer.status, answer.body["is_required"]) == (200, False)
        held = [repr((key, await link.hgetall(key))) async for key in link.scan_iter("{i*}:idem:*")]
        assert len(held) == 2
        for secret in (opened.body["token"], "alice", "canary", "order-9", "is_required"):
            assert not [record for record in held if secret in record]


async def test_who_hangs_up_finds_the_answer(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes while it is waited for the models stops nothing: the answer is kept."""
    async with front_door(link, keyring) as door:
        arrived, go_on = asyncio.Event(), asyncio.Event()
        examine = type(door.faces).examine

        async def slow(*args: Any, **named: Any) -> Any:
            arrived.set()
            await go_on.wait()
            return await examine(*args, **named)

        monkeypatch.setattr(type(door.faces), "examine", slow)
        call = asyncio.create_task(enrol(door))
        async with asyncio.timeout(WAIT_S):
            await arrived.wait()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert (await enrol(door)).code == "idempotency_in_progress"
            go_on.set()
            while (again := await enrol(door)).code == "idempotency_in_progress":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (again.status, is_replay(again)) == (201, True)
        assert door.faces.examined == 1


async def test_a_slow_request_that_was_taken_over_does_nothing_twice(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is slower than the lease gets the face that the one who took over enrolled."""
    async with front_door(link, keyring) as door:
        arrived, go_on = asyncio.Event(), asyncio.Event()
        examine = type(door.faces).examine

        async def slow_once(*args: Any, **named: Any) -> Any:
            if not arrived.is_set():
                arrived.set()
                await go_on.wait()
            return await examine(*args, **named)

        monkeypatch.setattr(type(door.faces), "examine", slow_once)
        async with asyncio.timeout(WAIT_S):
            slow = asyncio.create_task(enrol(door))
            await arrived.wait()
            await end_leases(link)
            quick = await enrol(door)
            go_on.set()
            late = await slow
        assert (quick.status, late.status) == (201, 201)
        assert late.body == quick.body == (await enrol(door)).body
        assert not is_replay(late)
        rows = [await link.xlen(key) async for key in link.scan_iter("*:faces")]
        assert sum(rows) == 1


@pytest.mark.parametrize("has_happened", [False, True])
async def test_a_canceled_handler_leaves_its_claim_to_run_out(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, has_happened: bool
) -> None:
    """Whether or not the effect had happened: it happens once, and the next one gets the answer."""
    async with front_door(link, keyring) as door:
        commit = RedisLedger.commit
        commits = 0

        async def canceled(*args: Any) -> Any:
            nonlocal commits
            commits += 1
            if commits == 1:
                if has_happened:
                    await commit(*args)
                raise asyncio.CancelledError
            return await commit(*args)

        monkeypatch.setattr(RedisLedger, "commit", canceled)
        with pytest.raises(ClientError):
            await enrol(door)
        assert (await enrol(door)).code == "idempotency_in_progress"
        await end_leases(link)
        assert (await enrol(door)).status == 201
        assert is_replay(await enrol(door))
        rows = [await link.xlen(key) async for key in link.scan_iter("*:faces")]
        assert sum(rows) == 1


async def test_a_large_answer_is_not_kept(
    link: Redis, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made again as the same operation, which does nothing twice, and that is counted."""
    monkeypatch.setattr(idempotency, "ANSWER_BYTES_MAX", 10)
    async with front_door(link, keyring) as door:
        before = counted(Repeat.NOT_KEPT)
        first, again = await enrol(door), await enrol(door)
        assert (again.status, again.body) == (first.status, first.body)
        assert not is_replay(again)
        assert counted(Repeat.NOT_KEPT) == before + 2
        assert (await enrol(door, MARY)).code == "idempotency_mismatch"


async def test_each_outcome_is_counted(link: Redis, keyring: Keyring) -> None:
    """First, replayed, mismatch and erased each count one."""
    async with front_door(link, keyring) as door:
        wanted = (Repeat.FIRST, Repeat.REPLAYED, Repeat.MISMATCH, Repeat.ERASED)
        before = [counted(outcome) for outcome in wanted]
        await enrol(door)
        await enrol(door)
        await enrol(door, MARY)
        await door.call("DELETE", ALICE)
        await enrol(door)
        assert [counted(outcome) for outcome in wanted] == [number + 1 for number in before]


async def test_where_no_key_is_taken_none_is_looked_at(link: Redis, keyring: Keyring) -> None:
    """Reads and public routes answer as ever, whatever the header holds."""
    async with front_door(link, keyring) as door:
        token = await door.ready_token()
        for key in ("k", '"cut short', "k" * 300):
            for _ in range(2):
                read = await door.call("GET", f"{KYC}/preferences", Idempotency_Key=key)
                assert (read.status, is_replay(read)) == (200, False)
                body = {"token": token}
                path = f"{KYC}/session/connect"
                told = await door.call("PUT", path, body, key="", Idempotency_Key=key)
                assert (told.status, is_replay(told)) == (200, False)
        assert [key async for key in link.scan_iter("*:idem:*")] == []
