"""What was written to an arena and when, and whether searches beside it can be explained by it.

Writes are numbered. A search that began when `since` writes were done, and ended when `until`
had begun, must have found what brute force finds after one of the numbers between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from index.arena import Arena
from index.entry import Hit, Vectors
from tests.index.oracle import Face, Question, ranked, true_score


@dataclass(frozen=True, slots=True)
class Seen:
    """One probe's answer, and the writes between which it was given."""

    since: int
    until: int
    probe: int
    question: Question
    hits: list[Hit] = field(repr=False)


class History:
    """A writer of random adds, erasures and drops, which remembers them all."""

    def __init__(self, arena: Arena, rows: Vectors, seed: int) -> None:
        self.arena = arena
        self.begun = self.done = 0
        self._chance = np.random.default_rng(seed)
        self._rows = rows
        self._faces: list[tuple[Face, int]] = []  # with the write that added each
        self._died: dict[str, int] = {}  # face id -> the write that took it
        self._live: dict[str, list[Face]] = {}

    @property
    def is_over(self) -> bool:
        """Whether every row was added."""
        return len(self._faces) == len(self._rows)

    def write(self) -> None:
        """One change, begun, made and done. Who went may come again under the same name."""
        self.begun += 1
        verb = self._chance.random()
        if verb < 0.6 or not self._live:
            self._add()
        elif verb < 0.98:
            owner = list(self._live)[self._chance.integers(len(self._live))]
            self.arena.erase(owner)
            self._note([owner])
        else:
            partition = int(self._chance.integers(4))
            self.arena.drop(partition)
            self._note([o for o, faces in self._live.items() if faces[0].partition == partition])
        self.done += 1

    def search(self, probes: Vectors, questions: Sequence[Question]) -> list[Seen]:
        """One batch of searches; the partitions are those of the first."""
        since = self.done
        found = self.arena.search(
            probes,
            [question.floor for question in questions],
            [question.limit for question in questions],
            [question.exclude for question in questions],
            questions[0].partitions,
        )
        until = self.begun
        return [
            Seen(since, until, number, question, hits)
            for number, (question, hits) in enumerate(zip(questions, found, strict=True))
        ]

    def unexplained(self, probes: Vectors, seen: Sequence[Seen]) -> Iterator[Seen]:
        """Answers that hold for no instant between the start and the end of their search."""
        scores = [[true_score(face.vector, probe) for face, _ in self._faces] for probe in probes]
        for one in seen:
            instants = range(one.since, one.until + 1)
            if not any(self._at(n, scores[one.probe], one.question) == one.hits for n in instants):
                yield one

    def _at(self, instant: int, scores: Sequence[float], question: Question) -> list[Hit]:
        there = [
            (face, score)
            for (face, born), score in zip(self._faces, scores, strict=True)
            if score >= question.floor
            if born <= instant < self._died.get(face.face, instant + 1)
        ]
        return ranked([face for face, _ in there], [score for _, score in there], question)

    def _add(self) -> None:
        number = len(self._faces)
        owner = int(self._chance.integers(len(self._rows)))
        face = Face(f"f{number}", f"o{owner}", owner % 4, self._rows[number])
        self._faces.append((face, self.begun))
        self._live.setdefault(face.owner, []).append(face)
        assert self.arena.add(face.face, face.owner, face.partition, face.vector)

    def _note(self, owners: Sequence[str]) -> None:
        for owner in owners:
            for face in self._live.pop(owner):
                self._died[face.face] = self.begun
