"""Second signals: taken at enrolment, kept as digests that only one world has, shown nowhere."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from serve.domain.customer import Customer
from serve.domain.ids import Mode, Subject
from serve.domain.sweeps.signals import SIGNALS_KEPT, SignalKind, joined, signals_of
from serve.flows.customers import EnrolRequest
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, MARY, Answer, Door, assert_documented, front_door, text
from tests.helpers.records import a_customer
from tests.isolation.test_records import everything

FACES = "/api/v1/customers/{customer_id}/faces"
HASH = "sha256:9f86d081884c7d659a2feaa0c55ad015"
PEPPER = b"p" * 32
PHONE = {SignalKind.PHONE: HASH}


async def enrol(door: Door, signals: object, image: bytes = JOHN, **call: Any) -> Answer:
    """Alice's face, with these signals."""
    body = {"image": text(image), "signals": signals}
    return await door.call("POST", FACES.format(customer_id="alice"), body, **call)


async def kept(door: Door, mode: Mode = Mode.TEST) -> tuple[str, ...]:
    """Alice's signals, as they are in her record."""
    subject = door.deps.ledger.subject(door.tenant.tenant.id, mode, "alice")
    customer = (await door.deps.ledger.snapshot(subject)).customer
    return () if customer is None else customer.signals


def test_a_signal_is_one_world_s() -> None:
    """The same text of two customers of a world is one digest; in another tenant, mode or kind,
    or under another pepper, it is another.
    """
    alice, bob = (Subject("ten_a", Mode.LIVE, name) for name in ("alice", "bob"))
    assert signals_of(PEPPER, alice, PHONE) == signals_of(PEPPER, bob, PHONE)
    others = [
        signals_of(PEPPER, Subject("ten_b", Mode.LIVE, "alice"), PHONE),
        signals_of(PEPPER, Subject("ten_a", Mode.TEST, "alice"), PHONE),
        signals_of(PEPPER, alice, {SignalKind.EMAIL: HASH}),
        signals_of(b"q" * 32, alice, PHONE),
    ]
    digests = {signals[0].partition(":")[2] for signals in (signals_of(PEPPER, alice, PHONE),
               *others)}  # fmt: skip
    assert len(digests) == 1 + len(others)


@given(st.lists(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=4), max_size=40))
def test_the_newest_signals_are_kept(gifts: list[list[str]]) -> None:
    """Sixteen at most, each once, and those given last are all there."""
    signals: tuple[str, ...] = ()
    for gift in gifts:
        new = tuple(dict.fromkeys(gift))
        signals = joined(signals, new)
        assert len(signals) == len(set(signals)) <= SIGNALS_KEPT
        assert signals[len(signals) - len(new) :] == new
    if len({name for gift in gifts for name in gift}) <= SIGNALS_KEPT:
        assert set(signals) == {name for gift in gifts for name in gift}


def test_records_from_before_signals_are_read() -> None:
    """A customer who was written down without them has none."""
    old = json.loads(a_customer().dump())
    assert old.pop("signals") == []
    assert Customer.model_validate(old).signals == ()


def test_a_request_and_a_record_print_no_signal() -> None:
    """Neither the tenant's hash nor the digest appears in a repr."""
    signals = signals_of(PEPPER, Subject("ten_a", Mode.LIVE, "alice"), PHONE)
    shown = repr([EnrolRequest("alice", b"", signals=PHONE), a_customer(signals=signals)])
    assert HASH not in shown
    assert signals[0] not in shown


async def test_signals_are_kept_with_the_customer(link: Redis, keyring: Keyring) -> None:
    """One of each kind that was given, in the world of the key; a second face adds to them."""
    async with front_door(link, keyring) as door:
        assert (await enrol(door, {"phone": HASH, "document": HASH, "email": None})).status == 201
        first = await kept(door)
        assert [signal.partition(":")[0] for signal in first] == ["document", "phone"]
        assert (await enrol(door, {"phone": HASH + "2"}, MARY)).status == 201
        assert (await kept(door))[:2] == first
        assert len(await kept(door)) == 3
        await enrol(door, {"phone": HASH}, key=door.tenant.api_key)
        (live,) = await kept(door, Mode.LIVE)
        assert live not in first


async def test_the_same_photo_brings_new_signals(link: Redis, keyring: Keyring) -> None:
    """They are added to a face that was there before, once, and the trail says so; the face and
    the answer are as they were.
    """
    async with front_door(link, keyring) as door:
        first = await enrol(door, {})
        assert (first.status, await kept(door)) == (201, ())
        for _ in range(2):
            again = await enrol(door, {"device": HASH})
            assert (again.status, again.body) == (200, first.body)
        assert len(await kept(door)) == 1
        trail = await door.call("GET", "/api/v1/audit?customer_id=alice&action=customer.enrolled")
        assert [entry["outcome"] for entry in trail.body["data"]] == ["signals", None]


async def test_a_repeat_does_nothing_again(link: Redis, keyring: Keyring) -> None:
    """The same request under one key is answered once; with another signal it is another one."""
    async with front_door(link, keyring) as door:
        for replayed in (None, "true"):
            answer = await enrol(door, {"phone": HASH}, Idempotency_Key="k")
            assert (answer.status, answer.headers.get("Idempotency-Replayed")) == (201, replayed)
        other = await enrol(door, {"phone": HASH + "2"}, Idempotency_Key="k")
        assert other.code == "idempotency_mismatch"
        assert len(await kept(door)) == 1


async def test_a_signal_is_shown_nowhere(
    link: Redis, keyring: Keyring, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in an answer, a log line or a list; in Redis there is neither the hash nor its digest."""
    async with front_door(link, keyring) as door:
        answers = [await enrol(door, {"phone": HASH}), await enrol(door, {"email": HASH})]
        paths = ("kyc/status?customer_id=alice", "verifications", "audit", "kyc/alerts")
        answers += [await door.call("GET", f"/api/v1/{path}") for path in paths]
        assert {answer.status for answer in answers} <= {200, 201}
        digests = [signal.partition(":")[2] for signal in await kept(door)]
        assert len(digests) == 2
        said = capfd.readouterr()
        records = await everything(link)
        places = [str(answer) for answer in answers] + [said.out, said.err]
        places += [f"{key} {value!r}" for key, value in records.items()]
        assert len(records) > 20
        assert not [place for place in places for word in (HASH, *digests) if word in place]


async def test_signals_go_with_their_customer(link: Redis, keyring: Keyring) -> None:
    """Erased, and enrolled again under the same name, a customer has given nothing."""
    async with front_door(link, keyring) as door:
        await enrol(door, {"phone": HASH})
        assert (await door.call("DELETE", "/api/v1/customers/alice")).status == 200
        assert await kept(door) == ()
        assert (await enrol(door, {})).status == 201
        assert await kept(door) == ()


@pytest.mark.parametrize(
    "signals",
    [
        {"phone": "+4915112345678"},
        {"email": "somebody@example.org"},
        {"document": ""},
        {"document": "a" * 15},
        {"document": "a" * 129},
        {"device": "a b c d e f g h i j"},
        {"device": "aaaaaaaaaaaaaaaa\n"},
        {"device": "a\0aaaaaaaaaaaaaaa"},
        {"device": "ä" * 16},
        {"device": 1234567890123456},
        {"device": [HASH]},
        {"passport": HASH},
        [HASH],
        HASH,
        None,
    ],
)
async def test_what_is_no_hash_is_refused(
    link: Redis, keyring: Keyring, signals: Mapping[str, object]
) -> None:
    """A number, an address or anything else that is the thing itself is 422, quoted nowhere, and
    nobody is enrolled.
    """
    async with front_door(link, keyring) as door:
        answer = await enrol(door, signals)
        assert (answer.status, answer.code) == (422, "field_invalid")
        assert_documented(answer, "POST", FACES)
        assert answer.body["errors"][0]["pointer"].startswith("/signals")
        for value in signals.values() if isinstance(signals, dict) else ():
            assert not isinstance(value, str) or not value or value not in str(answer.body)
        assert door.faces.examined == 0
