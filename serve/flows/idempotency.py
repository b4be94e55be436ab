"""A request that its sender may send again: carried out once, and answered the same."""

from serve.deps import Deps
from serve.domain.idempotency import Answer, Keyed, Repeat, digest_of
from serve.domain.ids import ID_RANDOM_BYTES
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.observe import logs, metrics
from serve.ports import Claim

_REFUSED = {
    Code.IDEMPOTENCY_MISMATCH: Repeat.MISMATCH,
    Code.IDEMPOTENCY_IN_PROGRESS: Repeat.IN_PROGRESS,
    Code.ANSWER_ERASED: Repeat.ERASED,
}


async def begin(
    deps: Deps, principal: Principal, route: tuple[str, str], key: str, fingerprint: str
) -> Claim | Answer:
    """A claim, for a request that is now to be carried out, or what it was answered before.

    `route` is a method and the template of a path. Raises `idempotency_mismatch`,
    `idempotency_in_progress`, `answer_erased`.
    """
    digest = digest_of(deps.pepper, principal.tenant_id, principal.mode, route, key)
    fence = deps.random(ID_RANDOM_BYTES).hex()
    try:
        found = await deps.idempotency.claim(Keyed(digest, fingerprint), fence)
    except ServeError as error:
        if isinstance(error.code, Code) and error.code in _REFUSED:
            metrics.count_repeat(_REFUSED[error.code])
        raise
    if isinstance(found, Answer):
        metrics.count_repeat(Repeat.REPLAYED)
    else:
        metrics.count_repeat(Repeat.FIRST if found.is_first else Repeat.AGAIN)
    return found


def operation(claim: Claim) -> Operation:
    """What is carried out under a claim: the same for whoever claims that request."""
    began_ms = None if claim.is_first else claim.began_ms  # nothing happened before a first one
    return Operation(claim.digest, may_repeat=True, began_ms=began_ms)


async def settle(deps: Deps, claim: Claim, op: Operation, answer: Answer | None) -> None:
    """Keep the answer, or give the claim back where asking again may get another; None is none.

    Where the store cannot be reached the answer stands all the same: the claim runs out, and
    whoever asks again finds what the operation did.
    """
    is_kept = answer is not None and answer.is_final and answer.is_small
    try:
        if answer is not None and is_kept:
            await deps.idempotency.finish(claim, answer, op)
        else:
            await deps.idempotency.release(claim)
    except ServeError as error:
        logs.write("claim not settled", code=error.code)
    if answer is not None and answer.is_final and not is_kept:
        metrics.count_repeat(Repeat.NOT_KEPT)
        logs.write("answer too large to keep", bytes=len(answer.body))
