"""What a tenant and a phone do while the store is short of room, and what must come of it."""

import asyncio
import base64

from serve.demo.caller import Answer
from serve.demo.receiver import Receiver
from tests.faults.load import Clients

WAIT_S_MAX = 60.0


async def opened(clients: Clients, customer_id: str) -> str:
    """The token of a session opened while there is room."""
    photo = {"image": base64.b64encode(clients.photos.enrolled).decode()}
    path = f"/api/v1/customers/{customer_id}/faces"
    assert (await clients.tenant.call("POST", path, photo)).status == 201
    answer = await try_open(clients, customer_id)
    assert answer[0] == 200
    return answer[1]


async def try_open(clients: Clients, customer_id: str) -> tuple[int, str]:
    """The status of opening a session, and its token or the code of the refusal."""
    body = {
        "reference": f"ref-{customer_id}",
        "customer_id": customer_id,
        "event": "login",
        "callback_url": clients.callback_url,
    }
    answer = await clients.tenant.call("POST", "/api/v1/kyc/face/session", body)
    return answer.status, str(answer.at("token") or answer.at("code"))


async def goes_on(clients: Clients, receiver: Receiver, token: str) -> None:
    """A session that was open is judged and called back once, whatever had become of a try."""
    async with asyncio.timeout(WAIT_S_MAX):
        while (answer := await submitted(clients, token)).status in {409, 503}:  # noqa: ASYNC110
            await asyncio.sleep(0.5)  # until the lease of a try that was cut off has run out
    assert (answer.status, answer.at("status")) == (200, "approved"), answer
    session_id = str(answer.at("resource_id"))
    await receiver.wait_for(session_id, 1, WAIT_S_MAX)
    assert [each.status for each in receiver.of(session_id)] == ["approved"]


async def submitted(clients: Clients, token: str) -> Answer:
    """The answer to a selfie of the man who is enrolled."""
    proof = {"token": token, "proof": base64.b64encode(clients.photos.same[0]).decode()}
    return await clients.phone.call("POST", "/api/v1/kyc/face/submit", proof)
