"""What a sweep came to, as it is written down: page by page."""

from pydantic import Field

from index.rings.edges import Ring
from serve.domain.document import Document
from serve.domain.sweeps.sweep import FacePair

Numbered = tuple[int, FacePair]
"""A pair and its running number in the list that it is of."""


class PairPage(Document):
    """Pairs, each as a row: number, subject and face of the one, of the other, score. The number
    says where in the list it is, so that places stay what they are when somebody is taken out.
    """

    rows: tuple[tuple[int, str, str, str, str, float], ...] = Field(repr=False)

    @classmethod
    def of(cls, pairs: list[Numbered]) -> "PairPage":
        """The page of these pairs."""
        return cls(
            rows=tuple(
                (number, pair.subject_a, pair.face_a, pair.subject_b, pair.face_b, pair.score)
                for number, pair in pairs
            )
        )

    @property
    def pairs(self) -> list[Numbered]:
        """What it was made of."""
        return [
            (number, FacePair(subject_a=a, face_a=x, subject_b=b, face_b=y, score=score))
            for number, a, x, b, y, score in self.rows
        ]


class RingPage(Document):
    """Rings."""

    rings: tuple[Ring, ...] = Field(repr=False)
