"""The blocklist over HTTP."""

from typing import Self

from aiohttp import web

from serve.api.answers import ErasureResponse, ListResponse, Timestamp, answered, timestamp
from serve.api.call import Call
from serve.api.intake import proof
from serve.api.search.wire import BlockBody, BlockParameters
from serve.api.wire import BlockId, Empty, PageParameters, Wire
from serve.domain.search.block import Block
from serve.flows.search import blocklist
from serve.ports import Page


class BlockResponse(Wire):
    """A blocked face."""

    id: BlockId
    created_at: Timestamp
    reason: str | None
    model: str
    faces: int
    """Templates that are kept of it."""

    @classmethod
    def of(cls, block: Block) -> Self:
        """`block` on the wire."""
        return cls(
            id=block.id,
            created_at=timestamp(block.created_at_ms),
            reason=block.reason or None,
            model=block.model_id,
            faces=block.faces,
        )


class BlocklistResponse(ListResponse):
    """The tenant's blocked faces."""

    data: tuple[BlockResponse, ...]

    @classmethod
    def of(cls, page: Page[Block]) -> Self:
        """`page` on the wire."""
        return cls(
            data=tuple(map(BlockResponse.of, page.items)),
            next_cursor=page.next_cursor,
            has_more=bool(page.next_cursor),
        )


async def block_face(call: Call[BlockBody, Empty]) -> web.Response:
    """Blocks a face."""
    body = call.body
    request = blocklist.BlockRequest(
        selfie=None if body.selfie is None else await proof.decoded(body.selfie),
        customer_id=body.customer_id or "",
        reason=body.reason or "",
    )
    block = await blocklist.block_face(call.deps, call.tenant, request, call.operation)
    return answered(BlockResponse.of(block), 201)


async def list_blocked(call: Call[Empty, PageParameters]) -> web.Response:
    """Lists blocked faces."""
    asked = call.parameters
    found = await blocklist.page(call.deps, call.tenant, asked.cursor, asked.limit)
    return answered(BlocklistResponse.of(found))


async def read_blocked(call: Call[Empty, BlockParameters]) -> web.Response:
    """Shows one blocked face."""
    found = await blocklist.one(call.deps, call.tenant, call.parameters.block_id)
    return answered(BlockResponse.of(found))


async def unblock_face(call: Call[Empty, BlockParameters]) -> web.Response:
    """Takes a face off the blocklist, and erases it."""
    block_id = call.parameters.block_id
    receipt = await blocklist.unblock(call.deps, call.tenant, block_id, call.operation)
    return answered(ErasureResponse.of(receipt))
