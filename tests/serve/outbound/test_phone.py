"""The reference client against a small server that speaks the protocol by its rules."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pipeline.liveness.challenge import Step
from serve.domain.liveness.wire import (
    STREAM_PATH,
    SUBPROTOCOL,
    Terms,
    hello,
    read_frame,
    read_message,
)
from serve.domain.liveness.wire import (
    Start as StartMessage,
)
from serve.outbound.phone import Refused, Start, opened

NONCE = bytes(range(16))
TERMS = Terms(2**19, 10.0, 100, 60.0)
STEPS = (Step.NOD, Step.BLINK)
DONE = {"type": "done", "status": 200, "result": {"status": "approved"}}
RETAKE = {"type": "done", "status": 422, "code": "capture_unfit", "feedback": ["blur", "dark"]}
PROBLEM = {"type": "problem", "status": 410, "code": "token_expired"}


@dataclass(slots=True)
class Script:
    """What the server says: its first message, and what it does with frames and the submit."""

    credit: int = 2
    least: int = 0
    first: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = field(default_factory=lambda: DONE)
    grants: bool = True
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)
    started: list[tuple[str, str | None]] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One connection, every message read as a front door reads it."""
        self.asked_for.append(str(request.rel_url))
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        assert socket.ws_protocol == SUBPROTOCOL
        start = read_message((await socket.receive()).data)
        assert isinstance(start, StartMessage)
        self.started.append((start.token, start.resume))
        await socket.send_json(self.first or self._hello())
        async for received in socket:
            if received.type is aiohttp.WSMsgType.TEXT:
                read_message(received.data)
                if self.last is not None:
                    await socket.send_json(self.last)
                break
            frame = read_frame(received.data, NONCE, len(self.seen))
            self.seen.append((frame.seq, frame.captured_ms, frame.image))
            await socket.send_json({"type": "hint", "seq": frame.seq, "feedback": ["ok"]})
            if self.grants:
                await socket.send_json({"type": "credits", "credits": 1})
        await socket.close()
        return socket

    def _hello(self) -> dict[str, object]:
        return hello(
            stream="a" * 32, nonce=NONCE.hex(), steps=STEPS, done=0, terms=TERMS,
            credit=self.credit, least=self.least,
        )  # fmt: skip


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A client, and the URL of a server that follows the script."""
    app = web.Application()
    app.router.add_get(STREAM_PATH, script.serve)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield http, str(server.make_url(""))


async def test_frames_are_numbered_and_tagged_one_for_each_credit() -> None:
    """Ten frames pass two credits at a time, as they were given, and are answered by a verdict."""
    script, hints = Script(), list[int]()
    async with (
        serving(script) as (http, url),
        opened(http, Start(url, "st_1"), lambda hint: hints.append(hint["seq"])) as phone,
    ):
        assert phone.steps == ("nod", "blink")
        assert [await phone.send(b"%d" % n, 40 * n) for n in range(10)] == list(range(10))
        ended = await phone.submit()
    assert script.seen == [(n, 40 * n, b"%d" % n) for n in range(10)]
    assert hints == list(range(10))
    assert (ended.status, ended.word) == (200, "approved")
    assert (script.started, script.asked_for) == ([("st_1", None)], [STREAM_PATH])


async def test_without_a_credit_a_frame_is_let_go() -> None:
    """A camera that is faster than the credits loses frames; what is sent has no gap in it."""
    script = Script(grants=False)
    async with serving(script) as (http, url), opened(http, Start(url, "st_1")) as phone:
        assert [await phone.offer(b"a", n) for n in range(4)] == [0, 1, None, None]
        assert (await phone.submit()).word == "approved"
    assert [seq for seq, *_ in script.seen] == [0, 1]


async def test_a_stream_goes_on_where_the_server_says() -> None:
    """After a lost connection the next frame has the number of the new hello."""
    script = Script(least=0, last=None)
    async with serving(script) as (http, url):
        async with opened(http, Start(url, "st_1")) as phone:
            await phone.send(b"a", 0)
            with pytest.raises(ConnectionError):
                await phone.submit()
        script.least, script.last = 1, DONE
        async with opened(http, Start(url, "st_1", phone.stream)) as again:
            assert await again.send(b"b", 40) == 1
            assert (await again.submit()).status == 200
    assert script.started == [("st_1", None), ("st_1", "a" * 32)]


@pytest.mark.parametrize(
    ("last", "word"), [(RETAKE, "capture_unfit: blur"), (PROBLEM, "token_expired")]
)
async def test_the_last_word_is_the_server_s(last: dict[str, Any], word: str) -> None:
    """A clip that is to be taken again and a problem are answers as a verdict is."""
    async with serving(Script(last=last)) as (http, url), opened(http, Start(url, "t")) as phone:
        ended = await phone.submit()
    assert (ended.status, ended.word) == (last["status"], word)


async def test_a_verdict_that_was_lost_is_taken_instead_of_a_hello() -> None:
    """A stream that is resumed after its verdict has ended at once, and sends nothing."""
    script = Script(first=DONE)
    async with serving(script) as (http, url), opened(http, Start(url, "t", "a" * 32)) as phone:
        assert await phone.send(b"a", 0) is None
        assert (await phone.submit()).word == "approved"
    assert script.seen == []


async def test_a_stream_that_does_not_begin_is_refused() -> None:
    """A problem instead of the hello, or instead of the WebSocket, is told as what it is."""
    async with serving(Script(first=PROBLEM)) as (http, url):
        for at, word in ((url, "token_expired"), (f"{url}/nowhere", "404")):
            with pytest.raises(Refused) as refused:
                await refusal(http, at)
            assert refused.value.ended.word == word


async def refusal(http: aiohttp.ClientSession, url: str) -> None:
    async with opened(http, Start(url, "t")):
        pass


async def test_who_waits_for_a_credit_hears_that_none_comes() -> None:
    """A sender that waits is told when the stream has ended."""
    script = Script(credit=0)
    async with serving(script) as (http, url), opened(http, Start(url, "t")) as phone:
        sending = asyncio.create_task(phone.send(b"a", 0))
        await asyncio.sleep(0)
        await phone.submit()
        assert await sending is None


def test_nothing_secret_is_shown() -> None:
    """Neither token nor headers stand in what a start looks like."""
    start = Start("http://limen", "st_secret", "f" * 32, {"Authorization": "secret"})
    assert "secret" not in repr(start)
    assert json.dumps(start.message) == json.dumps(
        {"type": "start", "token": "st_secret", "resume": "f" * 32}
    )
