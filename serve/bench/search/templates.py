"""Templates as the default pack makes them: all around one common mean, and second photos of them.

Vectors drawn evenly from the sphere are easier than faces are. Photos of five men (`limen bench
index --faces`) gave a mean impostor cosine of 0.803 with a deviation of 0.042, and 0.974 with one
of 0.010 for two photos of one man; what is drawn here has the same. So faces scatter as if in 23
directions, not in 128.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors

IMPOSTOR_MEAN = 0.80
IMPOSTOR_DEVIATION = 0.042
MATE_MEAN = 0.974
PHOTOS_ALIKE = 5.0  # the larger, the less do two photos of one person differ from two of another
ROWS_AT_ONCE = 65_536
PAIRS_SEEN = 200_000


class People:
    """Templates of `dimension` numbers; the same seed gives the same people."""

    def __init__(self, dimension: int, seed: int) -> None:
        self.dimension = dimension
        self._random = np.random.default_rng(seed)

    def templates(self, count: int) -> Vectors:
        """One each of `count` strangers, `(count, dimension)`."""
        made = np.empty((count, self.dimension), np.float32)
        for start in range(0, count, ROWS_AT_ONCE):
            rows = made[start : start + ROWS_AT_ONCE]
            rows[:] = self._around(self._unit(self._differences(len(rows))))
        return made

    def mates(self, templates: Vectors) -> Vectors:
        """Another photo of each of these, `(N, dimension)`."""
        own = templates @ self._basis.T
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        likeness = (MATE_MEAN - IMPOSTOR_MEAN) / (1 - IMPOSTOR_MEAN)
        share = self._random.gamma(PHOTOS_ALIKE, 1 / PHOTOS_ALIKE, (len(own), 1))
        noise = np.sqrt((1 / likeness**2 - 1) * share).astype(np.float32)
        return self._around(self._unit(own + noise * self._unit(self._differences(len(own)))))

    @cached_property
    def _frame(self) -> NDArray[np.float32]:
        """`(dimension, dimension)`: orthonormal rows, the first the common mean."""
        drawn = self._random.normal(size=(self.dimension, self.dimension))
        return np.linalg.qr(drawn)[0].astype(np.float32)

    @property
    def _basis(self) -> NDArray[np.float32]:
        """The directions in which people differ, `(dimension - 1, dimension)`."""
        return self._frame[1:]

    @cached_property
    def _spread(self) -> NDArray[np.float32]:
        """How much they differ in each: it falls off so that strangers scatter as measured."""
        directions = ((1 - IMPOSTOR_MEAN) / IMPOSTOR_DEVIATION) ** 2
        places = np.arange(self.dimension - 1)
        return np.exp(-places / directions).astype(np.float32)

    def _differences(self, count: int) -> NDArray[np.float32]:
        shape = (count, self.dimension - 1)
        drawn = self._random.standard_normal(shape, np.float32)
        scaled: NDArray[np.float32] = drawn * self._spread
        return scaled

    @staticmethod
    def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return scaled

    def _around(self, differences: NDArray[np.float32]) -> Vectors:
        """Templates of people who differ so from the mean."""
        common = np.sqrt(IMPOSTOR_MEAN) * self._frame[0]
        made = common + np.sqrt(1 - IMPOSTOR_MEAN) * (differences @ self._basis)
        return self._unit(made.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Cosines of a set of templates: of pairs of strangers, and of pairs of one person."""

    people: int
    photos: int
    impostor_pairs: int
    impostor_mean: float
    impostor_deviation: float
    mate_pairs: int
    mate_mean: float
    mate_deviation: float

    @classmethod
    def of(cls, people: Sequence[str], templates: Vectors) -> Self:
        """Of `templates`, `(N, D)`, and who each of them is; there are pairs of both kinds."""
        names = np.array(people)
        first, second = np.triu_indices(len(names), 1)
        scores = (templates @ templates.T)[first, second].astype(np.float64)
        is_mate = names[first] == names[second]
        strangers, mates = scores[~is_mate], scores[is_mate]
        means = float(strangers.mean()), float(mates.mean())
        return cls(
            len(set(people)), len(people),
            len(strangers), means[0], float(strangers.std()),
            len(mates), means[1], float(mates.std()),
        )  # fmt: skip


def impostor_scores(templates: Vectors, seed: int) -> NDArray[np.float64]:
    """Cosines of up to 200,000 random pairs of strangers."""
    random = np.random.default_rng(seed)
    first, second = random.integers(0, len(templates), (2, PAIRS_SEEN))
    kept = first != second
    left, right = templates[first[kept]], templates[second[kept]]
    scores: NDArray[np.float64] = np.einsum("nd,nd->n", left, right, dtype=np.float64)
    return scores
