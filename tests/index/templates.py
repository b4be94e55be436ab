"""Templates as the real pack makes them: not isotropic, but about a common mean."""

import numpy as np

from index.entry import Vectors

COMMON = 2.0
"""How much all faces have in common: two strangers score COMMON**2 / (COMMON**2 + 1), 0.8."""

SPREAD = 0.3
"""How far photos of one person lie from each other: they score 1 / (1 + SPREAD**2), 0.92."""


class People:
    """People who can be photographed any number of times. All chance comes from `seed`."""

    def __init__(self, dimension: int = 128, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._dimension = dimension
        self._mean = self._noise(1)[0]

    def strangers(self, count: int) -> Vectors:
        """(count, D): a photo each of different people."""
        return unit(COMMON * self._mean + self._noise(count))

    def photos(self, faces: Vectors, spread: float = SPREAD) -> Vectors:
        """(N, D): a photo of each person whose face is given."""
        return unit(faces + spread * self._noise(len(faces)))

    def _noise(self, count: int) -> Vectors:
        return unit(self._random.standard_normal((count, self._dimension), dtype=np.float32))


def unit(vectors: Vectors) -> Vectors:
    """Each row at norm 1."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    at_norm: Vectors = (vectors / norms).astype(np.float32)
    return at_norm
