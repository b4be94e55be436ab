"""Customers whom a restored backup brought back although they were erased."""

from serve.deps import Deps
from serve.domain.erasure import Tombstone
from serve.domain.ids import Prefix
from serve.flows.customers import erase_as_of
from serve.flows.transact import new_id, new_operation


async def erase_returned(deps: Deps) -> int:
    """Erase them again; how many they were.

    For a moment when nobody else uses the records. One who came after the erasure stays.
    """
    number = 0
    for tombstone in await deps.tombstones.returned():
        number += await _erase(deps, tombstone)
    return number


async def _erase(deps: Deps, tombstone: Tombstone) -> bool:
    snapshot = await deps.ledger.snapshot(tombstone.subject)
    if snapshot.customer is None:  # another tombstone was theirs as well
        return False
    erasure_id = new_id(deps, Prefix.ERASURE, tombstone.subject)
    await erase_as_of(deps, snapshot, erasure_id, new_operation(deps))
    return True
