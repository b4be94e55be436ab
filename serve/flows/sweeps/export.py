"""All that a sweep came to, at once: for whoever writes it down as files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.rings.edges import Ring
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.customer import Customer
from serve.domain.ids import Subject
from serve.domain.search.evidence import ExpectedFalseMatches
from serve.domain.sweeps.calibration import Calibration, bin_of
from serve.domain.sweeps.mates import best_scores
from serve.domain.sweeps.merge import united
from serve.domain.sweeps.sweep import FacePair, Sweep
from serve.domain.tenancy.api_key import Principal
from serve.flows.audit import noted
from serve.flows.sweeps.chain import chain_of, edges_of
from serve.flows.sweeps.people import customers_of, has_face, told_id
from serve.flows.sweeps.results import (
    FoundPair,
    ToldEdge,
    ToldRing,
    done_sweep,
    expected_in,
    told_pair,
    told_rings,
)

Floats = NDArray[np.float64]
CHIPS = "chips"  # how a look at faces stands in the trail


@dataclass(frozen=True, slots=True)
class Exported:
    """`pairs` at or above the threshold, best first. `below` (T,) are the native scores of those
    below it that are known, float64. `links` has for each ring, by its id, the pairs of members
    that are counted as its edges, best first: as many as are strong, then the weak ones.
    `calibration` is the world's, where it is of the sweep's model.
    """

    sweep: Sweep
    pairs: tuple[FoundPair, ...] = field(repr=False)
    below: Floats = field(repr=False)
    rings: tuple[ToldRing, ...] = field(repr=False)
    links: Mapping[str, tuple[ToldEdge, ...]] = field(repr=False)
    calibration: Calibration | None


async def exported(deps: Deps, principal: Principal, sweep_id: str) -> Exported:
    """What a sweep of the principal's world came to, as it is kept; whoever has gone since is left
    out. Raises `not_found` and `sweep_unfinished`.
    """
    sweep = await done_sweep(deps, principal, sweep_id)
    world = principal.tenant_id, principal.mode
    found, below = await deps.sweeps.edges(sweep_id)
    rings = await deps.sweeps.rings(sweep_id)
    ends = {key for pair in found for key in (pair.subject_a, pair.subject_b)}
    people = await customers_of(deps, world, ends | {key for ring in rings for key in ring.members})
    calibration = await deps.sweeps.calibration(*world)
    if calibration is not None and calibration.model_id != sweep.model_id:
        calibration = None
    chance: dict[int, ExpectedFalseMatches] = {}
    told = []
    for pair in found:
        if not _is_there(people, pair):
            continue
        place = bin_of(pair.score)
        if place not in chance:
            chance[place] = expected_in(sweep, calibration, pair.score)
        told.append(told_pair(deps, principal, pair, people, chance[place]))
    shown = await told_rings(deps, principal, rings)
    links = await _links(deps, principal, sweep, rings, people)
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, sweep_id, count=len(told))
    await noted(deps, Concern(*world), entry)
    return Exported(
        sweep=sweep,
        pairs=tuple(told),
        below=np.array([pair.score for pair in below], np.float64),
        rings=tuple(shown),
        links=links,
        calibration=calibration,
    )


async def chips_of(
    deps: Deps, principal: Principal, customer_ids: Sequence[str], sweep_id: str
) -> dict[str, bytes]:
    """A face of each of these customers, as JPEG: of their references the first that is kept as a
    picture; who has none is left out. It stands in the trail that faces were looked at.
    """
    found: dict[str, bytes] = {}
    for customer_id in customer_ids:
        subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
        kept = await deps.listings.chips(await deps.ledger.snapshot(subject))
        if kept:
            found[customer_id] = next(iter(kept.values()))
    concern = Concern(principal.tenant_id, principal.mode)
    entry = AuditEntry(Action.SWEEP_READ, principal.actor, sweep_id, CHIPS, count=len(found))
    await noted(deps, concern, entry)
    return found


async def _links(
    deps: Deps,
    principal: Principal,
    sweep: Sweep,
    rings: Iterable[Ring],
    people: Mapping[str, Customer],
) -> dict[str, tuple[ToldEdge, ...]]:
    """The edges of rings: their best pairs, as many as were counted."""
    wanted = {ring.id: ring for ring in rings}
    ring_of = {key: ring.id for ring in wanted.values() for key in ring.members if key in people}
    chain = await chain_of(deps, sweep) if wanted else None
    if chain is None:
        return {}
    whole = united([await edges_of(deps, each) for each in chain])
    inside = (
        (it.customers, it.score)
        for it in (*whole.pairs, *whole.tail)
        if ring_of.get(it.subject_a, "") == ring_of.get(it.subject_b) and _is_there(people, it)
    )
    names = {
        key: told_id(Subject(principal.tenant_id, principal.mode, key), people[key])
        for key in ring_of
    }
    found: dict[str, list[ToldEdge]] = {ring_id: [] for ring_id in wanted}
    ranked = sorted(best_scores(inside).items(), key=lambda item: (-item[1], item[0]))
    for (one, other), score in ranked:
        ring = wanted[ring_of[one]]
        if len(found[ring.id]) < ring.strong_edges + ring.weak_edges:
            edge = ToldEdge(names[one], names[other], deps.scale.similarity(score))
            found[ring.id].append(edge)
    return {ring_id: tuple(edges) for ring_id, edges in found.items()}


def _is_there(people: Mapping[str, Customer], pair: FacePair) -> bool:
    return has_face(people, pair.subject_a, pair.face_a) and has_face(
        people, pair.subject_b, pair.face_b
    )
