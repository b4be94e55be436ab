"""What the tiles of a sweep come to together, and which threshold holds in the end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from sys import intern

from serve.domain.sweeps.sweep import FacePair, SweepFailure, ThresholdSource, TileResult


@dataclass(frozen=True, slots=True)
class Merged:
    """`pairs` at or above the threshold and `tail` below it, both best first; of those that score
    `complete_from` or more none is missing.
    """

    pairs: tuple[FacePair, ...]
    tail: tuple[FacePair, ...]
    complete_from: float


@dataclass(slots=True)
class Merger:
    """Takes in tiles one by one. `complete_from` is the sweep's: what scores less is known of some
    tiles only, and is left out. `threshold` None puts all into the tail.
    """

    threshold: float | None
    complete_from: float
    _pairs: list[FacePair] = field(default_factory=list)
    _tail: list[FacePair] = field(default_factory=list)

    def add(self, result: TileResult) -> None:
        """One more tile. Names are kept once, however many pairs they stand in."""
        for pair in result.pairs:
            if self.threshold is not None and pair.score >= self.threshold:
                self._pairs.append(_shared(pair))
            elif pair.score >= self.complete_from:
                self._tail.append(_shared(pair))

    def merged(self) -> Merged:
        """All of them, whatever order they came in."""
        return Merged(best_first(self._pairs), best_first(self._tail), self.complete_from)


def best_first(pairs: Iterable[FacePair]) -> tuple[FacePair, ...]:
    """By score, ties by name: one order for the same pairs."""
    return tuple(
        sorted(pairs, key=lambda it: (-it.score, it.subject_a, it.face_a, it.subject_b, it.face_b))
    )


def split(merged: Merged, threshold: float) -> Merged:
    """The same with another threshold, which is not below `complete_from`."""
    every = best_first((*merged.pairs, *merged.tail))
    found = sum(pair.score >= threshold for pair in every)
    return Merged(every[:found], every[found:], merged.complete_from)


def united(parts: Sequence[Merged]) -> Merged:
    """Sweeps of one chain as one: each pair once, though two have seen it."""
    pairs = {(it.face_a, it.face_b): it for part in parts for it in part.pairs}
    tail = {(it.face_a, it.face_b): it for part in parts for it in part.tail}
    complete_from = max(part.complete_from for part in parts)
    left = (it for faces, it in tail.items() if faces not in pairs and it.score >= complete_from)
    return Merged(best_first(pairs.values()), best_first(left), complete_from)


def without(merged: Merged, gone: frozenset[str]) -> Merged:
    """The same without pairs of faces that are there no more."""
    if not gone:
        return merged
    pairs, tail = (
        tuple(pair for pair in some if gone.isdisjoint((pair.face_a, pair.face_b)))
        for some in (merged.pairs, merged.tail)
    )
    return Merged(pairs, tail, merged.complete_from)


def calibrated_end(
    calibrated: float | None, manifest: float, complete_from: float
) -> tuple[float, ThresholdSource] | SweepFailure:
    """The threshold of a sweep that found none before its end, and where it comes from: its own
    calibration, else the pack's. None can be told of below the score from which all is known.
    """
    if calibrated is not None and calibrated >= complete_from:
        return calibrated, ThresholdSource.CALIBRATION
    if manifest >= complete_from:
        return manifest, ThresholdSource.MANIFEST
    return SweepFailure.EVIDENCE_INSUFFICIENT


def _shared(pair: FacePair) -> FacePair:
    return FacePair.model_construct(
        subject_a=intern(pair.subject_a),
        face_a=intern(pair.face_a),
        subject_b=intern(pair.subject_b),
        face_b=intern(pair.face_b),
        score=pair.score,
    )
