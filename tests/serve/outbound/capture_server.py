"""A small server that speaks the capture protocol by its rules and says what a test wants."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from serve.domain.liveness.wire import (
    STREAM_PATH,
    SUBPROTOCOL,
    Start,
    read_frame,
    read_message,
)

NONCE = bytes(range(16))
LIMITS = {
    "frame_bytes_max": 2**19, "frames_per_s_max": 10.0, "frames_max": 100, "seconds_max": 60.0,
}  # fmt: skip
STEPS = ("nod", "blink")
DONE = {"type": "done", "status": 200, "result": {"status": "approved"}}
RETAKE = {"type": "done", "status": 422, "code": "capture_unfit", "feedback": ["blur", "dark"]}
PROBLEM = {"type": "problem", "problem": {"status": 410, "code": "token_expired"}}
BUSY = {"type": "problem", "problem": {"status": 503, "code": "overloaded"}, "retry_after_s": 2}


@dataclass(slots=True)
class Script:
    """What the server says: its first message, and what it does with frames and the submit."""

    credit: int = 2
    least: int = 0
    first: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = field(default_factory=lambda: DONE)
    grants: bool = True
    hints_every: int = 1
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)
    started: list[tuple[str, str | None]] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, every message read as a front door reads it."""
        self.asked_for.append(str(request.rel_url))
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        assert socket.ws_protocol == SUBPROTOCOL
        received = await socket.receive()
        if received.type is not aiohttp.WSMsgType.TEXT:
            return socket  # it said nothing, and went
        start = read_message(received.data)
        assert isinstance(start, Start)
        self.started.append((start.token, start.resume))
        await socket.send_json(self.first or self._hello())
        least = self.least
        async for received in socket:
            if received.type is aiohttp.WSMsgType.TEXT:
                read_message(received.data)
                if self.last is not None:
                    await socket.send_json(self.last)
                break
            frame = read_frame(received.data, NONCE, least)
            least = frame.seq + 1
            self.seen.append((frame.seq, frame.captured_ms, frame.image))
            if (frame.seq + 1) % self.hints_every == 0:
                await socket.send_json({"type": "hint", "seq": frame.seq, "feedback": ["ok"]})
            if self.grants:
                await socket.send_json({"type": "credits", "credits": 1})
        await socket.close()
        return socket

    def _hello(self) -> dict[str, object]:
        return {
            "type": "hello", "stream": "a" * 32, "nonce": NONCE.hex(), "steps": list(STEPS),
            "step": STEPS[0], "done": 0, "limits": LIMITS, "credits": self.credit,
            "next": self.least,
        }  # fmt: skip


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A client, and the URL of a server that follows the script."""
    app = web.Application()
    app.router.add_get(STREAM_PATH, script.serve)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield http, str(server.make_url(""))
