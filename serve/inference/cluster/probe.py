"""Whether a cluster lets strangers in, asked from outside and without Ray."""

import grpc

from serve.errors import Code, ServeError

PROBE_S_MAX = 5.0
# Any call will do: the answer to one without a token is the same for all.
_PROBE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_NOBODY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


async def asks_for_token(address: str, timeout_s: float = PROBE_S_MAX) -> bool:
    """Whether the cluster at `address` refuses a caller without its token.

    Raises `engine_unavailable` when nobody answers there.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            await channel.unary_unary(_PROBE)(b"", timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() in _NOBODY:
                detail = f"no Ray head at {address}"
                raise ServeError(Code.ENGINE_UNAVAILABLE, detail) from error
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False
