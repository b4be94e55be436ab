"""Writers and readers at once, in a process of its own, whose death is an answer too.

    python -m tests.index.hammer arena SECONDS     the arena: has to live, and to be right
    python -m tests.index.hammer faiss SECONDS     faiss bare, added to while it is searched

Ends by an AssertionError where an answer is wrong, and prints how much was done.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import faiss
import numpy as np

from index import chunks
from index.arena import Arena
from tests.index.oracle import true_score
from tests.index.templates import People

DIMENSION = 64
PEOPLE = People(DIMENSION)
FACES = PEOPLE.strangers(4_000)
PHOTOS = PEOPLE.photos(FACES)
RESIDENTS = 200  # the first faces, never erased: whoever looks for one finds them
READERS = 3
PORTION = 250  # of faces, added to faiss at once
ENOUGH = 10  # of each thing that is counted, however slow the machine
PATIENCE_S = 40.0


class Arenas:
    """One arena that fills and empties. A face's name tells its row in FACES and its round."""

    counted = ("searches", "erased", "compactions")

    def __init__(self) -> None:
        chunks.ROWS_MIN, chunks.ROWS_MAX = 64, 512  # full chunks have codes: have many of them
        self.arena = Arena(DIMENSION)
        self.counts = Counter[str]()
        self.gone: dict[str, None] = {}
        self._chance = np.random.default_rng(0)
        self._round = 0
        for row in range(RESIDENTS):
            self.arena.add(f"{row}/0", f"{row}/0", 63, FACES[row])

    def write(self) -> None:
        """Fill up with faces of new owners, then let most of them go, one by one or together."""
        self._round += 1
        owners = [f"{row}/{self._round}" for row in range(RESIDENTS, len(FACES))]
        for owner in owners:
            self.arena.add(owner, owner, self._round % 60, FACES[int(owner.split("/")[0])])
        self.counts["added"] += len(owners)
        if self._round % 3 == 0:
            self.arena.drop(self._round % 60)
            self.gone.update(dict.fromkeys(owners))
        for owner in owners:
            before = self.arena.rows
            self.arena.erase(owner)
            self.gone[owner] = None
            self.counts["compactions"] += self.arena.rows < before
        self.counts["erased"] += len(owners)
        while len(self.gone) > 50_000:
            del self.gone[next(iter(self.gone))]

    def read(self, seed: int) -> None:
        """One batch of searches, every answer looked at."""
        chance = np.random.default_rng(seed)
        rows = chance.integers(0, len(FACES), int(chance.choice([1, 20])))
        count = len(rows)
        residents = int(rows[0]) % RESIDENTS
        rows[0] = residents
        gone = dict(self.gone)
        floor = float(chance.choice([-1.0, 0.9]))
        found = self.arena.search(PHOTOS[rows], [floor] * count, [10] * count, [""] * count)
        assert f"{residents}/0" in [hit.owner for hit in found[0]], "a resident was missed"
        for row, hits in zip(rows.tolist(), found, strict=True):
            assert not [hit for hit in hits if hit.owner in gone], "one who had gone was found"
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert floor > 0 or len(hits) == 10, "fewer than there are"
            for hit in hits:
                face = FACES[int(hit.face.split("/")[0])]
                assert hit.owner == hit.face, "another's face"
                assert hit.score == true_score(face, PHOTOS[row]), "a torn score"
        self.counts["searches"] += 1


class Bare:
    """What one would write first: an index of faiss, one thread that adds, others that search."""

    counted = ("searches",)

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._fill()

    def write(self) -> None:
        """Add in small portions, so that its memory moves often, then begin anew."""
        self._fill()
        for start in range(0, len(FACES), PORTION):
            ids = np.arange(start, start + PORTION)
            self.index.add_with_ids(FACES[start : start + PORTION], ids)
            self.counts["added"] += PORTION

    def read(self, seed: int) -> None:
        """Look for the resident, who is there all the time."""
        scores, ids = self.index.search(FACES[:1], 3)
        assert (ids[:, 0] == 0).all(), "a resident was missed"
        assert np.allclose(scores[:, 0], 1, atol=1e-4), "a torn score"
        self.counts["searches"] += 1

    def _fill(self) -> None:
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(DIMENSION))
        index.add_with_ids(FACES[:1], np.arange(1))
        self.index = index


def hammer(subject: Arenas | Bare, seconds: float) -> None:
    """One thread writes and three read until the time is over and enough was done, or one of them
    fails.
    """
    begun = time.monotonic()
    failures: list[BaseException] = []

    def is_over() -> bool:
        past = time.monotonic() - begun
        is_enough = min(subject.counts[name] for name in subject.counted) > ENOUGH
        return past >= seconds + PATIENCE_S or (past >= seconds and is_enough)

    def repeat(act: Callable[[int], None], first: int) -> None:
        number = first
        try:
            while not (failures or is_over()):
                act(number)
                number += READERS
        except BaseException as error:  # noqa: BLE001 (told below, whatever it is)
            failures.append(error)

    acts: Sequence[Callable[[int], None]] = [lambda _: subject.write(), *[subject.read] * READERS]
    threads = [threading.Thread(target=repeat, args=(act, n)) for n, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"{dict(subject.counts)}\n")
    if failures:
        raise failures[0]


if __name__ == "__main__":
    sys.setswitchinterval(1e-4)
    hammer(Arenas() if sys.argv[1] == "arena" else Bare(), float(sys.argv[2]))
