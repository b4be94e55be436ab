"""Shards: entries of the log in, galleries to search out."""

import numpy as np
import pytest

from index.entry import START, Enrolled, Entry, Erased, Gallery, LogId
from index.errors import Code, VectorError
from index.shard import Shard
from tests.index.templates import People

GALLERY = Gallery("acme:live", "enrolled", "m1")
FACES = People().strangers(8)


def enrolled(ms: int, owner: str, row: int, gallery: Gallery = GALLERY) -> Enrolled:
    return Enrolled(LogId(ms), gallery, owner, f"fac_{owner}_{row}", FACES[row])


def found(shard: Shard, row: int, floor: float = 0.999, exclude: str = "") -> list[str]:
    [hits] = shard.search(GALLERY, FACES[row : row + 1], [floor], [10], [exclude])
    return [hit.owner for hit in hits]


def test_a_shard_follows_the_log() -> None:
    """Faces that came are found, an owner who went is not, and a replay changes nothing."""
    shard = Shard()
    shard.hold(3)
    entries: list[Entry] = [enrolled(1, "ann", 0), enrolled(2, "bob", 1), Erased(LogId(3), "ann")]
    for _ in range(2):
        shard.apply(3, LogId(4), entries)
        assert shard.applied == {3: LogId(4)}
        assert (found(shard, 0), found(shard, 1)) == ([], ["bob"])
        assert (shard.live, shard.dead, shard.galleries, shard.refused) == (1, 1, 1, 0)


def test_a_partition_that_is_let_go_is_forgotten() -> None:
    """Its faces are gone, those of others stay, and it begins anew when it is held again."""
    shard = Shard()
    for partition, owner in ((1, "ann"), (2, "bob")):
        shard.hold(partition)
        shard.apply(partition, LogId(9), [enrolled(1, owner, partition)])
    assert shard.digest(1) != shard.digest(2)
    shard.release(1)
    shard.apply(1, LogId(10), [enrolled(10, "eve", 5)])
    assert (found(shard, 1), found(shard, 2), found(shard, 5)) == ([], ["bob"], [])
    assert (shard.applied, shard.digest(1)) == ({2: LogId(9)}, 0)
    shard.hold(1)
    assert shard.applied[1] == START


def test_a_bad_entry_is_counted_and_passed_by() -> None:
    """What is no template of its gallery is refused, and what follows is taken in."""
    shard = Shard()
    shard.hold(0)
    bad = Enrolled(LogId(2), GALLERY, "eve", "fac_eve", np.full(128, np.nan, np.float32))
    shard.apply(0, LogId(3), [enrolled(1, "ann", 0), bad, enrolled(3, "bob", 1)])
    assert (shard.refused, shard.live) == (1, 2)
    assert found(shard, 0) == ["ann"]
    assert found(shard, 0, exclude="ann") == []


def test_an_erasure_reaches_every_gallery() -> None:
    """The owner goes from all lists and models at once, and an emptied gallery with them."""
    shard = Shard()
    shard.hold(5)
    other = Gallery("acme:live", "blocked", "m2")
    narrow = Enrolled(LogId(3), other, "ann", "fac_n", People(16).strangers(1)[0])
    shard.apply(5, LogId(3), [enrolled(1, "ann", 0), enrolled(2, "bob", 1), narrow])
    assert (shard.galleries, shard.size_of(other), shard.size_of(GALLERY)) == (2, 1, 2)
    shard.apply(5, LogId(4), [Erased(LogId(4), "ann")])
    assert (shard.galleries, shard.size_of(other), shard.size_of(GALLERY)) == (1, 0, 1)
    assert shard.size_of(GALLERY, frozenset({5, 6})) == 1
    assert shard.size_of(GALLERY, frozenset({6})) == 0
    assert shard.search(other, narrow.vector[np.newaxis], [-1.0], [1], [""]) == [[]]


def test_a_template_of_another_dimension_is_refused() -> None:
    """The first face of a gallery says how long its templates are."""
    shard = Shard()
    shard.hold(0)
    long = Enrolled(LogId(2), GALLERY, "eve", "fac_eve", People(512).strangers(1)[0])
    shard.apply(0, LogId(2), [enrolled(1, "ann", 0), long])
    assert (shard.refused, shard.live) == (1, 1)
    with pytest.raises(VectorError) as refused:
        shard.search(GALLERY, long.vector[np.newaxis], [0.0], [1], [""])
    assert refused.value.code is Code.WRONG_DIMENSION


def test_shards_at_one_place_of_a_log_agree_on_its_digest() -> None:
    """However the entries came: at once, one by one, twice, or in another order of partitions."""
    logs: dict[int, list[Entry]] = {
        partition: [
            *(enrolled(ms, f"o{partition}-{ms}", ms % 8) for ms in range(1, 30)),
            Erased(LogId(30), f"o{partition}-7"),
            enrolled(31, f"o{partition}-7", 3),
        ]
        for partition in (1, 2)
    }
    at_once, by_one = Shard(), Shard()
    for partition in (2, 1):
        at_once.hold(partition)
        at_once.apply(partition, LogId(31), logs[partition])
    for shard_entries in zip(logs[1], logs[2], strict=True):
        for partition, entry in enumerate(shard_entries, start=1):
            by_one.hold(partition)
            by_one.apply(partition, LogId(5), logs[partition][:5])
            by_one.apply(partition, entry.log_id, [entry])
    assert at_once.applied == by_one.applied == {1: LogId(31), 2: LogId(31)}
    for partition in (1, 2):
        assert at_once.digest(partition) == by_one.digest(partition) != 0
    assert at_once.digest(1) != at_once.digest(2)
    assert at_once.size_bytes > 58 * 512
