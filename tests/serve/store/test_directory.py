"""Tenants, keys and secrets on a real Redis."""

from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.delivery.outage import OUTAGE_KEPT_MS, Outage, Standing
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import ApiKey, Scope
from serve.domain.tenancy.tenant import SigningSecret, Tenant
from serve.errors import Code, ServeError
from serve.ports import Committed
from serve.store import names
from serve.store.directory import RedisDirectory
from serve.store.vault.keyring import Keyring

GONE = Standing(is_gone=True)


@pytest.fixture
def directory(link: Redis, keyring: Keyring) -> RedisDirectory:
    return RedisDirectory(link, keyring)


def a_tenant(number: int = 0, updated_at_ms: int = 1_763_700_000_000) -> Tenant:
    return Tenant(id=f"ten_{number}", name="Acme", created_at_ms=number, preferences={},
                  updated_at_ms=updated_at_ms)  # fmt: skip


def a_key(number: int = 0) -> ApiKey:
    return ApiKey(id=f"key{number}", tenant_id="ten_0", mode=Mode.LIVE, scopes=(Scope.SESSIONS,),
                  hmac_sha256="00", created_at_ms=number)  # fmt: skip


async def test_tenants_are_listed_oldest_first(directory: RedisDirectory) -> None:
    """What was created is found by id and listed in order of creation."""
    assert await directory.tenants() == []
    for number in (2, 1):
        assert await directory.put_tenant(a_tenant(number), None)
    assert await directory.tenants() == [a_tenant(1), a_tenant(2)]
    assert await directory.tenant("ten_1") == a_tenant(1)
    assert await directory.tenant("ten_3") is None


async def test_of_two_changes_of_one_reading_one_wins(directory: RedisDirectory) -> None:
    """A tenant is replaced only in the version that was read, and created only once."""
    assert await directory.put_tenant(a_tenant(), None)
    assert not await directory.put_tenant(a_tenant(), None)
    before = a_tenant().updated_at_ms
    newer = a_tenant(updated_at_ms=before + 1)
    assert await directory.put_tenant(newer, before)
    assert not await directory.put_tenant(a_tenant(updated_at_ms=before + 2), before)
    assert await directory.tenant("ten_0") == newer


async def test_a_change_is_carried_out_once(directory: RedisDirectory) -> None:
    """A repeat of an operation writes nothing, whatever came between, and gets what it wrote."""
    await directory.put_tenant(a_tenant(), None)
    before = a_tenant().updated_at_ms
    one, two = a_tenant(updated_at_ms=before + 1), a_tenant(updated_at_ms=before + 2)
    first = await directory.put_tenant(one, before, op_id="op-1")
    again = await directory.put_tenant(two, before + 1, op_id="op-1")
    assert first == Committed(one.dump(), is_repeat=False)
    assert again == Committed(one.dump(), is_repeat=True)
    assert await directory.put_tenant(two, before + 1, op_id="op-2")
    assert await directory.put_tenant(one, before + 2, op_id="op-1") == again
    assert await directory.tenant("ten_0") == two
    life_ms = await directory.link.pttl(names.tenant_operation("op-1"))
    assert 0 < life_ms <= names.OPERATION_KEPT_MS


async def test_keys_of_a_tenant(directory: RedisDirectory) -> None:
    """Keys are found by id, listed by tenant, and replaced when revoked."""
    for number in (1, 0):
        await directory.put_key(a_key(number))
    revoked = a_key(1).model_copy(update={"revoked_at_ms": 5})
    await directory.put_key(revoked)
    assert await directory.keys("ten_0") == [a_key(0), revoked]
    assert await directory.key("key1") == revoked
    assert await directory.key("other") is None
    assert await directory.keys("ten_1") == []


async def test_secrets_are_sealed_for_their_tenant(directory: RedisDirectory) -> None:
    """Signing secrets come back, are not in the clear, and open for no other tenant."""
    secrets = [SigningSecret(secret="whsec_canary", created_at_ms=1)]  # noqa: S106 (no secret)
    assert await directory.secrets("ten_0") == []
    await directory.put_secrets("ten_0", secrets)
    assert await directory.secrets("ten_0") == secrets
    sealed = await directory.link.get(names.secrets("ten_0"))
    assert sealed is not None
    assert b"canary" not in sealed
    await directory.link.set(names.secrets("ten_1"), sealed)
    with pytest.raises(ServeError) as refused:
        await directory.secrets("ten_1")
    assert refused.value.code is Code.KEYS_MISMATCH


async def test_a_url_that_is_gone_is_remembered_without_being_kept(
    directory: RedisDirectory,
) -> None:
    """A world's URL is found by itself, whatever its query, until it is forgotten."""
    url = "https://tenant.example/hook"
    await directory.put_gone("ten_0", Mode.LIVE, f"{url}?secret=1", is_gone=True)
    other = "https://tenant.example/other"
    assert await directory.standings("ten_0", Mode.LIVE, {url, other}) == {
        url: GONE,
        other: Standing(),
    }
    assert await directory.standings("ten_1", Mode.LIVE, {url}) == {url: Standing()}
    assert await directory.standings("ten_0", Mode.TEST, {url}) == {url: Standing()}
    assert await directory.standings("ten_0", Mode.LIVE, set()) == {}
    members: Any = await directory.link.smembers(names.gone("ten_0"))
    assert not any(b"tenant.example" in member for member in members)
    await directory.put_gone("ten_0", Mode.LIVE, url, is_gone=False)
    assert await directory.standings("ten_0", Mode.LIVE, {url}) == {url: Standing()}


async def test_an_outage_is_what_its_last_writer_saw(directory: RedisDirectory) -> None:
    """An outage is replaced only by who knows it, ends for good, and goes with being gone."""
    url = "https://tenant.example/hook?session=1"
    first, second = Outage(window_ms=1), Outage(window_ms=1, failures=2)
    await directory.put_outage("ten_0", Mode.LIVE, url, None, first)
    await directory.put_outage(
        "ten_0", Mode.LIVE, url, None, second
    )  # who did not know of the first
    assert await directory.standings("ten_0", Mode.LIVE, {url}) == {url: Standing(outage=first)}
    await directory.put_outage("ten_0", Mode.LIVE, url, first, second)
    assert await directory.standings("ten_0", Mode.LIVE, {url}) == {url: Standing(outage=second)}
    assert await directory.standings("ten_1", Mode.LIVE, {url}) == {url: Standing()}
    (key,) = [key async for key in directory.link.scan_iter("*:outage:*")]
    assert b"tenant.example" not in key
    assert 0 < await directory.link.pttl(key) <= OUTAGE_KEPT_MS
    await directory.put_gone("ten_0", Mode.LIVE, url, is_gone=True)
    assert await directory.standings("ten_0", Mode.LIVE, {url}) == {url: GONE}
    await directory.put_gone("ten_0", Mode.LIVE, url, is_gone=False)
    await directory.put_outage("ten_0", Mode.LIVE, url, None, first)
    await directory.put_outage("ten_0", Mode.LIVE, url, second, None)
    assert await directory.standings("ten_0", Mode.LIVE, {url}) == {url: Standing()}


async def test_a_change_waits_for_replicas(link: Redis, keyring: Keyring) -> None:
    """With no replica there, what must be on one is written and not acknowledged."""
    careful = RedisDirectory(link, keyring, (1, 5))
    for change in (
        careful.put_tenant(a_tenant(), None),
        careful.put_key(a_key()),
        careful.put_secrets("ten_0", [SigningSecret(secret=str(n), created_at_ms=1) for n in "a"]),
    ):
        with pytest.raises(ServeError) as caught:
            await change
        assert caught.value.code is Code.DURABILITY_UNAVAILABLE
