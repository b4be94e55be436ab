"""What stands where a Ray head might: it answers every call alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc


class _Alike(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def __init__(self, status: grpc.StatusCode) -> None:
        self._status = status

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: Any) -> bytes:
        if self._status is not grpc.StatusCode.OK:
            await context.abort(self._status, "no")
        return b""


@asynccontextmanager
async def stub_head(status: grpc.StatusCode) -> AsyncIterator[str]:
    """The address of one on the loopback, until the block ends."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Alike(status),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
