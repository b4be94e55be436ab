"""The audit trail over HTTP: who did what to whom, and when."""

from typing import Self

from aiohttp import web

from serve.api.answers import ListResponse, Timestamp, answered, timestamp
from serve.api.call import Call
from serve.api.wire import AuditParameters, Empty, Wire
from serve.domain.audit import Action, ActorKind, AuditRecord
from serve.domain.ids import Mode
from serve.flows import audit
from serve.ports import Page


class ActorResponse(Wire):
    """Who did it: whoever held an API key or a session token, an operator, or the service."""

    kind: ActorKind
    key_id: str | None


class EntryResponse(Wire):
    """One entry. What does not apply is null."""

    id: str
    at: Timestamp
    action: Action
    actor: ActorResponse
    mode: Mode | None
    """The world it was done in; null for what concerns both."""
    customer_digest: str | None
    """Names the customer to nobody: ask with `customer_id` for those of one."""
    target: str | None
    """The id of what it was done to."""
    outcome: str | None
    """How it came out, in a word."""
    count: int | None
    """How many records a list showed."""

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        """`record` on the wire."""
        entry = record.entry
        return cls(
            id=record.id,
            at=timestamp(record.at_ms),
            action=entry.action,
            actor=ActorResponse(kind=entry.actor.kind, key_id=entry.actor.key_id or None),
            mode=record.concern.mode,
            customer_digest=record.concern.customer or None,
            target=entry.target or None,
            outcome=entry.outcome or None,
            count=entry.count,
        )


class AuditResponse(ListResponse):
    """A page of the trail."""

    data: tuple[EntryResponse, ...]

    @classmethod
    def of(cls, page: Page[AuditRecord]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(EntryResponse.of, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


async def read_trail(call: Call[Empty, AuditParameters]) -> web.Response:
    """Lists entries of the trail."""
    asked = call.parameters
    query = audit.Query(asked.customer_id, asked.action, asked.cursor, asked.limit)
    return answered(AuditResponse.of(await audit.page(call.deps, call.tenant, query)))
