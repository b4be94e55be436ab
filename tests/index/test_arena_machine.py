"""Any order of adds, erasures, drops, compactions and searches, against a plain list."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from index import arena as arenas
from index import chunks, scan
from index.arena import Arena
from tests.index.oracle import Face, Question, brute_force, true_score
from tests.index.templates import People

PEOPLE = People(8)
POOL = np.concatenate((rows := PEOPLE.strangers(12), PEOPLE.photos(rows, 0.1), rows[:4], -rows[:4]))
OWNERS = st.integers(0, 9).map("o{}".format)
FACES = st.integers(0, 25)
PLACES = st.integers(0, len(POOL) - 1)
QUESTIONS = st.builds(
    Question,
    floor=st.sampled_from([-3.0, -0.2, -1e-6, 0.0, 1e-15, 1e-6]),  # above the anchor's score
    limit=st.integers(0, 12),
    exclude=OWNERS | st.just(""),
    partitions=st.none() | st.frozensets(st.integers(0, 3)),
)


class ArenaMachine(RuleBasedStateMachine):
    """Chunks of a few rows, and compactions of a few dead, so that both are met all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(chunks, "ROWS_MIN", 2)
        self.patch.setattr(chunks, "ROWS_MAX", 8)
        self.patch.setattr(scan, "BATCH_MIN", 5)
        self.patch.setattr(arenas, "DEAD_ROWS_MIN", 3)
        self.arena = Arena(8)
        self.faces: dict[tuple[str, str], Face] = {}

    @rule(owner=OWNERS, face=FACES, place=PLACES)
    def add(self, owner: str, face: int, place: int) -> None:
        key = owner, f"f{face}"
        added = self.arena.add(key[1], owner, int(owner[1:]) % 3, POOL[place])
        assert added == (key not in self.faces)
        self.faces.setdefault(key, Face(key[1], owner, int(owner[1:]) % 3, POOL[place]))

    @rule(owner=OWNERS)
    def erase(self, owner: str) -> None:
        gone = [key for key in self.faces if key[0] == owner]
        assert self.arena.erase(owner) == len(gone)
        for key in gone:
            del self.faces[key]

    @rule(partition=st.integers(0, 3))
    def drop(self, partition: int) -> None:
        gone = [key for key, face in self.faces.items() if face.partition == partition]
        assert self.arena.drop(partition) == len(gone)
        for key in gone:
            del self.faces[key]

    @rule(places=st.lists(PLACES, min_size=1, max_size=8), anchor=PLACES, asked=QUESTIONS)
    def search(self, places: list[int], anchor: int, asked: Question) -> None:
        floor = true_score(POOL[places[0]], POOL[anchor]) + asked.floor
        question = replace(asked, floor=floor)
        count = len(places)
        columns = [floor] * count, [asked.limit] * count, [asked.exclude] * count
        found = self.arena.search(POOL[places], *columns, asked.partitions)
        for place, hits in zip(places, found, strict=True):
            assert hits == brute_force(self.faces.values(), POOL[place], question)

    @invariant()
    def what_it_counts_is_so(self) -> None:
        assert self.arena.live == self.arena.size_of() == len(self.faces)
        dead = self.arena.rows - self.arena.live
        assert 0 <= dead <= max(arenas.DEAD_ROWS_MIN, self.arena.rows / 4)
        for partition in range(4):
            faces = [face for face in self.faces.values() if face.partition == partition]
            assert self.arena.size_of(frozenset({partition})) == len(faces)
            digest = sum(arenas.fingerprint(face.face) for face in faces) % 2**64
            assert self.arena.digest(partition) == digest

    def teardown(self) -> None:
        self.patch.undo()


TestArena = ArenaMachine.TestCase
TestArena.settings = settings(max_examples=60, stateful_step_count=60)
