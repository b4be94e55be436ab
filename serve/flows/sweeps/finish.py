"""The last thing done for a sweep: its tiles are put together, and what they show is written."""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.rings.edges import Edge, Evidence, Ring
from index.rings.grow import grow
from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY, VERIFY_THRESHOLD_SIMILARITY
from serve.deps import Deps
from serve.domain.audit import SERVICE, Action, AuditEntry, Concern
from serve.domain.customer import Customer
from serve.domain.search.duplicate import FlagStatus
from serve.domain.search.pairs import flags_of_pairs
from serve.domain.sweeps.bars import bars
from serve.domain.sweeps.calibration import Calibration, calibrated, threshold_for
from serve.domain.sweeps.mates import Marks, Pair, best_scores, telling_signals
from serve.domain.sweeps.merge import Merged, Merger, calibrated_end, split, united, without
from serve.domain.sweeps.progress import why_too_many
from serve.domain.sweeps.sweep import (
    PAIRS_MAX,
    FacePair,
    Sweep,
    SweepFailure,
    SweepScope,
    SweepStatus,
    ThresholdSource,
)
from serve.flows.audit import noted
from serve.flows.sweeps.chain import chain_of, edges_of
from serve.flows.sweeps.people import AT_ONCE, customers_of, gone_faces, named
from serve.flows.sweeps.plan import target_of
from serve.flows.sweeps.tiles import TooMany
from serve.observe import sweeps as metrics
from serve.ports import Hold, SweepReport

REASONS: Mapping[SweepFailure, str] = {
    SweepFailure.EVIDENCE_INSUFFICIENT: (
        "The gallery's scores are too few, or too high, for a threshold; give one."
    ),
    SweepFailure.MODEL_CHANGED: "The install compares with another model by now; sweep again.",
    SweepFailure.TILE_FAILED: "One part of the sweep failed again and again; see the log.",
    SweepFailure.BASE_GONE: "The sweep that this one goes on from is kept no more.",
}


async def end_sweep(
    deps: Deps, hold: Hold, sweep: Sweep, pairs_max: int = PAIRS_MAX
) -> SweepFailure | None:
    """Write what a sweep came to, all of whose tiles are there; or why it came to nothing."""
    if sweep.found > pairs_max:
        return SweepFailure.TOO_MANY_PAIRS
    bases = await chain_of(deps, sweep)
    if bases is None:
        return SweepFailure.BASE_GONE
    merger = Merger(sweep.threshold, sweep.complete_from)
    async for result in deps.sweeps.results(sweep.id):
        await asyncio.to_thread(merger.add, result)
    own = await asyncio.to_thread(merger.merged)
    parts = [await edges_of(deps, base) for base in bases[1:]]
    chain = _Chain(sweep, _total(sweep, bases[1:]), own, parts)
    ended = await _ended(deps, chain)
    if isinstance(ended, SweepFailure):
        return ended
    done, report = ended
    await finish(deps, hold, done, report)
    return None


async def give_up(
    deps: Deps, hold: Hold, sweep: Sweep, failure: SweepFailure, detail: str = ""
) -> None:
    """End a sweep that comes to nothing, and say why."""
    failed = sweep.model_copy(
        update={
            "status": SweepStatus.FAILED,
            "failure": failure,
            "detail": detail or REASONS[failure],
            "ended_at_ms": await deps.directory.now_ms(),
        }
    )
    await finish(deps, hold, failed, None)


async def finish(deps: Deps, hold: Hold, ended: Sweep, report: SweepReport | None) -> None:
    """Write the end of a sweep, and that it ended."""
    outcome = ended.status if ended.failure is None else ended.failure
    entry = AuditEntry(Action.SWEEP_ENDED, SERVICE, ended.id, outcome)
    await noted(deps, Concern(ended.tenant_id, ended.mode), entry)
    if await deps.sweeps.end(hold, ended, report):
        metrics.count_ended(outcome)


async def too_many(deps: Deps, found: TooMany, pairs_max: int = PAIRS_MAX) -> str:
    """Why a sweep with such a tile is given up, and which threshold would do: one that keeps half
    of what may be found, if the rest is like the tiles that were done.
    """
    sweep = found.sweep
    assert sweep.threshold is not None, "there are never too many without a threshold"
    scores = [found.scores]
    scores += [
        np.array([pair.score for pair in result.pairs], np.float64)
        async for result in deps.sweeps.results(sweep.id)
    ]
    better = await asyncio.to_thread(_better, np.concatenate(scores), sweep, pairs_max)
    similarity = math.ceil(1_000 * deps.scale.similarity(better)) / 1_000
    return why_too_many(sweep, deps.scale.similarity(sweep.threshold), min(1.0, similarity))


def _better(scores: NDArray[np.float64], sweep: Sweep, pairs_max: int) -> float:
    if not len(scores):  # they have gone meanwhile
        return sweep.threshold or 0.0
    share = sweep.compared / max(1, sweep.to_compare)
    few = max(1, int(pairs_max * min(1.0, share) / 2))
    return float(np.sort(scores)[-min(few, len(scores))])


@dataclass(frozen=True, slots=True)
class _Chain:
    """A sweep and its own edges, those of the sweeps that it goes on from, and what would be
    counted if one sweep had seen what all did.
    """

    sweep: Sweep
    total: Sweep
    own: Merged
    bases: list[Merged]


@dataclass(frozen=True, slots=True)
class _Known:
    """Edges between customers who are there, and what is known of these beside their faces."""

    own: Merged
    whole: Merged
    marks: Marks


def _total(sweep: Sweep, bases: Iterable[Sweep]) -> Sweep:
    """As if one sweep had seen what all did."""
    every = [sweep, *bases]
    pairs = sweep.faces * (sweep.faces - 1) // 2
    counted = {
        "compared": min(pairs, sum(each.compared for each in every)),
        "mates": sum(each.mates for each in every),
        "complete_from": max(each.complete_from for each in every),
    }
    return sweep.model_copy(update=counted)


async def _ended(deps: Deps, chain: _Chain) -> tuple[Sweep, SweepReport] | SweepFailure:
    sweep = chain.sweep
    match_min = deps.scale.native(VERIFY_THRESHOLD_SIMILARITY)
    now_ms = await deps.directory.now_ms()
    told_from = match_min if sweep.threshold is None else min(match_min, sweep.threshold)
    known = await _known(deps, chain, told_from)
    calibration: Calibration | None = None
    threshold, source = sweep.threshold, sweep.threshold_source
    if sweep.request.scope is SweepScope.ENROLLED:
        calibration = await asyncio.to_thread(
            calibrated, chain.total, (*known.whole.pairs, *known.whole.tail), known.marks, now_ms,
            match_min,
        )  # fmt: skip
    if threshold is None:
        found = _own_threshold(deps, chain.total, calibration, match_min)
        if isinstance(found, SweepFailure):
            return found
        threshold, source = found
        if threshold < told_from:
            known = await _known(deps, chain, threshold)
    own = await asyncio.to_thread(split, known.own, threshold)
    rings = await asyncio.to_thread(_rings, chain.total, known, calibration, match_min)
    done = sweep.model_copy(
        update={
            "status": SweepStatus.DONE,
            "threshold": threshold,
            "threshold_source": source,
            "found": len(own.pairs),
            "rings": len(rings),
            "ended_at_ms": now_ms,
        }
    )
    kept = calibration if sweep.is_whole else None
    return done, SweepReport(own.pairs, own.tail, rings, kept)


def _own_threshold(
    deps: Deps, sweep: Sweep, calibration: Calibration | None, match_min: float
) -> tuple[float, ThresholdSource] | SweepFailure:
    floor = deps.scale.native(SEARCH_FLOOR_SIMILARITY)
    found = None
    if calibration is not None and sweep.is_whole:
        found = threshold_for(calibration, target_of(sweep), floor)
    own = None if found is None else found.threshold
    return calibrated_end(own, match_min, sweep.complete_from)


def _rings(
    total: Sweep, known: _Known, calibration: Calibration | None, match_min: float
) -> tuple[Ring, ...]:
    """None of what goes with the blocklist: who is on it is no customer."""
    if calibration is None:
        return ()
    rules = bars(total, calibration, match_min)
    best = best_scores(
        (pair.customers, pair.score)
        for pair in (*known.whole.pairs, *known.whole.tail)
        if pair.score >= rules.weak
    )
    edges = tuple(Edge(*ends, score) for ends, score in sorted(best.items()))
    return grow(Evidence(edges, telling_signals(known.marks), known.marks.apart), rules).rings


async def _known(deps: Deps, chain: _Chain, told_from: float) -> _Known:
    """Edges from `told_from` on are of faces that are there; below it nobody is named to anyone."""
    whole = await asyncio.to_thread(united, [chain.own, *chain.bases])
    pairs, faces = await asyncio.to_thread(_told, whole, told_from)
    people = await customers_of(deps, (chain.sweep.tenant_id, chain.sweep.mode), faces)
    gone = await asyncio.to_thread(gone_faces, people, faces)
    marks = await _marks(deps, people, pairs, gone)
    own = await asyncio.to_thread(without, chain.own, gone)
    return _Known(own, await asyncio.to_thread(without, whole, gone), marks)


def _told(whole: Merged, told_from: float) -> tuple[list[FacePair], dict[str, set[str]]]:
    """The pairs that score so much, and their faces."""
    pairs = [pair for pair in (*whole.pairs, *whole.tail) if pair.score >= told_from]
    return pairs, named(pairs)


async def _marks(
    deps: Deps, people: Mapping[str, Customer], pairs: Iterable[FacePair], gone: frozenset[str]
) -> Marks:
    """What reviewers and tenants have said of customers who are alike by faces that are there."""
    apart = {
        (min(key, other), max(key, other))
        for key, customer in people.items()
        for other in customer.different_from
        if other in people and other != key
    }
    flags = await asyncio.to_thread(_flags, people, pairs, gone)
    confirmed = set[Pair]()
    wanted = sorted(flags)
    for start in range(0, len(wanted), AT_ONCE):
        for kept in await deps.flags.known(wanted[start : start + AT_ONCE]):
            if kept.flag.status is FlagStatus.RESOLVED:
                confirmed.add(flags[kept.flag.id])
    signals = {key: frozenset(it.signals) for key, it in people.items() if it.signals}
    return Marks(frozenset(confirmed - apart), frozenset(apart), signals)


def _flags(
    people: Mapping[str, Customer], pairs: Iterable[FacePair], gone: frozenset[str]
) -> dict[str, Pair]:
    """Every flag of these pairs, by its id."""
    found: dict[str, Pair] = {}
    known = {key: flags_of_pairs(customer) for key, customer in people.items()}
    for one, other in {pair.customers for pair in pairs if pair.face_a not in gone}:
        for key, matched in ((one, other), (other, one)):
            flag_id = known.get(key, {}).get(matched)
            if flag_id is not None:
                found[flag_id] = (one, other)
    return found
