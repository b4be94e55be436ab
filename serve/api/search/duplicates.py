"""Duplicate flags over HTTP."""

from collections.abc import Mapping
from typing import Self

from aiohttp import web
from pydantic import Field

from serve.api.answers import ListResponse, Timestamp, answered, timestamp
from serve.api.call import Call
from serve.api.search.wire import DuplicatesParameters, FlagBody, FlagParameters
from serve.api.wire import Empty, FlagId, VerificationId, Wire
from serve.domain.search.duplicate import DuplicateFlag, FlagPatch, FlagStatus, FlagType
from serve.flows.search import flags, review
from serve.ports import Page


class DuplicateFlagResponse(Wire):
    """Another verification of this tenant's with the same face."""

    id: FlagId
    type: FlagType
    score: float
    """0 to 1, rounded to 0.01."""
    detail: str | None
    status: FlagStatus
    verification_id: VerificationId
    matched_verification_id: VerificationId
    matched_name: str | None = Field(repr=False)
    """Null unless it is known and the key has the scope `pii`."""
    reviewer: str | None = Field(repr=False)
    reason: str | None = Field(repr=False)
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, flag: DuplicateFlag, names: Mapping[str, str]) -> Self:
        """`flag` on the wire; `names` are those that may be shown, by verification."""
        return cls(
            id=flag.id,
            type=flag.type,
            score=flag.score,
            detail=flag.detail,
            status=flag.status,
            verification_id=flag.verification_id,
            matched_verification_id=flag.matched_verification_id,
            matched_name=names.get(flag.matched_verification_id),
            reviewer=flag.reviewer,
            reason=flag.reason,
            created_at=timestamp(flag.created_at_ms),
            updated_at=timestamp(flag.updated_at_ms),
        )


class DuplicatesResponse(ListResponse):
    """The flags of a verification's customer."""

    data: tuple[DuplicateFlagResponse, ...]

    @classmethod
    def of(cls, page: Page[DuplicateFlag], names: Mapping[str, str]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(DuplicateFlagResponse.of(flag, names) for flag in page.items),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


async def list_duplicates(call: Call[Empty, DuplicatesParameters]) -> web.Response:
    """Lists the flags of a verification."""
    asked = call.parameters
    page = await flags.duplicates_of(
        call.deps, call.tenant, asked.verification_id, asked.cursor, asked.limit
    )
    names = await review.names_of_matched(call.deps, call.tenant, page.items)
    return answered(DuplicatesResponse.of(page, names))


async def change_duplicate(call: Call[FlagBody, FlagParameters]) -> web.Response:
    """Resolves or dismisses a flag."""
    asked, body = call.parameters, call.body
    patch = FlagPatch(status=body.status, reviewer=body.reviewer, reason=body.reason)
    flag = await review.change_flag_of(
        call.deps, call.tenant, (asked.verification_id, asked.flag_id), patch, call.operation
    )
    names = await review.names_of_matched(call.deps, call.tenant, (flag,))
    return answered(DuplicateFlagResponse.of(flag, names))
