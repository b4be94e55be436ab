"""The demonstration's receiver believes a signature and nothing else."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook

from serve.demo.receiver import Callback, Receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
PATIENCE_S = 30.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    async with Receiver(SECRET) as listening:
        yield listening


async def post(
    receiver: Receiver, sequence: int, *, secret: str = SECRET, age: timedelta = timedelta()
) -> int:
    """Send the callback `sequence` of one session, and return the status of the answer."""
    body = json.dumps({"resource_id": "ses_1", "status": f"status {sequence}"})
    moment = datetime.now(UTC) - age
    name = f"msg_{sequence}"
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, moment, body),
        "limen-sequence": str(sequence),
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(receiver.url, data=body, headers=headers) as answer,
    ):
        return answer.status


async def test_callbacks_are_told_in_the_order_of_their_sequence(receiver: Receiver) -> None:
    """Whatever order they arrive in, and however often, each counts once, in its place."""
    for sequence in (2, 1, 2, 3):
        assert await post(receiver, sequence) == 204
    told = await receiver.wait_for("ses_1", 3, PATIENCE_S)
    assert [callback.status for callback in told] == ["status 1", "status 2", "status 3"]
    assert receiver.of("ses_2") == []
    assert receiver.refused == 0


@pytest.mark.parametrize(
    ("secret", "age"),
    [
        ("whsec_" + base64.b64encode(bytes(24)).decode(), timedelta()),
        (SECRET, timedelta(minutes=6)),
    ],
    ids=["forged", "replayed"],
)
async def test_a_wrong_signature_is_refused(
    receiver: Receiver, secret: str, age: timedelta
) -> None:
    """Another secret or an old timestamp is answered 400 and counted."""
    assert await post(receiver, 1, secret=secret, age=age) == 400
    assert receiver.of("ses_1") == []
    assert receiver.refused == 1


async def test_waiting_ends(receiver: Receiver) -> None:
    """Who waits for callbacks that never come gets those that came."""
    await post(receiver, 1)
    assert len(await receiver.wait_for("ses_1", 2, 0.01)) == 1


def test_a_callback_s_repr_tells_nothing_of_its_body() -> None:
    """What may be printed of a callback is its ids and its sequence."""
    callback = Callback("msg_1", "ses_1", 1, {"reference": "withdrawal of Mr X"})
    assert "Mr X" not in repr(callback)
