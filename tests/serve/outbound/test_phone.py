"""The reference client against a small server that speaks the protocol by its rules."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from serve.domain.liveness.wire import STREAM_PATH
from serve.outbound.phone import Refused, Start, opened
from tests.serve.outbound.capture_server import BUSY, DONE, PROBLEM, RETAKE, Script, serving


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
    ("last", "said"),
    [
        (RETAKE, (422, "capture_unfit: blur", None)),
        (PROBLEM, (410, "token_expired", None)),
        (BUSY, (503, "overloaded", 2)),
    ],
)
async def test_the_last_word_is_the_server_s(
    last: dict[str, Any], said: tuple[object, ...]
) -> None:
    """A clip that is to be taken again and a problem are answers as a verdict is; it says when to
    try again where it knows.
    """
    async with serving(Script(last=last)) as (http, url), opened(http, Start(url, "t")) as phone:
        ended = await phone.submit()
    assert (ended.status, ended.word, ended.retry_after_s) == said


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
