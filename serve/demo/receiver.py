"""The tenant's own server: takes callbacks on a free port of this machine and verifies each."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PATH = "/callbacks"
BODY_BYTES_MAX = 64 * 2**10
CALLBACKS_MAX = 100_000
SEQUENCE_HEADER = "limen-sequence"


@dataclass(frozen=True, slots=True)
class Callback:
    """One verified callback: `sequence` counts those of its session."""

    id: str
    session_id: str
    sequence: int
    document: dict[str, Any] = field(repr=False)

    @property
    def status(self) -> str:
        """The KycStatus it tells of."""
        return str(self.document.get("status"))


class Receiver:
    """Listens for as long as its `async with` lasts."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._seen: dict[str, Callback] = {}  # by webhook-id: delivery is at least once
        self._refused = 0
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post(PATH, self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def origin(self) -> str:
        """What the tenant has to allow."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Where callbacks are to be sent."""
        return self.origin + PATH

    @property
    def refused(self) -> int:
        """Callbacks whose signature was missing, wrong or too old."""
        return self._refused

    def of(self, session_id: str) -> list[Callback]:
        """The callbacks of a session, in the order in which its state changed."""
        found = (callback for callback in self._seen.values() if callback.session_id == session_id)
        return sorted(found, key=lambda callback: callback.sequence)

    async def wait_for(self, session_id: str, number: int, seconds: float) -> list[Callback]:
        """The callbacks of a session once there are `number`, or what there is after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: len(self.of(session_id)) >= number)
        except TimeoutError:
            pass
        return self.of(session_id)

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            document = self._webhook.verify(body, dict(request.headers))
            sequence = int(request.headers[SEQUENCE_HEADER])
            callback = Callback(
                request.headers["webhook-id"], document["resource_id"], sequence, document
            )
        except (WebhookVerificationError, KeyError, TypeError, ValueError):
            self._refused += 1
            return web.Response(status=400)
        if len(self._seen) >= CALLBACKS_MAX:
            return web.Response(status=503)
        async with self._news:
            self._seen[callback.id] = callback
            self._news.notify_all()
        return web.Response(status=204)
