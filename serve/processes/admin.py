"""The listener for operators: `/readyz` and `/metrics`, apart from the public port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from serve.domain.headroom import Shortage
from serve.errors import ServeError
from serve.observe import metrics
from serve.processes.child import PartState
from serve.processes.listening import listen, shown_host, split_address
from serve.processes.supervisor import Supervisor

PING_S_MAX = 2.0
KEEPALIVE_S = 75.0

Ping = Callable[[], Awaitable[None]]
ShortOf = Callable[[], Awaitable[Shortage | None]]


@asynccontextmanager
async def open_admin(
    address: str, supervisor: Supervisor, ping: Ping, short_of: ShortOf | None = None
) -> AsyncIterator[str]:
    """Answer at `address` while the block runs; yields its URL, empty where `address` is.

    `short_of` is asked what the store has too little of, where that is to be told.

    Raises `address_in_use` and `setting_invalid`.
    """
    if not address:
        yield ""
        return
    host, port = split_address(address)
    (listener,) = listen(host, port, 1)
    application = web.Application()
    application.router.add_get("/readyz", _Readiness(supervisor, ping, short_of).answer)
    application.router.add_get("/metrics", _render_metrics)
    runner = web.AppRunner(
        application, handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_S
    )
    with listener:
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield f"http://{shown_host(host)}:{listener.getsockname()[1]}"
        finally:
            await runner.cleanup()


class _Readiness:
    """200 while every part that is needed is ready and Redis answers, else 503; which is which, as
    JSON.
    """

    def __init__(self, supervisor: Supervisor, ping: Ping, short_of: ShortOf | None) -> None:
        self._supervisor = supervisor
        self._ping = ping
        self._short_of = short_of

    async def answer(self, _request: web.Request) -> web.Response:
        parts = {**self._supervisor.parts(), "redis": await self._redis_state()}
        is_ready = (
            parts["redis"] is PartState.READY
            and self._supervisor.is_ready()
            and not self._supervisor.is_stopping
        )
        found: dict[str, object] = {
            "ready": is_ready,
            "stopping": self._supervisor.is_stopping,
            "parts": parts,
        }
        if self._short_of is not None and parts["redis"] is PartState.READY:
            found["short_of"] = await self._shortage(self._short_of)
        return web.json_response(found, status=200 if is_ready else 503)

    async def _shortage(self, short_of: ShortOf) -> str | None:
        """Open sessions go on whatever it is: a service short of room is ready."""
        try:
            async with asyncio.timeout(PING_S_MAX):
                return await short_of()
        except (ServeError, TimeoutError):
            return "unknown"

    async def _redis_state(self) -> PartState:
        try:
            async with asyncio.timeout(PING_S_MAX):
                await self._ping()
        except (ServeError, TimeoutError):
            return PartState.DOWN
        return PartState.READY


async def _render_metrics(_request: web.Request) -> web.Response:
    text, content_type = await asyncio.to_thread(metrics.render)
    return web.Response(body=text, headers={"Content-Type": content_type})
