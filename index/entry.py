"""What the log of faces says, and what a search finds: plain values."""

from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]  # (D,), of unit norm
Vectors = NDArray[np.float32]  # (N, D), each row of unit norm


class LogId(NamedTuple):
    """The place of an entry in the log of its partition: `ms-seq` of a Redis stream, in order."""

    ms: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` has made. Raises ValueError."""
        ms, _, seq = text.partition("-")
        return cls(int(ms), int(seq))


START = LogId()
"""Before the first entry of any log."""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Faces that are searched together, and never with any other.

    `world` names the tenant and the mode, `kind` the list within it, `model_id` what made the
    templates: templates of different models are never compared.
    """

    world: str
    kind: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A face came. `owner` is its customer, by a name that is unique over all worlds."""

    log_id: LogId
    gallery: Gallery
    owner: str
    face: str
    vector: Vector = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erased:
    """A customer went, with all faces they had."""

    log_id: LogId
    owner: str


Entry = Enrolled | Erased


@dataclass(frozen=True, slots=True)
class Hit:
    """A face that was found. `score` is the dot product of the two templates, -1 to 1, as float64
    arithmetic has it: the pack's native score.
    """

    face: str
    owner: str
    partition: int
    score: float
