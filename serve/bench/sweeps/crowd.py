"""A gallery in which some pairs are known: one person under two names, and pairs at the threshold.

Strangers, and second photos, are as alike as on real photos (`serve.bench.search.templates`). The
others are made: a face turned so far towards another that the two score just above the threshold,
or just below. Who finds all of the first and none of the second has missed nothing in between.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.entry import Vectors
from serve.bench.search.templates import People

THRESHOLD = 0.96  # strangers reach it about once in a million pairs, 9 of 10 second photos do
NEAR = 1e-3
PLANTED_MAX = 500  # of each kind, where there are faces enough
FACES_PER_PLANTED = 40

Places = NDArray[np.int64]
"""`(P, 2)`: two rows, the lower first."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """`templates` (N, D), each of a customer of their own. `mates` are rows of one person that
    score the threshold or more; pairs in `above` score a thousandth more than it, those in `below`
    a thousandth less.
    """

    templates: Vectors = field(repr=False)
    mates: Places = field(repr=False)
    above: Places = field(repr=False)
    below: Places = field(repr=False)

    def __len__(self) -> int:
        return len(self.templates)


def crowd(faces: int, dimension: int, seed: int) -> Crowd:
    """So many faces; the same seed gives the same."""
    chance = np.random.default_rng(seed)
    people = People(dimension, seed)
    templates = people.templates(faces)
    planted = min(PLANTED_MAX, faces // FACES_PER_PLANTED)
    rows = chance.choice(faces, (3, planted, 2), replace=False)
    mates, above, below = np.sort(rows, axis=2)
    templates[mates[:, 1]] = people.mates(templates[mates[:, 0]])
    for pairs, score in ((above, THRESHOLD + NEAR), (below, THRESHOLD - NEAR)):
        templates[pairs[:, 1]] = turned(templates[pairs[:, 0]], templates[pairs[:, 1]], score)
    wide = templates.astype(np.float64)
    scores = np.einsum("nd,nd->n", wide[mates[:, 0]], wide[mates[:, 1]])
    return Crowd(templates, mates[scores >= THRESHOLD], above, below)


def turned(faces: Vectors, others: Vectors, score: float) -> Vectors:
    """Each of `others` (N, D) turned towards its face, until the two score so much."""
    wide, rest = faces.astype(np.float64), others.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    rest -= np.einsum("nd,nd->n", rest, wide)[:, None] * wide
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    made: Vectors = (score * wide + np.sqrt(1 - score**2) * rest).astype(np.float32)
    return made


def keys(pairs: Places, faces: int) -> NDArray[np.int64]:
    """One number for each pair, (P,), in order."""
    return np.sort(pairs[:, 0] * faces + pairs[:, 1])
