"""Responses about sweeps: how one stands, the pairs that it found, and the rings they make.

Similarities of people are on the mapped scale, 0 to 1, and rounded to 0.01: the order of a list is
that of the exact scores. Thresholds have four places, rounded up, so that one that is asked for
again finds no more than was promised of it.
"""

import math
from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field

from serve.api.answers import ListResponse, Timestamp, timestamp
from serve.api.wire import FaceId, RingId, SweepId, Wire
from serve.domain.sweeps.progress import Progress
from serve.domain.sweeps.signals import SignalKind
from serve.domain.sweeps.sweep import (
    Sweep,
    SweepFailure,
    SweepScope,
    SweepStatus,
    ThresholdSource,
)
from serve.flows.sweeps.results import FoundPair, ToldEdge, ToldRing
from serve.ports import Page

SCORE_DIGITS = 2  # of a similarity of two people
THRESHOLD_STEPS = 10_000
PROGRESS_DIGITS = 4
PACE_DIGITS = 1


def rounded(similarity: float) -> float:
    """How alike two people are said to be."""
    return round(similarity, SCORE_DIGITS)


def rounded_up(threshold: float) -> float:
    """A threshold as it is told; at most 1."""
    return min(1.0, math.ceil(threshold * THRESHOLD_STEPS - 1e-9) / THRESHOLD_STEPS)


class SweepResponse(Wire):
    """A sweep, as it stands."""

    id: SweepId
    status: SweepStatus
    failure: SweepFailure | None
    """Why it was given up; null unless it was."""
    detail: str | None
    """The same in a sentence, with the numbers that led to it."""
    progress: float
    """The share of the tiles that is done, 0 to 1."""
    pairs_per_s: float | None
    """Pairs compared in a second since the start, by all workers; null before there are any."""
    eta_s: float | None
    """Seconds until the last tile is done, at that pace; null where nothing is known of it."""
    scope: SweepScope
    since: str | None
    """What was asked for: the id of a sweep, or a date-time; null for everybody."""
    target_fpir: float | None
    threshold: float | None
    """The least similarity of a pair; null until it is known, which for a sweep that finds it by
    its own scores is at its end.
    """
    threshold_source: ThresholdSource | None
    model: str
    faces: int
    """Faces that are compared; 0 until it has started."""
    customers: int
    tiles: int
    """Parts that it is cut into: whatever stops it, those that are done are not done again."""
    tiles_done: int
    compared: int
    """Pairs of faces of different customers that were compared so far."""
    found: int
    """Pairs at or above the threshold so far."""
    rings: int
    created_at: Timestamp
    started_at: Timestamp | None
    ended_at: Timestamp | None

    @classmethod
    def of(cls, sweep: Sweep, similarity: Callable[[float], float] | None, now_ms: int) -> Self:
        """`sweep` on the wire; `similarity` is the scale of its model, None if that is another's
        than this install's, whose scores say nothing of it.
        """
        progress, request = Progress.of(sweep, now_ms), sweep.request
        threshold = request.threshold
        if threshold is None and sweep.threshold is not None and similarity is not None:
            threshold = rounded_up(similarity(sweep.threshold))
        return cls(
            id=sweep.id,
            status=sweep.status,
            failure=sweep.failure,
            detail=sweep.detail or None,
            progress=round(progress.share, PROGRESS_DIGITS),
            pairs_per_s=_paced(progress.pairs_per_s),
            eta_s=_paced(progress.eta_s),
            scope=request.scope,
            since=request.since_sweep or _timestamp(request.since_ms or None),
            target_fpir=request.target_fpir,
            threshold=threshold,
            threshold_source=sweep.threshold_source,
            model=sweep.model_id,
            faces=sweep.faces,
            customers=sweep.customers,
            tiles=sweep.tiles,
            tiles_done=sweep.tiles_done,
            compared=sweep.compared,
            found=sweep.found,
            rings=sweep.rings,
            created_at=timestamp(sweep.created_at_ms),
            started_at=_timestamp(sweep.started_at_ms),
            ended_at=_timestamp(sweep.ended_at_ms),
        )


class SweepsResponse(ListResponse):
    """The tenant's sweeps."""

    data: tuple[SweepResponse, ...]

    @classmethod
    def of(cls, page: Page[Sweep], told: Callable[[Sweep], SweepResponse]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(told, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


class PairResponse(Wire):
    """Two faces of different customers that are alike."""

    customer_a: str = Field(repr=False)
    customer_b: str = Field(repr=False)
    """Of a sweep against the blocklist the id of the entry."""
    face_a: FaceId
    face_b: FaceId
    score: float
    """Similarity, 0 to 1, rounded to 0.01; pairs are listed by the score before it was rounded."""
    expected_false_matches: float | None
    """How many strangers chance brings so near to one face among so many; null where too little
    was seen to say.
    """
    expected_false_matches_max: float | None
    """The 95 % upper bound of it."""

    @classmethod
    def of(cls, pair: FoundPair) -> Self:
        """`pair` on the wire."""
        return cls(
            customer_a=pair.customer_a,
            customer_b=pair.customer_b,
            face_a=pair.face_a,
            face_b=pair.face_b,
            score=rounded(pair.score),
            expected_false_matches=pair.expected.expected,
            expected_false_matches_max=pair.expected.upper_bound,
        )


class PairsResponse(ListResponse):
    """The pairs of a sweep, the most alike first."""

    data: tuple[PairResponse, ...]

    @classmethod
    def of(cls, page: Page[FoundPair]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(PairResponse.of, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


class EdgeResponse(Wire):
    """Two members of a ring, and how alike the most alike of their faces are."""

    customer_a: str = Field(repr=False)
    customer_b: str = Field(repr=False)
    score: float

    @classmethod
    def of(cls, edge: ToldEdge) -> Self:
        """`edge` on the wire."""
        return cls(
            customer_a=edge.customer_a, customer_b=edge.customer_b, score=rounded(edge.score)
        )


class CutResponse(Wire):
    """A member without whom the ring falls apart, and into how many parts."""

    customer_id: str = Field(repr=False)
    parts: int


class RingResponse(Wire):
    """Customers who are likely one person, and why."""

    id: RingId
    members: tuple[str, ...] = Field(repr=False)
    """Their customer ids."""
    strong_edges: int
    """Pairs of members so alike that by chance there are none among so many."""
    weak_edges: int
    """Pairs of members that are less alike: they join only where a third member, or something
    that both gave beside a face, ties them as well.
    """
    weakest_link: float
    """The least similarity that holds the ring together."""
    bridges: tuple[EdgeResponse, ...]
    """Pairs without which it falls in two: what a reviewer looks at first."""
    expected_false_edges: float | None
    """How many pairs of so many members chance alone ties at the weakest link; null where too
    little was seen to say.
    """
    tree: tuple[EdgeResponse, ...]
    """The most alike pairs that hold all members together."""
    density: float
    """The share of all pairs of members that are alike."""
    medoid: str = Field(repr=False)
    """The member most like the others."""
    shared_signals: tuple[SignalKind, ...]
    """Kinds of second signals that at least two members gave the same of."""
    cut_members: tuple[CutResponse, ...]
    held_together_by: Literal["faces", "signals"]

    @classmethod
    def of(cls, ring: ToldRing) -> Self:
        """`ring` on the wire."""
        return cls(
            id=ring.id,
            members=ring.members,
            strong_edges=ring.strong_edges,
            weak_edges=ring.weak_edges,
            weakest_link=rounded(ring.weakest_link),
            bridges=tuple(map(EdgeResponse.of, ring.bridges)),
            expected_false_edges=ring.expected_false_edges,
            tree=tuple(map(EdgeResponse.of, ring.tree)),
            density=rounded(ring.density),
            medoid=ring.medoid,
            shared_signals=tuple(map(SignalKind, ring.shared)),
            cut_members=tuple(
                CutResponse(customer_id=member, parts=parts)
                for member, parts in ring.without.items()
            ),
            held_together_by="signals" if ring.held_together_by == "signals" else "faces",
        )


class RingsResponse(ListResponse):
    """Rings, the largest first."""

    data: tuple[RingResponse, ...]

    @classmethod
    def of(cls, page: Page[ToldRing]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(RingResponse.of, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


def _paced(number: float | None) -> float | None:
    return None if number is None else round(number, PACE_DIGITS)


def _timestamp(ms: int | None) -> str | None:
    return None if ms is None else timestamp(ms)
