"""API keys: their shape, their proof, and what is kept of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import ApiKey, Scope, hash_key, is_proved, key_id_of, make_key

PEPPER = b"p" * 32
KEY, KEY_ID = make_key(Mode.LIVE, b"i" * 12, b"s" * 32)


def record(**changes: object) -> ApiKey:
    made = ApiKey(
        id=KEY_ID,
        tenant_id="ten_a",
        mode=Mode.LIVE,
        scopes=tuple(Scope),
        hmac_sha256=hash_key(PEPPER, KEY),
        created_at_ms=0,
    )
    return made.model_copy(update=changes)


@given(
    st.sampled_from(Mode), st.binary(min_size=12, max_size=12), st.binary(min_size=32, max_size=32)
)
def test_a_key_names_its_id_and_mode(mode: Mode, name: bytes, secret: bytes) -> None:
    """The id that finds the record can be read off every key, and so can its mode."""
    key, key_id = make_key(mode, name, secret)
    assert key_id_of(key) == key_id
    assert key.startswith(f"sk_{mode}_")


@pytest.mark.parametrize(
    "text",
    ["", "sk_live_", KEY[:-1], KEY + "a", KEY.replace("live", "prod"), f" {KEY}", f"{KEY}\n"],
)
def test_what_is_no_key_has_no_id(text: str) -> None:
    """Text of another shape is told apart without a look-up."""
    assert key_id_of(text) is None


def test_the_key_proves_itself() -> None:
    """The key that a record was made for is proved by it."""
    assert is_proved(PEPPER, KEY, record())


@pytest.mark.parametrize(
    ("pepper", "key", "changes"),
    [
        (b"q" * 32, KEY, {}),
        (PEPPER, make_key(Mode.LIVE, b"i" * 12, b"t" * 32)[0], {}),
        (PEPPER, make_key(Mode.TEST, b"i" * 12, b"s" * 32)[0], {}),
        (PEPPER, KEY, {"revoked_at_ms": 1}),
        (PEPPER, KEY, {"hmac_sha256": ""}),
    ],
)
def test_nothing_else_is_proved(pepper: bytes, key: str, changes: dict[str, object]) -> None:
    """Another pepper, secret or mode proves nothing, nor does a key that was revoked."""
    assert not is_proved(pepper, key, record(**changes))


def test_a_record_holds_no_secret() -> None:
    """What is stored of a key contains neither it nor its secret part."""
    assert KEY[-43:] not in record().model_dump_json()
