"""A ring as a graph: where its members stand, which lines are between them, and which hold it.

Members begin on a circle, in the order of the ring, and are moved by springs: the same ring is
drawn the same way, always.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve.api.sweeps.answers import EdgeResponse, RingResponse
from serve.pictures.sweeps.content import MEMBERS_LISTED_MAX

SIDE = 320.0
MARGIN = 30.0
ROUNDS = 200
LINES_MAX = 400
NODE_MIN, NODE_MAX = 8.0, 20.0
FEW = 3  # members that springs would put on one line

Places = NDArray[np.float64]


class Node(NamedTuple):
    """A member: the centre, its number in the list beside, and whether others hang on it."""

    x: float
    y: float
    number: int
    customer_id: str
    is_medoid: bool
    is_cut: bool
    chip: str


class Link(NamedTuple):
    """A line between two members. `kind` is "strong" or "weak"."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str
    is_bridge: bool
    title: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A ring on a plane of `side` by `side`; circles have the radius `radius`."""

    ring: RingResponse
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    left_out: int
    radius: float
    side: float = SIDE

    @property
    def described(self) -> str:
        """The picture in a sentence, for who cannot see it."""
        ring = self.ring
        bridges = len(ring.bridges)
        hangs = f"; {bridges} hold it together" if bridges else ""
        return (
            f"{len(ring.members)} customers, {ring.strong_edges} strong and {ring.weak_edges} weak "
            f"links{hangs}"
        )


def drawn(ring: RingResponse, links: Sequence[EdgeResponse], chips: dict[str, str]) -> Graph:
    """`ring` with its `links`, the strong ones first; those of its tree where there are none.
    `chips` are pictures as data URLs, by customer.
    """
    shown = ring.members[:MEMBERS_LISTED_MAX]
    number = {customer_id: place for place, customer_id in enumerate(shown)}
    edges = [
        each
        for each in (links or ring.tree)[:LINES_MAX]
        if each.customer_a in number and each.customer_b in number
    ]
    pairs = [(number[each.customer_a], number[each.customer_b]) for each in edges]
    places = _settled(len(shown), pairs)
    bridges = {frozenset((each.customer_a, each.customer_b)) for each in ring.bridges}
    cuts = {each.customer_id for each in ring.cut_members}
    strong = ring.strong_edges if links else len(edges)
    return Graph(
        ring=ring,
        nodes=tuple(
            Node(*places[place], place + 1, customer_id, customer_id == ring.medoid,
                 customer_id in cuts, chips.get(customer_id, ""))
            for place, customer_id in enumerate(shown)
        ),
        links=tuple(
            Link(*places[one], *places[other], "strong" if rank < strong else "weak",
                 frozenset((each.customer_a, each.customer_b)) in bridges,
                 f"{one + 1} and {other + 1}: {each.score:.2f}")
            for rank, (each, (one, other)) in enumerate(zip(edges, pairs, strict=True))
        ),
        left_out=len(ring.members) - len(shown),
        radius=max(NODE_MIN, min(NODE_MAX, SIDE / (2.6 * math.sqrt(len(shown) + 1) + 4))),
    )  # fmt: skip


def _settled(members: int, pairs: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """Fruchterman and Reingold's springs: all push each other away, those with a line pull."""
    angles = 2 * np.pi * np.arange(members) / max(1, members) - np.pi / 2
    at: Places = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if members > FEW and pairs:
        ends = np.array(pairs)
        ideal = 1.6 / math.sqrt(members)
        for step in range(ROUNDS):
            at += _moved(at, ends, ideal, 0.1 * (1 - step / ROUNDS))
    at -= (at.max(axis=0) + at.min(axis=0)) / 2
    at *= (SIDE / 2 - MARGIN) / max(1e-9, float(np.abs(at).max()))
    return [(round(float(x) + SIDE / 2, 1), round(float(y) + SIDE / 2, 1)) for x, y in at]


def _moved(at: Places, ends: NDArray[np.int64], ideal: float, most: float) -> Places:
    """How far each goes, `most` at most."""
    apart = at[:, None, :] - at[None, :, :]
    distance = np.maximum(np.linalg.norm(apart, axis=2), 1e-6)
    force = (apart / distance[..., None] ** 2 * ideal**2).sum(axis=1)
    along = at[ends[:, 0]] - at[ends[:, 1]]
    pull = along * np.linalg.norm(along, axis=1)[:, None] / ideal
    np.subtract.at(force, ends[:, 0], pull)
    np.add.at(force, ends[:, 1], pull)
    length = np.maximum(np.linalg.norm(force, axis=1, keepdims=True), 1e-9)
    return np.asarray(force / length * np.minimum(length, most), np.float64)
