"""An install: its first start claims the Redis, every later one must fit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import names
from serve.store.install import (
    Install,
    check_install,
    check_server,
    keys_folder,
    open_install,
)
from serve.store.vault.keyring import Keyring, open_keyring


@pytest_asyncio.fixture
async def eviction(link: Redis) -> AsyncIterator[Redis]:
    """The Redis of this run, while it would drop records when full."""
    await link.config_set("maxmemory-policy", "allkeys-lru")
    yield link
    await link.config_set("maxmemory-policy", "noeviction")


async def test_the_first_start_claims_and_the_second_fits(link: Redis, tmp_path: Path) -> None:
    """Keys are made once, and found again."""
    first = await open_install(link, State(data_dir=tmp_path))
    second = await open_install(link, State(data_dir=tmp_path))
    assert first.fingerprint() == second.fingerprint()
    assert keys_folder(State(data_dir=tmp_path)) == tmp_path / "keys"


async def test_other_keys_are_refused(link: Redis, keyring: Keyring, tmp_path: Path) -> None:
    """The record of the install stays as it was, and no secret is in the refusal."""
    await check_install(link, keyring)
    before = await link.get(names.INSTALL)
    other = open_keyring(tmp_path / "other", 0, create=True)
    with pytest.raises(ServeError) as caught:
        await check_install(link, other)
    assert caught.value.code is Code.KEYS_MISMATCH
    assert await link.get(names.INSTALL) == before


async def test_lost_keys_are_not_replaced(link: Redis, keyring: Keyring, tmp_path: Path) -> None:
    """With records in Redis, an absent keys folder is refused and stays absent."""
    await check_install(link, keyring)
    state = State(data_dir=tmp_path, keys_dir=tmp_path / "lost")
    with pytest.raises(ServeError) as caught:
        await open_install(link, state)
    assert caught.value.code is Code.KEYS_MISMATCH
    assert not (tmp_path / "lost").exists()


@pytest.mark.parametrize(
    "record",
    [
        b'{"schema_version": 2, "partitions": 64, "keys_fingerprint": ""}',
        b'{"schema_version": 1, "partitions": 128, "keys_fingerprint": ""}',
        b'{"schema_version": 1, "partitions": 64, "keys_fingerprint": "", "new": 1}',
        b"not JSON",
    ],
)
async def test_another_layout_is_refused(link: Redis, keyring: Keyring, record: bytes) -> None:
    """Records of another version or partition count are not touched."""
    await link.set(names.INSTALL, record)
    with pytest.raises(ServeError) as caught:
        await check_install(link, keyring)
    assert caught.value.code is Code.SCHEMA_UNSUPPORTED
    assert await link.get(names.INSTALL) == record


async def test_the_record_holds_no_secret(link: Redis, keyring: Keyring) -> None:
    """What Redis keeps is a version, a count and a digest."""
    await check_install(link, keyring)
    record = await link.get(names.INSTALL)
    assert record is not None
    assert Install.model_validate_json(record).keys_fingerprint == keyring.fingerprint()
    for secret in (keyring.salt, keyring.pepper, keyring.master):
        assert secret not in record
        assert secret.hex().encode() not in record


async def test_a_redis_that_drops_records_is_refused(eviction: Redis) -> None:
    """An evicted record would be a lost one."""
    with pytest.raises(ServeError) as caught:
        await check_server(eviction)
    assert caught.value.code is Code.STORE_UNSUPPORTED
    assert "allkeys-lru" in caught.value.detail
