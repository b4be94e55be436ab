"""What ties a Redis to one install: its layout and its keys, written once and checked always.

A start with other keys, or with records that this version cannot read, is refused before
anything is written: what would be written could be read by nobody.
"""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from serve.domain.document import Document
from serve.domain.ids import PARTITIONS
from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import names
from serve.store.link import configuration, now_ms, reaching_redis, server_version
from serve.store.vault.keyring import Keyring, open_keyring

SCHEMA_VERSION = 1
REDIS_VERSION_MIN = (6, 2)
POLICY = "noeviction"


class Install(Document):
    """The record under `names.INSTALL`."""

    schema_version: int
    partitions: int
    keys_fingerprint: str


async def open_install(link: Redis, state: State) -> Keyring:
    """The keyring of this install, after every check; both are made on the very first start.

    Keys are made only for a Redis without an install: a lost keys folder is never papered over.
    Raises `keys_mismatch`, `schema_unsupported`, `store_unsupported`, `state_unavailable`.
    """
    await check_server(link)
    with reaching_redis():
        is_first = not await link.exists(names.INSTALL)
    keyring = await asyncio.to_thread(
        open_keyring, keys_folder(state), await now_ms(link), create=is_first
    )
    await check_install(link, keyring)
    return keyring


def keys_folder(state: State) -> Path:
    """Where the install's secrets are."""
    return state.keys_dir or state.data_dir / "keys"


async def check_server(link: Redis) -> None:
    """Raises `store_unsupported` for a Redis that is too old, or that drops records when full."""
    version = await server_version(link)
    if version < REDIS_VERSION_MIN:
        raise ServeError(
            Code.STORE_UNSUPPORTED,
            f"Redis {'.'.join(map(str, version))}; at least 6.2 is needed",
        )
    policy = (await configuration(link, "maxmemory-policy")).get("maxmemory-policy", POLICY)
    if policy != POLICY:
        raise ServeError(
            Code.STORE_UNSUPPORTED, f"maxmemory-policy is {policy}; set it to {POLICY}"
        )


async def check_install(link: Redis, keyring: Keyring) -> None:
    """Claim an unclaimed Redis for these keys, or raise `keys_mismatch`, `schema_unsupported`."""
    ours = Install(
        schema_version=SCHEMA_VERSION,
        partitions=PARTITIONS,
        keys_fingerprint=keyring.fingerprint(),
    )
    with reaching_redis():
        await link.set(names.INSTALL, ours.dump(), nx=True)
        found = await link.get(names.INSTALL)
    check_fits(recorded_install(found), keyring)


def recorded_install(found: bytes | str | None) -> Install:
    """The record that was found. Raises `schema_unsupported` for one that cannot be read."""
    try:
        return Install.model_validate_json(found or b"")
    except ValueError as error:
        raise ServeError(Code.SCHEMA_UNSUPPORTED, f"{names.INSTALL} cannot be read") from error


def check_fits(record: Install, keyring: Keyring | None) -> None:
    """Whether this version reads such records, and these keys open them, where keys are given.

    A record may name a master key that was replaced: while that exists, these are its keys.
    Raises `schema_unsupported`, `keys_mismatch`.
    """
    if record.schema_version != SCHEMA_VERSION:
        raise ServeError(
            Code.SCHEMA_UNSUPPORTED, f"version {record.schema_version}; this is {SCHEMA_VERSION}"
        )
    if record.partitions != PARTITIONS:
        raise ServeError(
            Code.SCHEMA_UNSUPPORTED, f"{record.partitions} partitions, not {PARTITIONS}"
        )
    if keyring is not None and record.keys_fingerprint not in keyring.fingerprints():
        ours = keyring.fingerprint()[:12]
        raise ServeError(
            Code.KEYS_MISMATCH, f"records of {record.keys_fingerprint[:12]}, keys of {ours}"
        )
