"""Which shard holds which partition: evenly, by the fewest moves, the same everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.domain.ids import PARTITIONS
from serve.inference.search.placement import NOBODY, Move, Table, moves_towards

NUMBERS = st.integers(1, PARTITIONS)


def named(number: int) -> list[str]:
    """So many shards."""
    return [f"shard-{place}" for place in range(number)]


def placed(*numbers: int) -> Table:
    """A table after the number of shards was each of these in turn."""
    table = Table()
    for number in numbers:
        table = table.moved(*moves_towards(table, named(number)))
    return table


@given(history=st.lists(NUMBERS, min_size=1, max_size=6))
def test_every_partition_is_held_and_evenly(history: list[int]) -> None:
    """Whatever the number of shards was before, none holds two more than another."""
    table = placed(*history)
    held = [len(table.of(shard)) for shard in named(history[-1])]
    assert sum(held) == PARTITIONS
    assert max(held) - min(held) <= 1
    assert set(table.by_shard()) == set(named(history[-1]))


@given(number=st.integers(1, PARTITIONS - 1), before=st.lists(NUMBERS, max_size=3))
def test_one_shard_more_takes_its_share_and_nothing_else_moves(
    number: int, before: list[int]
) -> None:
    """Every move is to the new shard, which then holds its part of all, rounded down."""
    table = placed(*before, number)
    moves = moves_towards(table, named(number + 1))
    assert {move.target for move in moves} == {f"shard-{number}"}
    assert len(moves) == PARTITIONS // (number + 1)


@given(number=st.integers(2, PARTITIONS), before=st.lists(NUMBERS, max_size=3))
def test_one_shard_less_leaves_its_share_and_nothing_else_moves(
    number: int, before: list[int]
) -> None:
    """Every move is from the shard that goes, and moves all that it held."""
    table = placed(*before, number)
    moves = moves_towards(table, named(number - 1))
    gone = f"shard-{number - 1}"
    assert {(move.source, move.partition) for move in moves} == {
        (gone, partition) for partition in table.of(gone)
    }


@given(first=NUMBERS, then=NUMBERS)
def test_a_table_that_is_good_stays(first: int, then: int) -> None:
    """Moves lead to a table that asks for no more moves, in whatever order shards are named."""
    table = placed(first, then)
    assert moves_towards(table, named(then)[::-1]) == ()


def test_the_first_table_is_the_same_everywhere() -> None:
    """It hangs on the names of the shards alone; a name more or less is told in its version."""
    assert placed(3) == placed(3)
    assert placed(3).version == 1
    assert placed(3).owners != placed(3, 4).owners


def test_a_table_is_never_changed() -> None:
    """A move makes another one, of the next version, different in that place alone."""
    table = placed(2)
    move = Move(7, table.owners[7], "shard-9")
    after = table.moved(move)
    assert (table.version, after.version) == (1, 2)
    assert [place for place in range(PARTITIONS) if table.owners[place] != after.owners[place]] == [
        7
    ]
    assert after.of("shard-9") == {7}


def test_before_any_move_nobody_holds_anything() -> None:
    """And without a shard there is nowhere to move to."""
    assert Table().by_shard() == {}
    assert Table().of(NOBODY) == set(range(PARTITIONS))
    with pytest.raises(ValueError, match="no shard"):
        moves_towards(Table(), [])
