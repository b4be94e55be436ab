"""The demonstration's HTTP client: JSON, bounds, and one error for a server that is not there."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from serve.demo.caller import ANSWER_BYTES_MAX, Answer, Caller
from serve.errors import Code, ServeError


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A client of a server with one good and two bad routes."""

    async def good(request: web.Request) -> web.Response:
        return web.json_response({"agent": request.headers["User-Agent"], "list": [{"a": 1}]})

    async def text(_: web.Request) -> web.Response:
        return web.Response(text="[1]")

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (ANSWER_BYTES_MAX + 1))

    app = web.Application()
    app.router.add_get("/healthz", good)
    app.router.add_get("/text", text)
    app.router.add_get("/long", long)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield Caller(http, str(server.make_url("")).rstrip("/"), {"User-Agent": "a phone"})


async def test_an_answer_is_read_by_path(caller: Caller) -> None:
    """Values are found by dotted path, and what is not there is None."""
    await caller.wait_until_up(1.0)
    answer = await caller.call("GET", "/healthz")
    assert (answer.status, answer.at("agent"), answer.at("list.0.a")) == (200, "a phone", 1)
    assert [answer.at(path) for path in ("list.1", "agent.x", "list.a", "none.a")] == [None] * 4


@pytest.mark.parametrize("path", ["/text", "/long"])
async def test_what_is_no_json_object_is_no_answer_of_limen(caller: Caller, path: str) -> None:
    """A list, or more than any answer of Limen's holds, is refused with a code."""
    with pytest.raises(ServeError) as refused:
        await caller.call("GET", path)
    assert refused.value.code is Code.SERVER_UNREACHABLE


async def test_a_server_that_is_not_there_is_waited_for_and_given_up() -> None:
    """Without a server the wait ends with `server_unreachable`."""
    async with aiohttp.ClientSession() as http:
        nobody = Caller(http, f"http://127.0.0.1:{unused_port()}", {})
        with pytest.raises(ServeError) as refused:
            await nobody.wait_until_up(0.01)
    assert refused.value.code is Code.SERVER_UNREACHABLE


def test_an_answer_s_repr_holds_no_token() -> None:
    """What may be printed of an answer is its status."""
    assert repr(Answer(200, {"token": "st_00secret"})) == "Answer(status=200)"
