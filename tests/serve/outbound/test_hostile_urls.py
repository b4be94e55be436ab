"""A tenant's hostile URLs from the API to the wire: refused there, or refused here."""

import pytest
from redis.asyncio import Redis

from serve.outbound.sender import SendError, open_sender
from serve.settings import Callbacks
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN, KYC, Door, front_door, text
from tests.serve.outbound.hostile import HOSTILE, listening_canary
from tests.serve.outbound.test_canary import SECRETS

TENANT = "/api/v1/tenant"
CLAIMED_MAX = 1_000
REFUSALS = {(422, "field_invalid"), (422, "url_refused")}


def spellings(port: int) -> list[str]:
    """Every hostile URL, and over https as well what is over http."""
    urls = [url.format(port) for url in HOSTILE]
    return urls + [f"https{url[4:]}" for url in urls if url.startswith("http:")]


async def is_taken(door: Door, url: str, key: str) -> bool:
    """Whether a session takes `url`, registered as an origin as far as that can be, for its
    callback and its redirect.
    """
    body = {"reference": "r", "customer_id": "alice", "event": "login"}
    urls = {"callback_url": url, "redirect_url": url}
    origin = await door.call("PATCH", TENANT, {"allowed_origins": [url.rstrip("/")]}, key=key)
    front = await door.call("PATCH", TENANT, {"frontend_base_url": url}, key=key)
    opened = await door.call("POST", f"{KYC}/face/session", {**body, **urls}, key=key)
    for answer in (origin, front, opened):
        assert answer.status == 200 or (answer.status, answer.code) in REFUSALS, url
    if opened.status != 200:
        return False
    assert opened.body["token"]
    listed = await door.call("GET", f"{KYC}/face/sessions?customer_id=alice&limit=1", key=key)
    (session,) = listed.body["data"]
    path = f"{KYC}/face/sessions/{session['id']}/cancel"
    assert (await door.call("POST", path, {}, key=key)).status == 200
    return True


@pytest.mark.parametrize("mode", ["live", "test"])
async def test_a_tenant_s_hostile_url_goes_nowhere(
    mode: str, link: Redis, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """141 spellings of this machine as origin, callback, redirect and front end: 422, or a
    callback that makes no connection; the canary hears nothing.
    """
    async with front_door(link, keyring) as door, listening_canary() as canary:
        key = door.tenant.test_api_key if mode == "test" else door.tenant.api_key
        triggers = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}
        await door.call("PATCH", f"{KYC}/preferences", triggers, key=key)
        await door.call("POST", "/api/v1/customers/alice/faces", {"image": text(JOHN)}, key=key)
        urls = spellings(canary.port)
        taken = [url for url in urls if await is_taken(door, url, key)]
        leases = [
            lease for lease in await door.deps.outbox.claim(CLAIMED_MAX)
            if lease.item.url in taken
        ]  # fmt: skip
        async with open_sender(Callbacks()) as sender:
            sent = [await sender.send(lease.item, SECRETS, 0) for lease in leases]
        assert (canary.hits, len(urls)) == (0, 141)
    assert {delivery.attempt.error for delivery in sent} == {SendError.ADDRESS_REFUSED}
    assert {lease.item.url for lease in leases} == set(taken)
    with capsys.disabled():
        refused = len(urls) - len(taken)
        print(f"\n{mode}: {len(urls)} URLs, {refused} refused, 0 reached")  # noqa: T201
