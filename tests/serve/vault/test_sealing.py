"""Sealed records: readable with one key, in one place, and only unchanged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.errors import Code, ServeError
from serve.store.vault.sealing import OVERHEAD_BYTES, VERSION, new_key, seal, unseal
from tests.helpers import tree

KEY = bytes(range(32))
# Sealed once with KEY under "customer|a" and never to be unreadable again.
KNOWN = bytes.fromhex("0100112233445566778899aabbb1e380c7e225ab78a6eb1452678b40a766b76ce7")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_again(plain: bytes, label: str) -> None:
    """Any bytes under any label come back, a fixed number of bytes longer in between."""
    sealed = seal(KEY, plain, label)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert sealed.startswith(VERSION)
    assert unseal(KEY, sealed, label) == plain


@pytest.mark.parametrize("label", ["customer|b", "session|a", "", "customer|a "])
def test_records_cannot_be_swapped(label: str) -> None:
    """What was sealed for one record does not open as another."""
    with pytest.raises(ServeError) as caught:
        unseal(KEY, seal(KEY, b"secret", "customer|a"), label)
    assert caught.value.code is Code.KEYS_MISMATCH
    assert "secret" not in str(caught.value)


def test_another_key_opens_nothing() -> None:
    """Only the key that sealed opens."""
    with pytest.raises(ServeError, match="keys_mismatch"):
        unseal(new_key(), seal(KEY, b"secret", "a"), "a")


def test_no_changed_byte_goes_unnoticed() -> None:
    """Version, nonce, text and tag are all covered; so is the length."""
    sealed = seal(KEY, b"secret", "a")
    changed = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for damaged in (*changed, *(sealed[:length] for length in range(len(sealed)))):
        with pytest.raises(ServeError, match="keys_mismatch"):
            unseal(KEY, damaged, "a")


def test_no_two_seals_are_alike() -> None:
    """The nonce is fresh each time, so equal texts look different."""
    assert len({seal(KEY, b"same", "a") for _ in range(100)}) == 100


def test_the_format_is_fixed() -> None:
    """A record sealed by the first version still opens."""
    assert unseal(KEY, KNOWN, "customer|a") == b"kept"


def test_no_nonce_is_used_twice() -> None:
    """Thousands of sealings by many threads have as many nonces."""
    key = new_key()
    with ThreadPoolExecutor(8) as threads:
        sealed = list(threads.map(lambda _: seal(key, b"", "label"), range(4_000)))
    assert len({each[1:13] for each in sealed}) == len(sealed)


FORK = """
import os
from serve.store.vault.sealing import new_key, seal

key = new_key()
seal(key, b"", "label")
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, seal(key, b"", "label")[1:13])
    os._exit(0)
theirs = os.read(reading, 12)
os.wait()
print(len(theirs), theirs in {seal(key, b"", "label")[1:13] for _ in range(600)})
"""


def test_a_forked_child_has_nonces_of_its_own() -> None:
    """What a parent had drawn before the fork, its child never uses."""
    assert tree.run("-c", FORK).stdout == "12 False\n"
