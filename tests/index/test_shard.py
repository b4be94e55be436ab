"""Shards: entries of the log in, galleries to search out."""

import numpy as np

from index.entry import START, Enrolled, Entry, Erased, Gallery, LogId
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
