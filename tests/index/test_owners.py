"""The table of owners against a plain dictionary."""

from collections import defaultdict

import numpy as np
import pytest

from index.owners import LOAD_MAX, Owners


def test_rows_are_found_through_growth_and_renumbering() -> None:
    """Every row of an owner is named, whatever the table went through, and few that are not."""
    chance = np.random.default_rng(0)
    owners, truth = Owners(), defaultdict[str, set[int]](set)
    for row, person in enumerate(chance.integers(0, 3_000, 9_000).tolist()):
        owners.add(f"o{person}", row)
        truth[f"o{person}"].add(row)
    check(owners, truth)
    numbers = chance.permutation(9_000)
    numbers[::3] = -1
    owners.renumber(numbers)
    moved = defaultdict[str, set[int]](set)
    for owner, rows in truth.items():
        moved[owner] = {int(numbers[row]) for row in rows if numbers[row] >= 0}
    check(owners, moved)
    assert owners.size_bytes <= 2 * 8 * 6_000 / LOAD_MAX
    owners.add("new", 9_001)
    check(owners, {"new": {9_001}})


def check(owners: Owners, truth: dict[str, set[int]]) -> None:
    for owner, rows in truth.items():
        found = owners.rows(owner)
        assert len(found) == len(set(found))
        assert set(found) >= rows
    strays = sum(len(owners.rows(owner)) - len(rows) for owner, rows in truth.items())
    assert strays <= 2  # 32 bits of hash are told apart


def test_owners_of_one_hash_share_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hashes collide, the rows of both are named: the arena looks whose they are."""
    monkeypatch.setattr("index.owners._tag", lambda _: 2**32 - 1)
    owners = Owners()
    for row in range(100):
        owners.add(f"o{row}", row)
    assert sorted(owners.rows("anybody")) == list(range(100))
    owners.renumber(np.arange(100)[::-1].copy())
    assert sorted(owners.rows("anybody")) == list(range(100))
