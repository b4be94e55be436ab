"""Callbacks, as a tenant looks back on them."""

from serve.deps import Deps
from serve.domain.callback import CallbackEvent
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.ports import Page


async def page(deps: Deps, principal: Principal, cursor: str, limit: int) -> Page[CallbackEvent]:
    """Callbacks of the last 30 days, newest first. Raises `cursor_invalid`."""
    return await deps.listings.events(principal.tenant_id, principal.mode, cursor, limit)


async def event(deps: Deps, principal: Principal, event_id: str) -> CallbackEvent:
    """One callback with its attempts. Raises `not_found`."""
    found = await deps.listings.event(principal.tenant_id, principal.mode, event_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such event")
    return found


async def resend(deps: Deps, principal: Principal, event_id: str) -> CallbackEvent:
    """Send a callback again now, under the same id, whatever became of it.

    Its URL is tried anew even if it had answered 410. Raises `not_found`.
    """
    found = await event(deps, principal, event_id)
    await deps.directory.put_gone(principal.tenant_id, found.url, is_gone=False)
    return await deps.outbox.resend(found)
