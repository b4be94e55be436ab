"""A verification's duplicates as a reviewer has them: a flag by its verification, and names."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from serve.deps import Deps
from serve.domain.ids import Subject
from serve.domain.operation import Operation
from serve.domain.search.duplicate import DuplicateFlag, FlagPatch, seen_by_matched
from serve.domain.tenancy.api_key import Principal, Scope
from serve.errors import Code, ServeError
from serve.flows.search.flags import change_flag


async def change_flag_of(
    deps: Deps, principal: Principal, place: tuple[str, str], patch: FlagPatch, op: Operation
) -> DuplicateFlag:
    """A flag of a verification, as the verification's customer has it, after `patch`.

    `place` are the ids of verification and flag. Raises `not_found` for a flag of others too, and
    what `change_flag` raises.
    """
    verification_id, flag_id = place
    world = principal.tenant_id, principal.mode
    found = await deps.verifications.one(*world, verification_id)
    kept = await deps.flags.one(*world, flag_id)
    if found is None or kept is None or found[0] not in {kept.subject, kept.flag.matched}:
        raise ServeError(Code.NOT_FOUND, "no such flag of this verification")
    flag = await change_flag(deps, principal, flag_id, patch, op)
    return flag if found[0] == kept.subject else seen_by_matched(flag, kept.subject)


async def names_of_matched(
    deps: Deps, principal: Principal, flags: Sequence[DuplicateFlag]
) -> Mapping[str, str]:
    """The names of those whom flags name, by verification: as far as there are names, and the key
    may see any.
    """
    if Scope.PII not in principal.scopes:
        return {}
    names = await names_of(deps, {flag.matched for flag in flags})
    return {
        flag.matched_verification_id: names[flag.matched] for flag in flags if flag.matched in names
    }


async def names_of(deps: Deps, subjects: Collection[Subject]) -> Mapping[Subject, str]:
    """What the tenant calls these customers, as far as it has said; one round trip for all."""
    snapshots = await asyncio.gather(*map(deps.ledger.snapshot, subjects))
    customers = ((each.subject, each.customer) for each in snapshots)
    return {subject: found.name for subject, found in customers if found and found.name}
