"""What stands in the audit trail, read past the API so that the look leaves no word of its own."""

from typing import Any

from redis.asyncio import Redis

from serve.domain.audit import Action, AuditRecord
from serve.domain.tenancy.api_key import Principal
from serve.ports import Audit

ALL = 100


async def trail_of(audit: Audit, principal: Principal) -> list[AuditRecord]:
    """All that a tenant's key sees in its world, oldest first."""
    found: list[AuditRecord] = []
    cursor = ""
    while True:
        page = await audit.page(principal.tenant_id, principal.mode, None, cursor, ALL)
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            return found[::-1]


def actions(records: list[AuditRecord]) -> list[Action]:
    """What was done, in order."""
    return [record.entry.action for record in records]


async def raw_trail(link: Redis) -> dict[str, list[tuple[bytes, dict[bytes, bytes]]]]:
    """Every stream of the trail as Redis keeps it."""
    found: dict[str, Any] = {}
    for pattern in ("*}:audit", "*}:audit:*"):
        async for key in link.scan_iter(pattern):
            found[key.decode()] = await link.xrange(key)
    return found
