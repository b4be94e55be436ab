"""Master keys: a new one takes over while others work, and a crash at any point is survived."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.tenancy.tenant import SigningSecret, Tenant
from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import names
from serve.store.directory import RedisDirectory
from serve.store.install import Install, open_install
from serve.store.vault.keyring import Keyring, open_keyring
from serve.store.vault.masters import RedisMasters
from serve.store.vault.sealing import new_key
from serve.store.vault.series import DAY_MS

TENANTS = ("ten_a", "ten_b", "ten_c")
RETENTION_DAYS = 7
Step = Callable[[RedisMasters, Path], Awaitable[None]]


def a_tenant(tenant_id: str) -> Tenant:
    return Tenant(id=tenant_id, name="Shop", created_at_ms=1, updated_at_ms=1, preferences={})


def secret(number: int) -> SigningSecret:
    return SigningSecret(secret=f"whsec_{number}", created_at_ms=number)


async def filled(link: Redis, folder: Path) -> Keyring:
    """An install with three tenants and a secret each."""
    keyring = await open_install(link, State(data_dir=folder))
    directory = RedisDirectory(link, keyring)
    for number, tenant_id in enumerate(TENANTS):
        assert await directory.put_tenant(a_tenant(tenant_id), None)
        await directory.put_secrets(tenant_id, [secret(number)])
    return keyring


async def check_whole(link: Redis, folder: Path, numbers: tuple[int, ...] = (0, 1, 2)) -> None:
    """A start now finds its keys fitting, and every tenant's secret opens."""
    keyring = await open_install(link, State(data_dir=folder))
    directory = RedisDirectory(link, keyring)
    found = [await directory.secrets(tenant_id) for tenant_id in TENANTS]
    assert found == [[secret(number)] for number in numbers]


async def recorded(link: Redis) -> str:
    found = await link.get(names.INSTALL)
    return Install.model_validate_json(found or b"").keys_fingerprint


async def test_a_new_master_takes_over(link: Redis, tmp_path: Path) -> None:
    """All is sealed anew, the record names the new key, the old one stays for older backups."""
    keyring = await filled(link, tmp_path)
    old, before = keyring.master, await recorded(link)
    sealed: Any = await link.get(names.secrets("ten_a"))
    await RedisMasters(link, keyring, RETENTION_DAYS).renew(at_once=True)
    assert keyring.master != old
    assert await recorded(link) == keyring.fingerprint() != before
    now: Any = await link.get(names.secrets("ten_a"))
    assert now != sealed
    assert keyring.resealed(now, "secrets|ten_a") is None
    assert keyring.open_secret(sealed, "secrets|ten_a")
    await check_whole(link, tmp_path)


async def test_a_running_process_follows(link: Redis, tmp_path: Path) -> None:
    """Without a restart it opens what the new key sealed, and seals under it itself."""
    keyring = await filled(link, tmp_path)
    other = open_keyring(tmp_path / "keys", 0, create=False)
    await RedisMasters(link, keyring, RETENTION_DAYS).renew(at_once=True)
    running = RedisDirectory(link, other)
    assert await running.secrets("ten_b") == [secret(1)]
    await running.put_secrets("ten_b", [secret(5)])
    assert other.master == keyring.master
    await check_whole(link, tmp_path, (0, 5, 2))


async def test_an_old_master_is_destroyed_after_the_retention(link: Redis, tmp_path: Path) -> None:
    """Not before; then its file is gone, a start does not make it anew, and all still opens."""
    keyring = await filled(link, tmp_path)
    sealed: Any = await link.get(names.secrets("ten_a"))
    masters = RedisMasters(link, keyring, RETENTION_DAYS)
    await masters.renew(at_once=True)
    replaced_ms = keyring.masters[0].replaced_at_ms
    assert replaced_ms is not None
    end_ms = replaced_ms + RETENTION_DAYS * DAY_MS
    assert keyring.destroy_replaced_masters(end_ms - 1, RETENTION_DAYS) == []
    assert keyring.destroy_replaced_masters(end_ms, RETENTION_DAYS) == [1]
    assert not (tmp_path / "keys" / "master").exists()
    with pytest.raises(ServeError) as refused:
        keyring.open_secret(sealed, "secrets|ten_a")
    assert refused.value.code is Code.KEYS_MISMATCH
    open_keyring(tmp_path / "keys", 0, create=True)
    assert not (tmp_path / "keys" / "master").exists()
    await masters.renew()
    await check_whole(link, tmp_path)


async def _key_only(masters: RedisMasters, keys: Path) -> None:
    (keys / "masters").mkdir(mode=0o700)
    (keys / "masters" / "00000002").write_bytes(new_key())


async def _nothing_sealed(masters: RedisMasters, keys: Path) -> None:
    masters.keyring.rotate_master(1)


async def _half_sealed(masters: RedisMasters, keys: Path) -> None:
    masters.keyring.rotate_master(1)
    await masters._reseal("ten_b")  # noqa: SLF001 (a step of its own)


async def _not_recorded(masters: RedisMasters, keys: Path) -> None:
    masters.keyring.rotate_master(1)
    for tenant_id in TENANTS:
        await masters._reseal(tenant_id)  # noqa: SLF001


async def _twice(masters: RedisMasters, keys: Path) -> None:
    await _half_sealed(masters, keys)
    await _half_sealed(masters, keys)


async def _not_forgotten(masters: RedisMasters, keys: Path) -> None:
    await masters.renew(at_once=True)
    (keys / "master").unlink()


@pytest.mark.parametrize(
    "crash", [_key_only, _nothing_sealed, _half_sealed, _not_recorded, _twice, _not_forgotten]
)
async def test_a_rotation_cut_short_is_survived(link: Redis, tmp_path: Path, crash: Step) -> None:
    """Whatever was done so far, a start works; the next pass finishes, and old keys may go."""
    keyring = await filled(link, tmp_path)
    await crash(RedisMasters(link, keyring, RETENTION_DAYS), tmp_path / "keys")
    await check_whole(link, tmp_path)
    again = open_keyring(tmp_path / "keys", 0, create=False)
    await RedisMasters(link, again, RETENTION_DAYS).renew(at_once=crash is _key_only)
    again.destroy_replaced_masters(2**52, RETENTION_DAYS)
    assert len(again.masters) == 1
    assert again.masters[0].number >= 2
    assert await recorded(link) == again.fingerprint()
    await check_whole(link, tmp_path)


async def test_a_secret_written_meanwhile_is_not_lost(link: Redis, tmp_path: Path) -> None:
    """A pass replaces only what it has read: whoever comes in between wins."""
    keyring = await filled(link, tmp_path)
    masters = RedisMasters(link, keyring, RETENTION_DAYS)
    other = RedisDirectory(link, open_keyring(tmp_path / "keys", 0, create=False))

    async def write() -> None:
        for number in range(50):
            await other.put_secrets("ten_a", [secret(number)])

    async def rotate() -> None:
        for _ in range(10):
            await masters.renew(at_once=True)

    await asyncio.gather(write(), rotate())
    await check_whole(link, tmp_path, (49, 1, 2))
    await masters.renew()
    keyring.destroy_replaced_masters(2**52, RETENTION_DAYS)
    await check_whole(link, tmp_path, (49, 1, 2))
