"""A sweep that is done, without anybody having worked on it: what tests of its readers need."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from index.rings.edges import Edge, Rules
from index.rings.explain import explained
from index.sweep.grid import Tile
from serve.deps import Deps
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import Calibration, bin_of
from serve.domain.sweeps.sweep import FacePair, Sweep, SweepPlan, SweepStatus, ThresholdSource
from serve.ports import SweepReport

RULES = Rules(strong=0.95, weak=0.9, false_match_rate=1e-6)
BEST, STEP = 0.99, 0.001  # of the native scores: each pair a little less alike than the one before
PROBES = 20_000
SIGNAL = f"phone:{'0' * 32}"


async def ended(deps: Deps, sweep: Sweep, customer_ids: Sequence[str]) -> Sweep:
    """`sweep`, which was queued, done: the first faces of all of these customers are alike and make
    one ring; two of them gave the same phone.
    """
    people = sorted(
        [await _person(deps, sweep.tenant_id, sweep.mode, name) for name in customer_ids]
    )
    pairs = tuple(
        FacePair(subject_a=one[0], face_a=one[1], subject_b=other[0], face_b=other[1],
                 score=BEST - STEP * number)
        for number, (one, other) in enumerate(combinations(people, 2))
    )  # fmt: skip
    edges = [Edge(pair.subject_a, pair.subject_b, pair.score) for pair in pairs]
    signals = {key: frozenset({SIGNAL}) for key, _ in people[:2]}
    rings = (explained(edges, signals, RULES),) if edges else ()
    running = sweep.model_copy(
        update={
            "status": SweepStatus.RUNNING,
            "started_at_ms": sweep.created_at_ms,
            "threshold": RULES.weak,
            "threshold_source": ThresholdSource.MANIFEST,
            "faces": len(people),
            "customers": len(people),
            "tiles": 1,
        }
    )
    hold = await deps.sweeps.hold(sweep.id)
    assert hold is not None
    nothing = SweepPlan(blocks=(), first_new=0, pin={})
    assert await deps.sweeps.plan(hold, running, nothing, [Tile(0, 0)])
    done = running.model_copy(
        update={
            "status": SweepStatus.DONE,
            "ended_at_ms": sweep.created_at_ms + 1_000,
            "rings": len(rings),
        }
    )
    report = SweepReport(pairs, (), rings, a_calibration(done))
    assert await deps.sweeps.end(hold, done, report)
    found = await deps.sweeps.one(sweep.tenant_id, sweep.mode, sweep.id)
    assert found is not None
    assert found.status is SweepStatus.DONE
    return found


def a_calibration(sweep: Sweep, **changes: Any) -> Calibration:
    """What a sweep of 20,000 strangers says, of whom one pair is alike."""
    fields: dict[str, Any] = {
        "tenant_id": sweep.tenant_id,
        "mode": sweep.mode,
        "model_id": sweep.model_id,
        "sweep_id": sweep.id,
        "gallery_size": PROBES,
        "probes": PROBES,
        "pairs": PROBES * (PROBES - 1) // 2,
        "complete_from": RULES.weak,
        "impostors": {bin_of(RULES.strong): 1},
        "erring": {bin_of(RULES.strong): 2},
        "made_at_ms": sweep.created_at_ms,
    }
    return Calibration(**{**fields, **changes})


async def _person(deps: Deps, tenant_id: str, mode: Mode, customer_id: str) -> tuple[str, str]:
    """Subject key and first face."""
    subject = deps.ledger.subject(tenant_id, mode, customer_id)
    customer = (await deps.ledger.snapshot(subject)).customer
    assert customer is not None, customer_id
    return subject.key, customer.references[0].face_id
