"""A verification's duplicates as a reviewer has them: a flag by its verification, and names."""

from collections.abc import Mapping, Sequence

from serve.deps import Deps
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
    ids = tuple(flag.matched_verification_id for flag in flags)
    found = await deps.verifications.named(principal.tenant_id, principal.mode, ids)
    names = {name: record.applicant.name for name, record in found.items()}
    return {verification_id: name for verification_id, name in names.items() if name}
