"""One tile of a sweep, on a thread: two blocks meet, and what they have in common is named."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.sweep.block import Swept
from index.sweep.grid import Tile
from index.sweep.kernel import Kernel
from index.sweep.tile import sweep_tile
from serve.domain.sweeps.plan import keep_below
from serve.domain.sweeps.progress import has_too_many
from serve.domain.sweeps.sweep import FacePair, Sweep, TileResult
from serve.flows.sweeps.blocks import HeldBlock


class HaltedError(Exception):
    """The worker stops: the tile is given back untried."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """A tile with which the threshold is seen to be none. `sweep` counts it as well; `scores` are
    those of its pairs at or above the threshold, best first.
    """

    sweep: Sweep
    scores: NDArray[np.float64] = field(repr=False)


@dataclass(slots=True)
class Pace:
    """The part of the time that the tile threads of a worker work, `share`, each for itself: after
    so long a tile, so long a rest. A halt ends every rest.
    """

    share: float
    halted: threading.Event = field(default_factory=threading.Event)
    _own: threading.local = field(default_factory=threading.local)

    def rest(self) -> None:
        """What this thread owes for its last tile. Raises HaltedError."""
        owed_until_s = getattr(self._own, "until_s", 0.0)
        if self.halted.wait(max(0.0, owed_until_s - time.monotonic())):
            raise HaltedError

    def worked(self, seconds: float) -> None:
        """So long this thread has worked, until now."""
        self._own.until_s = time.monotonic() + seconds * (1 - self.share) / self.share


@dataclass(frozen=True, slots=True)
class Work:
    """What a tile is worked on with. `pairs_max` are found in a whole sweep, at most."""

    kernel: Kernel
    pace: Pace
    pairs_max: int


def work_on(
    work: Work, sweep: Sweep, tile: Tile, first: HeldBlock, second: HeldBlock
) -> TileResult | TooMany:
    """What the tile comes to; `sweep` is as it stood before. Raises HaltedError."""
    work.pace.rest()
    begun_s = time.perf_counter()
    if len(first) and len(second):
        found = sweep_tile(
            work.kernel,
            first.loaded,
            second.loaded,
            threshold=sweep.threshold,
            keep_below=keep_below(sweep.faces, sweep.tiles, is_known=sweep.threshold is not None),
            is_diagonal=tile.is_diagonal,
            found_max=work.pairs_max + 1,
        )
        told = _told(work, sweep, tile, found, (first, second))
    else:
        told = _nothing(tile)
    busy_s = time.perf_counter() - begun_s
    work.pace.worked(busy_s)
    if isinstance(told, TooMany):
        return told
    return told.model_copy(update={"busy_ms": round(1_000 * busy_s)})


def _told(
    work: Work, sweep: Sweep, tile: Tile, found: Swept, blocks: tuple[HeldBlock, HeldBlock]
) -> TileResult | TooMany:
    scores = found.pairs.scores
    reach = 0 if sweep.threshold is None else int((scores >= sweep.threshold).sum())
    counted = {
        "found": sweep.found + reach,
        "compared": sweep.compared + found.compared,
        "tiles_done": sweep.tiles_done + 1,
    }
    after = sweep.model_copy(update=counted)
    if has_too_many(after, work.pairs_max):
        return TooMany(after, scores[:reach])
    return TileResult(
        row=tile.row,
        column=tile.column,
        pairs=_pairs(found, *blocks),
        complete_from=found.complete_from,
        compared=found.compared,
        mates=found.mates,
        found=reach,
        busy_ms=0,
    )


def _pairs(found: Swept, first: HeldBlock, second: HeldBlock) -> tuple[FacePair, ...]:
    named = found.pairs
    pairs = []
    for row, column, score in zip(
        named.rows.tolist(), named.columns.tolist(), named.scores.tolist(), strict=True
    ):
        one = first.keys[row], first.faces[row]
        other = second.keys[column], second.faces[column]
        if other < one:
            one, other = other, one
        pairs.append(
            FacePair.model_construct(
                subject_a=one[0], face_a=one[1], subject_b=other[0], face_b=other[1], score=score
            )
        )
    return tuple(pairs)


def _nothing(tile: Tile) -> TileResult:
    """Of a tile with a block that everybody has left."""
    return TileResult(
        row=tile.row, column=tile.column, pairs=(), complete_from=-1.0,
        compared=0, mates=0, found=0, busy_ms=0,
    )  # fmt: skip
