"""What a search should find, by looking at every face with exact arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from index.entry import Hit, Vector


@dataclass(frozen=True, slots=True)
class Face:
    """A face that was added."""

    face: str
    owner: str
    partition: int
    vector: Vector = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What one probe asks for."""

    floor: float = -1.0
    limit: int = 10
    exclude: str = ""
    partitions: frozenset[int] | None = None


def true_score(one: Vector, other: Vector) -> float:
    """The dot product, without any rounding before the last."""
    return _true_score(one.tobytes(), other.tobytes())


@lru_cache(maxsize=2**17)
def _true_score(one: bytes, other: bytes) -> float:
    pairs = zip(np.frombuffer(one, "f4").tolist(), np.frombuffer(other, "f4").tolist(), strict=True)
    return math.fsum(a * b for a, b in pairs)


def brute_force(faces: Iterable[Face], probe: Vector, question: Question) -> list[Hit]:
    """Every face looked at."""
    every = list(faces)
    return ranked(every, [true_score(face.vector, probe) for face in every], question)


def ranked(faces: Sequence[Face], scores: Sequence[float], question: Question) -> list[Hit]:
    """Each owner once, by their best face, best first, ties by owner; of one score by face."""
    best: dict[str, Hit] = {}
    for face, score in sorted(zip(faces, scores, strict=True), key=lambda one: one[0].face):
        if score < question.floor or face.owner == question.exclude:
            continue
        if question.partitions is not None and face.partition not in question.partitions:
            continue
        if face.owner not in best or score > best[face.owner].score:
            best[face.owner] = Hit(face.face, face.owner, face.partition, score)
    hits = sorted(best.values(), key=lambda hit: (-hit.score, hit.owner))
    return hits[: max(0, question.limit)]
