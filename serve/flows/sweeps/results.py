"""What sweeps came to, as a tenant reads it: pairs of customers and rings of them.

Results name customers by subject key, and are told with the ids that the tenant gave. Whoever has
gone since is left out, at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from index.rings.edges import Edge, Ring
from pipeline.errors import Code as PipelineCode
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.customer import Customer
from serve.domain.ids import Subject
from serve.domain.search.evidence import NOTHING_KNOWN, ExpectedFalseMatches
from serve.domain.sweeps.calibration import Calibration, expected
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepStatus
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.audit import noted
from serve.flows.sweeps.ask import known
from serve.flows.sweeps.people import customers_of, has_face, is_blocked, told_id
from serve.ports import Page


@dataclass(frozen=True, slots=True)
class FoundPair:
    """Two customers with faces alike. `score` is the similarity, exact; `expected` tells how many
    strangers chance alone would show to each of them at that score. The second is an entry of the
    blocklist where that was the scope.
    """

    customer_a: str = field(repr=False)
    customer_b: str = field(repr=False)
    face_a: str
    face_b: str
    score: float
    expected: ExpectedFalseMatches


@dataclass(frozen=True, slots=True)
class ToldEdge:
    """Two customers of a ring, and their best similarity."""

    customer_a: str = field(repr=False)
    customer_b: str = field(repr=False)
    score: float


@dataclass(frozen=True, slots=True)
class ToldRing:
    """A ring as `index.rings.edges.Ring` has it, in customers' ids and similarities. `shared` are
    the kinds of signals that members have in common, never their digests.
    """

    id: str
    members: tuple[str, ...] = field(repr=False)
    strong_edges: int
    weak_edges: int
    weakest_link: float
    bridges: tuple[ToldEdge, ...]
    tree: tuple[ToldEdge, ...]
    expected_false_edges: float | None
    density: float
    medoid: str = field(repr=False)
    shared: tuple[str, ...]
    without: Mapping[str, int] = field(repr=False)
    held_together_by: str


async def pairs(
    deps: Deps, principal: Principal, sweep_id: str, cursor: str, limit: int
) -> Page[FoundPair]:
    """Pairs at or above the threshold, best first; a page has fewer than `limit` where somebody
    has gone. Raises what `done_sweep` raises, and `cursor_invalid`.
    """
    sweep = await done_sweep(deps, principal, sweep_id)
    found = await deps.sweeps.pairs(sweep_id, cursor, limit)
    keys = {key for pair in found.items for key in (pair.subject_a, pair.subject_b)}
    world = principal.tenant_id, principal.mode
    people = await customers_of(deps, world, keys)
    calibration = await deps.sweeps.calibration(*world)
    told = [
        told_pair(deps, principal, pair, people, expected_in(sweep, calibration, pair.score))
        for pair in found.items
        if has_face(people, pair.subject_a, pair.face_a)
        and has_face(people, pair.subject_b, pair.face_b)
    ]
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, sweep_id, count=len(told))
    await noted(deps, Concern(*world), entry)
    return Page(tuple(told), found.next_cursor)


async def rings(
    deps: Deps, principal: Principal, sweep_id: str, cursor: str, limit: int
) -> Page[ToldRing]:
    """Rings of a sweep, or, where `sweep_id` is empty, of the tenant: those of its last sweep of
    everybody. Largest first. Raises what `done_sweep` raises, and `cursor_invalid`.
    """
    sweep = (
        await done_sweep(deps, principal, sweep_id) if sweep_id else await _latest(deps, principal)
    )
    found: Page[Ring] = Page((), "")
    if sweep is not None:
        found = await deps.sweeps.ring_page(sweep.id, cursor, limit)
    elif cursor:
        raise ServeError(Code.CURSOR_INVALID, "there is no list yet")
    told = await told_rings(deps, principal, found.items)
    target = "" if sweep is None else sweep.id
    entry = AuditEntry(Action.RING_READ, principal.actor, target, count=len(told))
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
    return Page(tuple(told), found.next_cursor)


async def ring(deps: Deps, principal: Principal, ring_id: str) -> ToldRing:
    """One of the tenant's rings. Raises `not_found`."""
    sweep = await _latest(deps, principal)
    every = [] if sweep is None else await deps.sweeps.rings(sweep.id)
    told = await told_rings(deps, principal, [each for each in every if each.id == ring_id])
    if not told:
        raise ServeError(Code.NOT_FOUND, "no such ring")
    entry = AuditEntry(Action.RING_READ, principal.actor, ring_id)
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
    return told[0]


async def done_sweep(deps: Deps, principal: Principal, sweep_id: str) -> Sweep:
    """One with something to show. Raises `not_found`, `sweep_unfinished`, and `model_mismatch` for
    one whose scores are not on the scale of this install's model.
    """
    sweep = await known(deps, principal, sweep_id)
    if sweep.status is not SweepStatus.DONE:
        raise ServeError(Code.SWEEP_UNFINISHED, f"the sweep is {sweep.status}")
    if sweep.model_id != deps.model_id:
        raise ServeError(PipelineCode.MODEL_MISMATCH, f"the sweep compared by {sweep.model_id}")
    return sweep


async def _latest(deps: Deps, principal: Principal) -> Sweep | None:
    """The tenant's last sweep of everybody, if it was of this install's model."""
    found = await deps.sweeps.latest(principal.tenant_id, principal.mode)
    return found if found is not None and found.model_id == deps.model_id else None


def expected_in(
    sweep: Sweep, calibration: Calibration | None, score: float
) -> ExpectedFalseMatches:
    """How many strangers chance alone shows to each of a pair of this native score."""
    if calibration is None or calibration.model_id != sweep.model_id:
        return NOTHING_KNOWN
    return expected(calibration, score, sweep.faces)


def told_pair(
    deps: Deps,
    principal: Principal,
    pair: FacePair,
    people: Mapping[str, Customer],
    expected: ExpectedFalseMatches,
) -> FoundPair:
    """A pair of customers who are both among `people`."""
    ends = [(pair.subject_a, pair.face_a), (pair.subject_b, pair.face_b)]
    if is_blocked(people[pair.subject_a]):
        ends.reverse()
    (key_a, face_a), (key_b, face_b) = ends
    return FoundPair(
        customer_a=_name(principal, key_a, people),
        customer_b=_name(principal, key_b, people),
        face_a=face_a,
        face_b=face_b,
        score=deps.scale.similarity(pair.score),
        expected=expected,
    )


def _name(principal: Principal, key: str, people: Mapping[str, Customer]) -> str:
    return told_id(Subject(principal.tenant_id, principal.mode, key), people[key])


async def told_rings(deps: Deps, principal: Principal, some: Sequence[Ring]) -> list[ToldRing]:
    """Those of the rings that two members are left of."""
    keys = {key for each in some for key in each.members}
    people = await customers_of(deps, (principal.tenant_id, principal.mode), keys)
    names = {key: _name(principal, key, people) for key in people}
    return [
        _ring(deps, each, names) for each in some if sum(key in names for key in each.members) > 1
    ]


def _ring(deps: Deps, found: Ring, names: Mapping[str, str]) -> ToldRing:
    def edges(some: Sequence[Edge]) -> tuple[ToldEdge, ...]:
        return tuple(
            ToldEdge(names[edge.first], names[edge.second], deps.scale.similarity(edge.score))
            for edge in some
            if edge.first in names and edge.second in names
        )

    members = tuple(names[key] for key in found.members if key in names)
    return ToldRing(
        id=found.id,
        members=members,
        strong_edges=found.strong_edges,
        weak_edges=found.weak_edges,
        weakest_link=deps.scale.similarity(found.weakest_link),
        bridges=edges(found.bridges),
        tree=edges(found.tree),
        expected_false_edges=found.expected_false_edges,
        density=found.density,
        medoid=names.get(found.medoid, members[0]),
        shared=tuple(sorted({signal.partition(":")[0] for signal in found.shared})),
        without={names[key]: parts for key, parts in found.without.items() if key in names},
        held_together_by=found.held_together_by,
    )
