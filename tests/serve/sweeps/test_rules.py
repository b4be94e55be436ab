"""Rules of sweeps, without a store: how they are cut, how far they are, what their tiles make."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.entry import START, LogId
from index.sweep.grid import Tile
from serve.domain.sweeps.merge import Merger, calibrated_end, split, united
from serve.domain.sweeps.plan import (
    BLOCK_MAX,
    BLOCK_MIN,
    TILES_MAX,
    TILES_WANTED,
    Places,
    block_size,
    cut,
    cut_across,
    entry_of_ms,
    keep_below,
    owner_number,
)
from serve.domain.sweeps.progress import Progress, has_too_many, why_too_many
from serve.domain.sweeps.sweep import (
    TAIL_MIN,
    FacePair,
    Sweep,
    SweepFailure,
    SweepPlan,
    SweepStatus,
    ThresholdSource,
)
from tests.helpers.records import NOW_MS
from tests.serve.sweep_store.records import a_pair, a_result, a_sweep

PIN = {number: LogId(10**6, 5) for number in range(4)}
Face = tuple[int, LogId]


@st.composite
def galleries(draw: st.DrawFn) -> list[Places]:
    """Faces of up to four partitions, each at a place of its own, of few customers."""
    found = []
    for partition in range(draw(st.integers(0, 4))):
        number = draw(st.integers(1, 20))
        steps = draw(st.lists(st.integers(0, 3), min_size=number, max_size=number))
        ms = np.cumsum(steps).astype(np.int64)
        owners = draw(st.lists(st.integers(0, 5), min_size=number, max_size=number))
        mine = np.array(owners, np.int64) * 4 + partition
        found.append(Places(partition, ms + 1, np.arange(number, dtype=np.int64), mine))
    return found


def faces_of(places: list[Places]) -> dict[Face, int]:
    """Every face by where it stands, with its customer's number."""
    return {
        (each.partition, each.at(row)): int(each.owners[row])
        for each in places
        for row in range(len(each.ms))
    }


def faces_in(plan: SweepPlan, number: int, everybody: dict[Face, int]) -> list[Face]:
    """Who is in a block, by its segments alone."""
    return [
        (partition, place)
        for partition, place in everybody
        for segment in plan.blocks[number].segments
        if segment.partition == partition
        and LogId.parse(segment.after) < place <= LogId.parse(segment.upto)
    ]


def compared(plan: SweepPlan, tiles: tuple[Tile, ...], everybody: dict[Face, int]) -> list[Any]:
    """Every pair of faces of different customers that the tiles compare."""
    pairs = []
    for tile in tiles:
        first = faces_in(plan, tile.row, everybody)
        second = faces_in(plan, tile.column, everybody)
        for row, one in enumerate(first):
            for other in first[row + 1 :] if tile.is_diagonal else second:
                if everybody[one] != everybody[other]:
                    pairs.append(frozenset((one, other)))  # noqa: PERF401 (it reads better)
    return pairs


@given(galleries(), st.integers(1, 9), st.integers(0, 30))
def test_every_pair_is_in_one_tile(places: list[Places], size: int, since_ms: int) -> None:
    """However a gallery is cut, all pairs are compared, once, but for those of two old faces; the
    plan says how many.
    """
    everybody = faces_of(places)
    since = dict.fromkeys(PIN, entry_of_ms(since_ms))
    found = cut(places, PIN, since if since_ms else None, size)
    pairs = compared(found.plan, found.tiles, everybody)
    wanted = {
        frozenset((one, other))
        for one in everybody
        for other in everybody
        if everybody[one] != everybody[other]
        and not (one[1].ms <= since_ms and other[1].ms <= since_ms)
    }
    assert len(pairs) == len(set(pairs)) == found.to_compare
    assert set(pairs) == wanted
    assert (found.faces, found.customers) == (len(everybody), len(set(everybody.values())))
    assert all(block.faces <= size for block in found.plan.blocks)


@given(galleries(), galleries(), st.integers(1, 9), st.integers(0, 30))
def test_everybody_meets_the_blocklist(
    places: list[Places], blocked: list[Places], size: int, since_ms: int
) -> None:
    """Each customer's face meets each blocked one, once, unless both are old."""
    since = dict.fromkeys(PIN, entry_of_ms(since_ms)) if since_ms else None
    found = cut_across(places, blocked, PIN, since, size)
    ours, theirs = faces_of(places), faces_of(blocked)
    pairs = []
    for tile in found.tiles:
        assert not found.plan.blocks[tile.row].is_blocklist
        assert found.plan.blocks[tile.column].is_blocklist
        pairs += [
            (one, other)
            for one in faces_in(found.plan, tile.row, ours)
            for other in faces_in(found.plan, tile.column, theirs)
        ]
    wanted = {
        (one, other)
        for one in ours
        for other in theirs
        if not (since_ms and one[1].ms <= since_ms and other[1].ms <= since_ms)
    }
    assert len(pairs) == len(set(pairs)) == found.to_compare
    assert set(pairs) == wanted


def test_nobody_is_cut_into_nothing() -> None:
    """An empty gallery has no blocks and no tiles."""
    found = cut([], PIN)
    assert (found.plan.blocks, found.tiles, found.to_compare) == ((), (), 0)
    assert found.plan.pin[0] == str(PIN[0])
    assert PIN[0] > START


@pytest.mark.parametrize("faces", [1, 2_000, 20_000, 100_000, 10**6, 10**7, 10**8])
def test_blocks_suit_the_gallery(faces: int) -> None:
    """Powers of two, as small as keep the tiles few; beyond the largest, as few as the ledger
    takes.
    """
    size = block_size(0, faces)
    blocks = -(-faces // size)
    tiles = blocks * (blocks + 1) // 2
    assert size & (size - 1) == 0
    assert size >= BLOCK_MIN
    assert tiles <= (TILES_WANTED if size <= BLOCK_MAX else TILES_MAX) or size == BLOCK_MAX
    assert tiles <= TILES_MAX


def test_tails_are_bounded() -> None:
    """Over all tiles as many pairs as there are faces are kept, some at least and a
    quarter of a million at most; more where the threshold is still to be found.
    """
    assert keep_below(100, 1, is_known=True) == TAIL_MIN
    assert keep_below(100_000, 1_225, is_known=True) * 1_225 >= 100_000
    assert keep_below(10**8, 1_000, is_known=True) == 250
    assert keep_below(100, 1, is_known=False) == 200_000
    assert keep_below(100_000, 1, is_known=False) == 400_000
    assert keep_below(10**8, 1_000, is_known=False) == 500


def test_customers_have_numbers() -> None:
    """Different customers, different numbers that fit a signed 64-bit number."""
    assert owner_number("f" * 32) == 2**63 - 1
    assert owner_number("0" * 16 + "f" * 16) == 0


def running(**changes: Any) -> Sweep:
    fields = {
        "status": SweepStatus.RUNNING, "started_at_ms": NOW_MS, "threshold": 0.5, "tiles": 100,
        "to_compare": 10_000,
    }  # fmt: skip
    return a_sweep(**{**fields, **changes})


def test_progress_tells_when_it_will_be_done() -> None:
    """A quarter done in ten seconds: thirty more, at the pace so far."""
    sweep = running(tiles_done=25, compared=2_500, found=10)
    assert Progress.of(sweep, NOW_MS + 10_000) == Progress(0.25, 250.0, 30.0, 40)
    assert Progress.of(a_sweep(), NOW_MS) == Progress(0.0, None, None, None)
    assert Progress.of(running(), NOW_MS) == Progress(0.0, None, None, None)
    done = sweep.model_copy(
        update={"status": SweepStatus.DONE, "ended_at_ms": NOW_MS + 20_000, "tiles_done": 100}
    )
    assert Progress.of(done, NOW_MS + 10**9) == Progress(1.0, 125.0, 0.0, 10)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"tiles_done": 50, "compared": 5_000, "found": 1_001}, True),  # already
        ({"tiles_done": 4, "compared": 400, "found": 90}, False),  # too early to say
        ({"tiles_done": 5, "compared": 500, "found": 99}, False),  # twice too many, not more
        ({"tiles_done": 5, "compared": 500, "found": 101}, True),
        ({"tiles_done": 1, "compared": 100, "found": 100}, False),  # much, of little
        ({"tiles_done": 1, "compared": 100, "found": 101}, True),  # a hundred times too many
        ({"tiles_done": 50, "compared": 5_000, "found": 1_001, "threshold": None}, False),
    ],
)
def test_a_bad_threshold_is_seen(changes: dict[str, Any], wanted: bool) -> None:
    """By what was found, or by what will be, once enough tiles or enough pairs say so."""
    assert has_too_many(running(**changes), 1_000) is wanted


def test_the_reason_names_rate_and_remedy() -> None:
    """How many of how many, and a threshold that would do."""
    sentence = why_too_many(running(found=2_000, compared=5_000), 0.3, 0.41)
    assert "2,000 of 5,000 pairs compared (40.00%)" in sentence
    assert "0.3: so many are chance. A threshold of 0.41 would do." in sentence


def scored(*scores: float) -> list[FacePair]:
    return [a_pair(round(score * 1_000), score) for score in scores]


def test_tiles_become_one() -> None:
    """Above the threshold all, below it those from which on all is known, best first, in whatever
    order the tiles come.
    """
    tiles = [a_result(Tile(0, 0), scored(0.9, 0.3)), a_result(Tile(0, 1), scored(0.95, 0.45, 0.1))]
    for order in (tiles, tiles[::-1]):
        merger = Merger(0.5, 0.3)
        for result in order:
            merger.add(result)
        merged = merger.merged()
        assert [pair.score for pair in merged.pairs] == [0.95, 0.9]
        assert [pair.score for pair in merged.tail] == [0.45, 0.3]
    later = split(merged, 0.45)
    assert [pair.score for pair in later.pairs] == [0.95, 0.9, 0.45]
    assert [pair.score for pair in later.tail] == [0.3]


def test_chains_tell_each_pair_once() -> None:
    """Two sweeps that have both seen a pair tell of it once, as found if either found it; below the
    score from which both are complete nothing is known.
    """
    first, second = Merger(0.5, 0.2), Merger(0.8, 0.4)
    first.add(a_result(Tile(0, 0), scored(0.9, 0.7, 0.3)))
    second.add(a_result(Tile(0, 0), scored(0.9, 0.7, 0.6)))
    whole = united([first.merged(), second.merged()])
    assert [pair.score for pair in whole.pairs] == [0.9, 0.7]
    assert [pair.score for pair in whole.tail] == [0.6]
    assert math.isclose(whole.complete_from, 0.4)


@pytest.mark.parametrize(
    ("own", "manifest", "complete_from", "wanted"),
    [
        (0.7, 0.6, 0.5, (0.7, ThresholdSource.CALIBRATION)),
        (0.55, 0.6, 0.5, (0.55, ThresholdSource.CALIBRATION)),
        (None, 0.6, 0.5, (0.6, ThresholdSource.MANIFEST)),
        (None, 0.6, 0.65, SweepFailure.EVIDENCE_INSUFFICIENT),
    ],
)
def test_the_threshold_at_the_end(
    own: float | None, manifest: float, complete_from: float, wanted: object
) -> None:
    """The sweep's own, else the pack's, and none below the score from which all is known."""
    assert calibrated_end(own, manifest, complete_from) == wanted
