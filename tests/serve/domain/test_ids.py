"""Names of things: partitions, ids and tokens, and how guessable text is digested."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.ids import (
    PARTITIONS,
    Mode,
    Prefix,
    Subject,
    keyed_digest,
    make_id,
    make_token,
    partition_of,
    subject_of,
    token_partition,
)
from serve.errors import Code, ServeError

SALT = bytes(range(32))
TAIL = "a" * 22
PARTITION = st.integers(0, PARTITIONS - 1)


@given(PARTITION, st.binary(min_size=16, max_size=16), st.sampled_from(Prefix))
def test_an_id_carries_its_partition(partition: int, random: bytes, prefix: Prefix) -> None:
    """Whoever holds an id knows the partition it was made for."""
    assert partition_of(prefix, make_id(prefix, partition, random)) == partition


@given(PARTITION, st.binary(min_size=32, max_size=32))
def test_a_token_carries_its_partition(partition: int, random: bytes) -> None:
    """Whoever holds a session token knows the partition it was made for."""
    assert token_partition(make_token(partition, random)) == partition


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_other_random_bytes_give_another_id(one: bytes, other: bytes) -> None:
    """An id keeps every random bit it was made of."""
    made = [make_id(Prefix.SESSION, 7, random) for random in (one, other)]
    assert (made[0] == made[1]) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ses_07",
        f"ses_64{TAIL}",
        f"ses_07{TAIL}a",
        f"ses_07{TAIL[1:]}",
        f"ses_7{TAIL}a",
        f"alr_07{TAIL}",
        f"ses_07{TAIL[1:]}!",
        f"ses_07{TAIL}\n",
        f"SES_07{TAIL}",
        f"ses_\u0660\u0667{TAIL}",  # digits of another script
    ],
)
def test_what_is_no_id_is_not_found(text: str) -> None:
    """Anything but an id of the asked kind is `not_found`, before any store is asked."""
    with pytest.raises(ServeError) as refused:
        partition_of(Prefix.SESSION, text)
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    "text", ["", "st_64" + "a" * 43, "st_07" + "a" * 42, "st_07" + "a" * 44, "ses_07" + "a" * 43]
)
def test_what_is_no_token_is_not_found(text: str) -> None:
    """Anything but a session token is `not_found`, before any store is asked."""
    with pytest.raises(ServeError) as refused:
        token_partition(text)
    assert refused.value.code is Code.NOT_FOUND


def test_the_partition_is_the_published_one() -> None:
    """The format is fixed: these records were written under it and must be found again."""
    subject = subject_of(SALT, "ten_a", Mode.LIVE, "alice")
    assert subject == Subject("ten_a", Mode.LIVE, "426681826fe72c158e55fcaa735d60a1")
    assert subject.partition == int(subject.key, 16) % 64


@given(st.text(max_size=40), st.text(max_size=40))
def test_subjects_differ_where_anything_differs(one: str, other: str) -> None:
    """Customer, tenant, mode and salt all tell subjects apart."""
    base = subject_of(SALT, "ten_a", Mode.LIVE, one)
    assert (base == subject_of(SALT, "ten_a", Mode.LIVE, other)) == (one == other)
    for changed in (
        subject_of(SALT, "ten_b", Mode.LIVE, one),
        subject_of(SALT, "ten_a", Mode.TEST, one),
        subject_of(bytes(32), "ten_a", Mode.LIVE, one),
    ):
        assert changed.key != base.key


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_no_two_lists_of_parts_share_a_digest(one: list[str], other: list[str]) -> None:
    """Where one part ends and the next begins counts."""
    assert (keyed_digest(SALT, *one) == keyed_digest(SALT, *other)) == (one == other)


def test_customers_spread_over_all_partitions() -> None:
    """6,400 customers fill every partition, none with more than twice its share."""
    found = Counter(
        subject_of(SALT, "ten_a", Mode.LIVE, f"customer {number}").partition
        for number in range(6_400)
    )
    assert set(found) == set(range(PARTITIONS))
    assert max(found.values()) < 200
