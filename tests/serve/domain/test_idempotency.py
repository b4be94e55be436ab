"""Keys and fingerprints of requests that are sent again, and what of an answer is kept."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.idempotency import (
    ANSWER_BYTES_MAX,
    KEY_LENGTH_MAX,
    Answer,
    digest_of,
    fingerprint_of,
    key_of,
    loaded,
)
from serve.domain.ids import Mode
from serve.errors import Code, ServeError

PEPPER = bytes(32)
ROUTE = ("POST", "/api/v1/kyc/face/session")
PRINTABLE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=KEY_LENGTH_MAX
)


def code_of(header: str) -> str:
    with pytest.raises(ServeError) as caught:
        key_of(header)
    return str(caught.value.code)


@given(PRINTABLE.filter(lambda key: not key.startswith('"')))
def test_a_printable_key_is_itself(key: str) -> None:
    """Any 1 to 255 printable characters are taken as they are."""
    assert key_of(key) == key


@given(PRINTABLE)
def test_quotes_do_not_count(key: str) -> None:
    """The quoted form of RFC 8941 names the same key, whatever is in it."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert key_of(f'"{escaped}"') == key


@given(st.text(max_size=2 * KEY_LENGTH_MAX))
def test_no_text_makes_the_reader_fail(header: str) -> None:
    """Whatever a header holds, it is a key of printable ASCII or is refused as invalid."""
    try:
        found = key_of(header)
    except ServeError as error:
        found = error.code
    assert found is Code.IDEMPOTENCY_KEY_INVALID or re.fullmatch(r"[ -~]{1,255}", found)


@pytest.mark.parametrize(
    "header",
    ["", '""', '"', '"k', '"a"b"', '"a\\b"', '"a"; p=1', "k" * 256, f'"{"k" * 256}"', "ké",
     "a\tb", "a\x00b", "a\x7fb", "\udce9"],
)  # fmt: skip
def test_what_is_no_key_is_refused(header: str) -> None:
    """Empty, too long, not printable, not ASCII, or quoted and then something else."""
    assert code_of(header) == "idempotency_key_invalid"


def test_255_characters_count_without_their_quotes() -> None:
    """The longest key fits, quoted or not."""
    longest = "k" * KEY_LENGTH_MAX
    assert key_of(longest) == key_of(f'"{longest}"') == longest


def test_a_key_is_one_tenants_in_one_mode_on_one_route() -> None:
    """Another tenant, mode, method, path, key or pepper is another digest; all the same is not."""
    base = digest_of(PEPPER, "ten_a", Mode.TEST, ROUTE, "key")
    others = [
        digest_of(PEPPER, "ten_b", Mode.TEST, ROUTE, "key"),
        digest_of(PEPPER, "ten_a", Mode.LIVE, ROUTE, "key"),
        digest_of(PEPPER, "ten_a", Mode.TEST, ("PUT", ROUTE[1]), "key"),
        digest_of(PEPPER, "ten_a", Mode.TEST, ("POST", f"{ROUTE[1]}s"), "key"),
        digest_of(PEPPER, "ten_a", Mode.TEST, ROUTE, "yek"),
        digest_of(bytes([1] * 32), "ten_a", Mode.TEST, ROUTE, "key"),
        digest_of(PEPPER, "ten_a", Mode.TEST, (ROUTE[0], f"{ROUTE[1]}k"), "ey"),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert digest_of(PEPPER, "ten_a", Mode.TEST, ROUTE, "key") == base
    assert re.fullmatch(r"[0-9a-f]{32}", base)


def test_a_fingerprint_tells_path_from_body() -> None:
    """The same text in another place is another request, and nothing is readable in it."""
    base = fingerprint_of(PEPPER, '{"customer_id":"alice"}', "{}")
    assert fingerprint_of(PEPPER, "{}", '{"customer_id":"alice"}') != base
    assert fingerprint_of(bytes([1] * 32), '{"customer_id":"alice"}', "{}") != base
    assert fingerprint_of(PEPPER, '{"customer_id":"alice"}', "{}") == base
    assert "alice" not in base


@pytest.mark.parametrize("status", [200, 201, 202, 400, 404, 409, 410, 422])
def test_what_would_be_said_again_is_final(status: int) -> None:
    """Successes and refusals of the request itself stand."""
    assert Answer(status, {}, b"").is_final


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_not_final(status: int) -> None:
    """Refusals of the key, and all that says to try again, are not kept."""
    assert not Answer(status, {}, b"").is_final


@pytest.mark.parametrize("name", ["Retry-After", "retry-after"])
def test_whoever_is_told_to_wait_may_get_another_answer(name: str) -> None:
    """A refusal with `Retry-After` is not kept, whatever its status."""
    assert not Answer(409, {name: "1"}, b"").is_final


@given(st.binary(max_size=200), st.integers(100, 599))
def test_a_kept_answer_comes_back(body: bytes, status: int) -> None:
    """Status and body are those that were kept, byte for byte."""
    found = loaded(Answer(status, {"Content-Type": "application/json"}, body).dump())
    assert (found.status, found.body) == (status, body)
    assert found.headers == {"Content-Type": "application/json"}


def test_only_some_headers_are_kept() -> None:
    """What is of this one request stays out: ids, cookies, times to wait."""
    given_headers = {
        "content-type": "application/json",
        "Preference-Applied": "respond-async",
        "X-Request-Id": "req_1",
        "Set-Cookie": "a=b",
        "Retry-After": "1",
    }
    kept = loaded(Answer(200, given_headers, b"{}").dump()).headers
    assert kept == {"content-type": "application/json", "Preference-Applied": "respond-async"}


def test_a_huge_answer_is_not_kept() -> None:
    """One byte more than the limit is too much."""
    assert Answer(200, {}, bytes(ANSWER_BYTES_MAX)).is_small
    assert not Answer(200, {}, bytes(ANSWER_BYTES_MAX + 1)).is_small


def test_an_answer_is_not_printed() -> None:
    """Neither body nor what is kept of it shows in a repr."""
    assert "st_07secret" not in repr(Answer(200, {}, b"st_07secret"))
