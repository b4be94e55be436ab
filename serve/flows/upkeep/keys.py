"""New keys for the install, at an operator's word, while it runs."""

from serve.deps import Deps
from serve.domain.audit import Action
from serve.flows.audit import operated


async def rotate_keys(deps: Deps, *, master: bool, epoch: bool) -> None:
    """Have new keys of these kinds take over, and seal under them whatever older ones sealed.

    An interrupted rotation leaves a working install; the hourly upkeep finishes it.
    """
    if master:
        await operated(deps, Action.MASTER_ROTATED)
        await deps.masters.renew(at_once=True)
    if epoch:
        await operated(deps, Action.EPOCH_ROTATED)
        await deps.epochs.renew(at_once=True)
