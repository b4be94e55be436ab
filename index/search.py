"""One search of an arena: scan what was captured, widen where that is not certain, and look last
at who is alive.

Scores in float32 are off by `margin` at most. So whoever truly scores the floor has a float32
score of the floor less one margin; and whoever belongs among the best `limit` owners has one of
the limit-th owner's less two. What lies above these cuts is scored again, exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from index import scan
from index.chunks import Chunk, located
from index.entry import Hit, Vectors

KEEP_FEW = 4
KEEP_MAX = 256

Captured = tuple[tuple[Chunk, int], ...]
"""Chunks, each with how many of its rows were published."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a batch of P probes asks for: see `Arena.search`."""

    probes: Vectors
    floors: Sequence[float]
    limits: Sequence[int]
    excludes: Sequence[str]
    partitions: frozenset[int] | None


@dataclass(slots=True)
class Piece:
    """Rows `start` to `stop` of a chunk, scanned. What `best` names by place are rows from
    `start` on.
    """

    chunk: Chunk
    start: int
    stop: int
    best: scan.Best


class Search:
    """Scans once what stays the same: `hits` may be asked for again when the arena has changed."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._margin = scan.margin(query.probes.shape[1])
        self._lows = np.array([scan.below(floor - self._margin) for floor in query.floors])
        self._cuts = self._lows.copy()
        self._hopeful = np.zeros(len(self._lows), np.bool_)
        self._keep = min(2 * max(0, 0, *query.limits) + 8, KEEP_MAX)
        self._pieces: list[Piece] = []

    def scan(self, captured: Captured) -> None:
        """Scan what has not been scanned yet, and forget chunks that are no more."""
        chunks = {id(chunk) for chunk, _ in captured}
        self._pieces = [piece for piece in self._pieces if id(piece.chunk) in chunks]
        done = {id(piece.chunk): piece.stop for piece in self._pieces}
        for chunk, count in captured:
            start = done.get(id(chunk), 0)
            if start < count:
                self._scan(chunk, start, count)

    def hits(self, number: int) -> list[Hit]:
        """The answer to probe `number`, as of an instant at which the chunks had the counts that
        were captured, and alive was who is alive now.
        """
        limit = self._query.limits[number]
        if limit <= 0 or not self._hopeful[number]:
            return []
        while True:
            cut, rows = self._top(number, limit)
            unsure = [piece for piece in self._pieces if piece.best.bounds[number] >= cut]
            if not unsure:
                return self._ranked(number, rows)[:limit]
            for piece in unsure:
                self._widen(piece, number, cut)

    def _scan(self, chunk: Chunk, start: int, stop: int) -> None:
        """Scan rows of a chunk. A batch keeps few of them, until that is seen to be too few."""
        crowded = (self._cuts > self._lows).any()
        few = len(self._lows) >= scan.BATCH_MIN and not crowded
        keep = min(KEEP_FEW, self._keep) if few else self._keep
        codes = chunk.codes if start == 0 and stop == chunk.capacity else None
        best = scan.best(self._query.probes, chunk.vectors[start:stop], self._cuts, keep, codes)
        self._pieces.append(Piece(chunk, start, stop, best))
        self._cuts = np.maximum(self._cuts, best.bounds)
        self._hopeful |= (best.tops >= self._lows) | (best.bounds >= self._lows)

    def _widen(self, piece: Piece, number: int, cut: np.float32) -> None:
        """Find all rows of a piece that score `cut` or more and could be a hit."""
        rows = slice(piece.start, piece.stop)
        [scores] = scan.scores(self._query.probes[number][None], piece.chunk.vectors[rows])
        wanted = (scores >= cut) & piece.chunk.alive[rows]
        if self._query.partitions is not None:
            wanted &= np.isin(piece.chunk.partitions[rows], tuple(self._query.partitions))
        places = np.flatnonzero(wanted)
        piece.best.put(number, places, scores[places], cut)

    def _top(self, number: int, limit: int) -> tuple[np.float32, list[tuple[Chunk, int, str]]]:
        """Among whom the best `limit` owners are, by what the scan has found; and the float32
        score from which on nobody may have been missed for that to be certain.
        """
        cut: np.float32 = self._lows[number]
        owners: set[str] = set()
        rows: list[tuple[Chunk, int, str]] = []
        for score, chunk, row in self._candidates(number):
            if score < cut:
                break
            if not chunk.alive[row] or not self._wants(chunk, row):
                continue
            owner = chunk.owners[row]
            if owner == self._query.excludes[number]:
                continue
            rows.append((chunk, row, owner))
            if owner not in owners:
                owners.add(owner)
                if len(owners) == limit:
                    cut = max(cut, scan.below(score - 2 * self._margin))
        return cut, rows

    def _candidates(self, number: int) -> Iterator[tuple[float, Chunk, int]]:
        """What the scan has found for a probe: float32 scores and rows, best first."""
        low = self._lows[number]
        near = [piece for piece in self._pieces if piece.best.tops[number] >= low]
        if not near:
            return
        chunks = [piece.chunk for piece in near]
        scores = np.concatenate([piece.best.scores[number] for piece in near])
        rows = np.concatenate(
            [piece.best.places[number] + (piece.chunk.base + piece.start) for piece in near]
        )
        order = np.flatnonzero(scores >= low)
        order = order[np.argsort(-scores[order])]
        for score, row in zip(scores[order].tolist(), rows[order].tolist(), strict=True):
            yield score, *located(chunks, row)

    def _wants(self, chunk: Chunk, row: int) -> bool:
        partitions = self._query.partitions
        return partitions is None or int(chunk.partitions[row]) in partitions

    def _ranked(self, number: int, rows: list[tuple[Chunk, int, str]]) -> list[Hit]:
        """Each owner by their best face, best first, by exact scores."""
        probe, floor = self._query.probes[number], self._query.floors[number]
        found: dict[str, Hit] = {}
        for chunk, row, owner in rows:
            score = scan.exact(chunk.vectors[row], probe)
            if score >= floor:
                hit = Hit(chunk.faces[row], owner, int(chunk.partitions[row]), score)
                known = found.get(owner)
                if known is None or (-score, hit.face) < (-known.score, known.face):
                    found[owner] = hit
        return sorted(found.values(), key=lambda hit: (-hit.score, hit.owner))
