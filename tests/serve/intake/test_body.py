"""Bodies over real sockets: too large, too slow, of the wrong kind, broken off, too many."""

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

from serve.api.intake.body import BodyBudget, parse, parsed
from serve.api.problem import InputInvalid
from serve.api.wire import ConnectBody, OpenBody, SubmitBody
from serve.domain.tenancy.preferences import PreferencesPatch
from serve.errors import Code, ServeError
from serve.observe import metrics
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import KYC, PHONE, Door, assert_documented, front_door

OPEN, SUBMIT = f"{KYC}/face/session", f"{KYC}/face/submit"
OPENING = {"reference": "r", "customer_id": "c"}


async def test_an_11_mb_body_is_refused_unread(link: Redis, keyring: Keyring) -> None:
    """Where the head announces too much the answer is 413, on an image route as on others."""
    async with front_door(link, keyring) as door:
        for path, size in ((SUBMIT, 11 * 10**6), (OPEN, 65 * 2**10)):
            answer = await door.call("POST", path, b" " * size, User_Agent=PHONE)
            assert (answer.status, answer.code) == (413, "body_too_large")
            assert_documented(answer, "POST", path)


async def test_a_body_of_unknown_length_is_bounded(link: Redis, keyring: Keyring) -> None:
    """Chunks are counted as they come: the one too many ends it with 413."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 2**10

    async with front_door(link, keyring) as door:
        headers = {
            "Authorization": f"Bearer {door.tenant.api_key}",
            "Content-Type": "application/json",
        }
        async with door.client.post(door.url + OPEN, data=chunks(), headers=headers) as answer:
            assert answer.status == 413


@asynccontextmanager
async def wire(door: Door, *lines: str) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A socket on which the head of a POST with these lines has been sent."""
    host, _, port = door.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [f"POST {OPEN} HTTP/1.1", "Host: limen", f"X-API-Key: {door.tenant.api_key}", *lines]
    writer.write("\r\n".join([*head, "", ""]).encode())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_slow_body_is_given_up(link: Redis, keyring: Keyring) -> None:
    """A body that announces more than it sends is answered 408 when its time is over."""
    lines = ("Content-Type: application/json", "Content-Length: 100")
    async with (
        front_door(link, keyring, body_seconds_max=0.05) as door,
        wire(door, *lines) as (reader, writer),
    ):
        writer.write(b'{"reference"')
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in head


async def test_a_body_broken_off_harms_nobody(link: Redis, keyring: Keyring) -> None:
    """A client that hangs up while it is read gives its bytes back, and the door serves on."""
    lines = ("Content-Type: application/json", "Content-Length: 100", "Expect: 100-continue")
    async with front_door(link, keyring) as door:
        async with wire(door, *lines) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")  # it is being waited for
            writer.write(b"{")
        assert (await door.call("POST", OPEN, OPENING)).status == 200
        assert metrics.REGISTRY.get_sample_value("limen_body_bytes") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "application/jsonx"},
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "br"},
    ],
)
async def test_a_body_of_another_kind_is_refused(
    link: Redis, keyring: Keyring, headers: dict[str, str]
) -> None:
    """Anything but plain JSON is 415, compressed JSON among it."""
    async with front_door(link, keyring) as door:
        answer = await door.call("POST", OPEN, OPENING, **headers)
        assert (answer.status, answer.code) == (415, "content_type_unsupported")
        assert_documented(answer, "POST", OPEN)


async def test_a_client_that_waits_is_refused_before_it_sends(
    link: Redis, keyring: Keyring
) -> None:
    """With `Expect: 100-continue` a refusal that the head earns comes in place of the word to
    go on; any other expectation is passed over.
    """
    json_type, expect = "Content-Type: application/json", "Expect: 100-continue"
    async with front_door(link, keyring) as door:
        async with wire(door, json_type, expect, "Content-Length: 70000") as (reader, _):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        async with wire(door, json_type, expect, "Content-Length: 2") as (reader, writer):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"{}")
            assert (await reader.readline()).startswith(b"HTTP/1.1 422 ")
        answer = await door.call("POST", OPEN, OPENING, Expect="the unexpected")
        assert answer.status == 200


async def test_a_body_without_a_type_is_refused(link: Redis, keyring: Keyring) -> None:
    """What is not said to be JSON is not taken for it."""
    async with front_door(link, keyring) as door:
        async with wire(door, "Content-Length: 2") as (reader, writer):
            writer.write(b"{}")
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"reference": "a", "reference": "b", "customer_id": "c"}',
        b'{"reference": "\xff", "customer_id": "c"}',
        b'{"reference": "\\ud800", "customer_id": "c"}',
        '{"reference": "a", "customer_id": "c"}'.encode("utf-16"),
        b"[" * 60_000,
        b'{"event_count": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_what_is_no_json_object_is_a_bad_body(
    link: Redis, keyring: Keyring, body: bytes
) -> None:
    """400 for other JSON, broken JSON, keys given twice and text that is not UTF-8."""
    async with front_door(link, keyring) as door:
        answer = await door.call("POST", OPEN, body)
        assert (answer.status, answer.code) == (400, "body_invalid")
        assert_documented(answer, "POST", OPEN)


@pytest.mark.parametrize(
    ("extra", "pointer"),
    [
        ('"amount": NaN', "/amount"),
        ('"amount": Infinity', "/amount"),
        ('"amount": 1e999', "/amount"),
        ('"amount": -1', "/amount"),
        ('"amount": "12"', "/amount"),
        ('"event_count": -1', "/event_count"),
        ('"event_count": 1.5', "/event_count"),
        ('"event_window_minutes": true', "/event_window_minutes"),
        ('"surprise": 1', "/surprise"),
        ('"a/b~c": 1', "/a~1b~0c"),
        ('"event": 7', "/event"),
    ],
)
async def test_a_bad_field_is_pointed_at(
    link: Redis, keyring: Keyring, extra: str, pointer: str
) -> None:
    """422 with a JSON pointer, and without a word of what was sent."""
    async with front_door(link, keyring) as door:
        body = f'{{"reference": "r", "customer_id": "a secret name", {extra}}}'
        answer = await door.call("POST", OPEN, body.encode())
        assert (answer.status, answer.code) == (422, "field_invalid")
        assert [fault["pointer"] for fault in answer.body["errors"]] == [pointer]
        assert "secret" not in json.dumps(answer.body)


@pytest.mark.parametrize("text", ["", "a\x00b", "a\x1bb", "\x85", "x" * 257])
def test_a_name_is_short_and_printable(text: str) -> None:
    """A reference is 1 to 256 characters, none of them a control character."""
    body = json.dumps({"reference": text, "customer_id": "c"}).encode()
    with pytest.raises(InputInvalid) as caught:
        parse(body, OpenBody)
    assert [fault.get("pointer") for fault in caught.value.faults] == ["/reference"]


def test_both_spellings_of_a_flag_are_one_too_many() -> None:
    """A body that says yes and no at once is refused."""
    body = b'{"token": "t", "is_disconnect": true, "isDisconnect": false}'
    with pytest.raises(InputInvalid):
        parse(body, ConnectBody)


def test_a_nested_fault_is_pointed_at() -> None:
    """The pointer leads into the rule that is wrong."""
    body = b'{"reuse_kyc_triggers": {"deposit": {"enabled": true, "treshold": 5}}}'
    with pytest.raises(InputInvalid) as caught:
        parse(body, PreferencesPatch)
    (fault,) = caught.value.faults
    assert fault.get("pointer") == "/reuse_kyc_triggers/deposit/treshold"


def test_many_faults_are_counted_out() -> None:
    """However much is wrong, the answer stays small."""
    body = json.dumps({f"key{number}": 1 for number in range(500)}).encode()
    with pytest.raises(InputInvalid) as caught:
        parse(body, OpenBody)
    assert len(caught.value.faults) == 20


async def test_a_large_body_is_parsed_as_a_small_one() -> None:
    """Off the event loop the same rules hold."""
    proof = "a" * 100_000
    body: BaseModel = await parsed(bytearray(json.dumps({"proof": proof}).encode()), SubmitBody)
    assert body == SubmitBody(proof=proof)
    with pytest.raises(InputInvalid):
        await parsed(bytearray(json.dumps({"proof": proof, "x": 1}).encode()), SubmitBody)


def test_the_budget_is_shared_and_given_back() -> None:
    """All may hold so much, one address half of it; what is given back can be taken again."""
    budget = BodyBudget(100)
    budget.take("a", 50)
    with pytest.raises(ServeError) as caught:
        budget.take("a", 1)
    assert caught.value.code is Code.OVERLOADED
    budget.take("b", 30)
    with pytest.raises(ServeError):
        budget.check("c", 21)
    budget.check("c", 20)
    budget.give("a", 50)
    budget.take("a", 40)
    assert budget.held == 70


async def test_too_much_at_once_is_put_off(link: Redis, keyring: Keyring) -> None:
    """A body beyond the budget of the process is 503 with `Retry-After`, before it is read."""
    limits = {"inflight_bytes_max": 2**20, "body_bytes_max": 2**20}
    async with front_door(link, keyring, **limits) as door:
        answer = await door.call("POST", SUBMIT, b" " * (2**20 - 1), key="", User_Agent=PHONE)
        assert (answer.status, answer.code) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert_documented(answer, "POST", SUBMIT)
