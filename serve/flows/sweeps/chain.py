"""A sweep and those that it goes on from: together they have seen every pair."""

from serve.deps import Deps
from serve.domain.sweeps.merge import Merged
from serve.domain.sweeps.sweep import Sweep, SweepStatus

CHAIN_MAX = 128  # sweeps, one going on from another; they are kept for 90 days


async def chain_of(deps: Deps, sweep: Sweep) -> list[Sweep] | None:
    """The sweep, the one that it goes on from, and so on; None where one is kept no more, or they
    are too many.
    """
    found = [sweep]
    while found[-1].base:
        base = await deps.sweeps.one(sweep.tenant_id, sweep.mode, found[-1].base)
        if base is None or base.status is not SweepStatus.DONE or len(found) == CHAIN_MAX:
            return None
        found.append(base)
    return found


async def edges_of(deps: Deps, sweep: Sweep) -> Merged:
    """What a done sweep found, as it is kept."""
    pairs, tail = await deps.sweeps.edges(sweep.id)
    return Merged(tuple(pairs), tuple(tail), sweep.complete_from)
