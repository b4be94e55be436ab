"""What is refused before there is a stream, over HTTP, and what is not read at all."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from io import StringIO

import pytest
import pytest_asyncio
from aiohttp import WSCloseCode, WSMsgType
from redis.asyncio import Redis

from serve.domain.liveness.wire import STREAM_PATH, SUBPROTOCOL
from serve.observe import logs
from serve.sections import QuotaSection
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import DESKTOP, JOHN, ORIGIN, PHONE, Door, deps_on
from tests.serve.stream.stage import MovingFaces, stream_door, talking

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": SUBPROTOCOL,
    "User-Agent": PHONE,
}


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    async with stream_door(link, keyring) as opened:
        yield opened


@pytest.fixture
def written() -> Iterator[StringIO]:
    """What this process logs during a test."""
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT_NAME)
    before = (root.handlers[:], root.level, ours.level)
    found = StringIO()
    logs.set_up(found)
    yield found
    root.handlers[:], root.level, ours.level = before


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"Upgrade": ""}, 400, "upgrade_invalid"),
        ({"Connection": "close"}, 400, "upgrade_invalid"),
        ({"Sec-WebSocket-Version": "12"}, 400, "upgrade_invalid"),
        ({"Sec-WebSocket-Key": "short"}, 400, "upgrade_invalid"),
        ({"Sec-WebSocket-Protocol": ""}, 400, "upgrade_invalid"),
        ({"Sec-WebSocket-Protocol": "limen.capture.v2"}, 400, "upgrade_invalid"),
        ({"Sec-WebSocket-Protocol": SUBPROTOCOL.upper()}, 400, "upgrade_invalid"),
        ({"User-Agent": DESKTOP}, 400, "mobile_required"),
        ({"Origin": "https://evil.example"}, 403, "origin_refused"),
        ({"Origin": "null"}, 403, "origin_refused"),
        ({"Origin": ORIGIN + ".evil.example"}, 403, "origin_refused"),
    ],
)
async def test_a_handshake_is_refused(
    door: Door, changed: dict[str, str], status: int, code: str
) -> None:
    """A problem over HTTP, before anything is upgraded."""
    async with door.client.get(door.url + STREAM_PATH, headers={**UPGRADE, **changed}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (status, code)


async def test_a_stream_too_many_is_refused(link: Redis, keyring: Keyring) -> None:
    """503 over HTTP while the door has as many as it may; then there is room again."""
    async with stream_door(link, keyring, sockets_max=1) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            await talk.start(token)
            async with door.client.get(door.url + STREAM_PATH, headers=UPGRADE) as answer:
                assert answer.status == 503
                assert "Retry-After" in answer.headers
            await talk.socket.close()
        async with talking(door) as talk:
            assert (await talk.start(token))["type"] == "hello"


async def test_the_upgrade_says_who_answers(door: Door) -> None:
    """A request id, and how the address stands; one of the subprotocols offered is chosen."""
    url = door.url + STREAM_PATH
    offered = ("other.v1", SUBPROTOCOL)
    headers = {"User-Agent": PHONE}
    async with door.client.ws_connect(url, protocols=offered, headers=headers) as socket:
        assert socket.protocol == SUBPROTOCOL
        heads = socket._response.headers  # noqa: SLF001 (the client shows them nowhere else)
        assert heads["X-Request-Id"].startswith("req_")
        assert "RateLimit" in heads


async def test_a_token_in_the_url_or_a_header_is_not_read(door: Door) -> None:
    """Only the first message says whose session it is."""
    token = await door.ready_token()
    url = f"{door.url}{STREAM_PATH}?token={token}"
    headers = {"User-Agent": PHONE, "Authorization": f"Bearer {token}"}
    async with door.client.ws_connect(url, protocols=(SUBPROTOCOL,), headers=headers) as socket:
        await socket.send_json({"type": "start", "token": ""})
        problem = json.loads((await socket.receive()).data)["problem"]
        assert problem["code"] == "not_found"


async def test_a_tenant_s_quota_counts(link: Redis, keyring: Keyring) -> None:
    """A start is one of the requests by session tokens; one too many is refused with 4429."""
    quota = QuotaSection(phone_per_s=1, burst_s=1, test_share=1)
    deps = deps_on(link, keyring, MovingFaces(), quota)
    async with stream_door(link, keyring, deps) as door:
        token = await door.ready_token()
        for _ in range(20):
            async with talking(door) as talk:
                first = await talk.start(token)
            if first["type"] == "problem":
                break
        assert first["problem"]["code"] == "too_many_requests"
        assert first["retry_after_s"] == 1


async def test_nothing_secret_is_logged(door: Door, written: StringIO) -> None:
    """One line at a stream's end, with nothing of its token, nonce, id or pictures."""
    token = await door.ready_token()
    async with talking(door) as talk:
        hello = await talk.start(token)
        await talk.frame(JOHN + b"-picture")
        await talk.hear_until("hint")
        await talk.socket.send_str("nonsense " + token)
        assert await talk.closing() == (4400, "message_invalid")
    async with talking(door) as talk:  # the line of the first is there by now
        await talk.start(token, resume=hello["stream"])
    text = written.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    ended = [line for line in lines if line["event"] == "stream ended"]
    assert [(line["status"], line["code"], line["count"]) for line in ended[:1]] == [
        (4400, "message_invalid", 1)
    ]
    assert ended[0]["tenant_id"] == door.tenant.tenant.id
    for secret in (token, token[5:], hello["nonce"], hello["stream"], "picture", "nonsense"):
        assert secret not in text


async def test_who_does_not_answer_a_ping_is_gone(link: Redis, keyring: Keyring) -> None:
    """Silence is asked after; who answers stays, and of who does not the stream is let go."""
    async with stream_door(link, keyring, heartbeat_s=0.5) as door:
        token = await door.ready_token()
        url, headers = door.url + STREAM_PATH, {"User-Agent": PHONE}
        async with door.client.ws_connect(
            url, protocols=(SUBPROTOCOL,), headers=headers, autoping=False
        ) as socket:
            await socket.send_json({"type": "start", "token": token})
            assert (await socket.receive_json())["type"] == "hello"
            for _ in range(2):
                assert (await socket.receive()).type is WSMsgType.PING
                await socket.pong()
            while (await socket.receive()).type is WSMsgType.PING:
                pass
            assert socket.close_code == WSCloseCode.ABNORMAL_CLOSURE
