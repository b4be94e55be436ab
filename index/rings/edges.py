"""Who is like whom: what rings are grown out of, and what they are."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Two customers by name, `first` < `second`, and the best native score of any two faces of
    theirs.
    """

    first: str
    second: str
    score: float

    def __post_init__(self) -> None:
        if not self.first < self.second:
            raise ValueError("the ends of an edge are two, in order")


@dataclass(frozen=True, slots=True)
class Rules:
    """What joins. An edge of `strong` or more joins by itself; one of `weak` or more, with support:
    at least half of the pairs between the two sides are weak edges or better, and a third
    customer is tied to both ends, or the ends share a second signal.

    A customer with more than `hub_degree` strong edges, most of whose ends are not tied to each
    other, is quarantined: a bad template looks like everybody. A ring of more than `size_max` is
    split into denser ones before it is told. `gallery_size` is how many faces there are,
    `false_match_rate` how likely two strangers score `strong`: their product is how many
    strangers chance ties to a face, and above `chance_max` nothing joins by faces alone.
    `weak_false_match_rate` is how likely they score `weak`: where chance so ties more than
    `company_max` strangers to a face, those who look like somebody look like all their accounts,
    and weak edges join nothing without a second signal; they support strong ones still, and of
    the pairs between two sides those half of the way to `strong` count.

    A signal that more than `size_max` customers gave is none: a shop's telephone, a kiosk.
    """

    strong: float
    weak: float
    hub_degree: int = 20
    size_max: int = 50
    gallery_size: int = 0
    false_match_rate: float | None = None
    chance_max: float = 0.05
    weak_false_match_rate: float | None = None
    company_max: float = 0.3


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that rings are grown from. `signals` maps a customer to the digests of what they gave
    beside a face (document, device, phone, e-mail), each as "kind:digest"; `apart` are pairs, in
    order, that a reviewer called different people.
    """

    edges: tuple[Edge, ...]
    signals: Mapping[str, frozenset[str]]
    apart: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Ring:
    """Customers who belong together, and why.

    `id` is stable: it is made of the first member by name. `strong_edges` and `weak_edges` count
    those between members; `tree` is a maximum spanning tree; `bridges` are edges without which
    it falls in two; `weakest_link` is the lowest score in the tree; `expected_false_edges` how
    many of the pairs of members chance alone would tie at the weakest link, None where too little
    is known. `density` is the share of pairs of members that are edges, `medoid` the member most
    like the others, `shared` the signals that at least two of them gave, `without` maps a member
    to how many parts are left when they go (only where that is not one). `held_together_by` is
    "faces", or "signals" where faces alone would not hold all of it. `was_parted` says that it is
    part of what grew larger than `size_max`.
    """

    id: str
    members: tuple[str, ...]
    strong_edges: int
    weak_edges: int
    weakest_link: float
    tree: tuple[Edge, ...]
    bridges: tuple[Edge, ...]
    expected_false_edges: float | None
    density: float
    medoid: str
    shared: tuple[str, ...]
    without: Mapping[str, int]
    held_together_by: str = "faces"
    was_parted: bool = False


@dataclass(frozen=True, slots=True)
class Grown:
    """The rings, largest first; customers who were left out as hubs; and whether faces alone were
    allowed to join at all. An edge whose ends are not of one ring is for a reviewer.
    """

    rings: tuple[Ring, ...]
    quarantined: tuple[str, ...]
    by_faces: bool
