"""The story against a server that keeps no promise: it ends, and says how often it was let down."""

import base64

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from serve.demo.caller import Caller
from serve.demo.capture import only_a_selfie
from serve.demo.cast import Cast, Selfies
from serve.demo.notebook import Kind, Line, Notebook
from serve.demo.performer import Performer
from serve.demo.receiver import Receiver
from serve.demo.story import play

SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
MAN = Performer(b"three", None)  # type: ignore[arg-type]  # nobody asks him to move
SELFIES = Selfies((b"one", b"two"), b"three", (b"four", b"five"), b"six")


async def test_a_server_that_answers_nothing_fails_the_story() -> None:
    """Empty answers to every request fail expectation after expectation, and stop no scene."""
    asked: list[str] = []

    async def nothing(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", nothing)
    lines: list[Line] = []
    notes = Notebook(lines.append)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
        Receiver(SECRET) as receiver,
    ):
        caller = Caller(http, str(server.make_url("")).rstrip("/"), {})
        await play(Cast(caller, caller, caller, receiver, SELFIES, MAN, "somebody", 0.01), notes)
    assert notes.failed > 20
    assert [line.text for line in lines if line.kind is Kind.STEP][-1].startswith("The customer")
    assert asked[-1] == "PATCH /api/v1/tenant"  # it tidies up all the same
    assert not any("somebody" in line.text + line.detail for line in lines)


@pytest.mark.parametrize(
    ("codes", "said"), [(["liveness_not_checked"], "policy"), ([], "passive liveness")]
)
async def test_a_selfie_that_is_enough_is_explained(codes: list[str], said: str) -> None:
    """By what approved it: a policy that asks for no liveness, or a model that saw some."""
    approved = {"status": "approved", "reasons": [{"code": code} for code in codes]}

    async def approve(_request: web.Request) -> web.Response:
        return web.json_response(approved)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", approve)
    lines: list[Line] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        caller = Caller(http, str(server.make_url("")).rstrip("/"), {})
        receiver = Receiver(SECRET)
        cast = Cast(caller, caller, caller, receiver, SELFIES, MAN, "somebody", 0.01)
        async with receiver:
            await only_a_selfie(cast, Notebook(lines.append))
    assert [line.kind for line in lines] == [Kind.STEP, Kind.NOTE]
    assert said in lines[-1].text
