"""A copy of the records as of one moment, taken while the service runs: `limen backup`.

Redis forks and writes a snapshot; how many customers it holds is asked in the same transaction.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import PARTITIONS
from serve.domain.upkeep.backup import BACKUP_FORMAT, Counts, Manifest
from serve.errors import Code, ServeError
from serve.store import names
from serve.store.install import SCHEMA_VERSION
from serve.store.link import now_ms, reaching_redis, server_version
from serve.store.local.archive import Report, digest_of, write_archive
from serve.store.local.filelocks import try_lock
from serve.store.local.places import UNFINISHED_DUMP, Places
from serve.store.vault.keyring import Keyring
from serve.store.vault.wrapped import wrapped_keys

SAVE_S_MAX = 900.0
POLL_S = 0.05
ASKED_TOGETHER = 512
BUSY = ("in progress", "is active")  # what Redis answers while it saves or rewrites already


async def take_backup(
    link: Redis, keyring: Keyring, where: Places, path: Path, report: Report
) -> Manifest:
    """Write a backup of the embedded store to `path`; what it says of itself.

    Raises `store_busy` while another is being taken, `file_unwritable`, `state_unavailable`.
    """
    held = try_lock(where.backup_lock)
    if held is None:
        raise ServeError(Code.STORE_BUSY, "another backup is being taken")
    held_open = ExitStack()
    try:
        epochs = await epochs_needed(link, keyring, report)
        sessions = await count_sessions(link)
        version = ".".join(map(str, await server_version(link)))
        where.dump.unlink(missing_ok=True)
        created_at_ms, tenants, customers = await _save(link, where, report)
        dump = held_open.enter_context(where.dump.open("rb"))
        where.dump.unlink()  # however this ends, it is gone with us
        size, sha256 = await asyncio.to_thread(digest_of, dump, report)
        current = keyring.current_epoch
        manifest = Manifest(
            format=BACKUP_FORMAT,
            created_at_ms=created_at_ms,
            keys_fingerprint=keyring.fingerprint(),
            schema_version=SCHEMA_VERSION,
            partitions=PARTITIONS,
            redis_version=version,
            epochs=tuple(sorted({*epochs, current})),
            current_epoch=current,
            rdb_bytes=size,
            rdb_sha256=sha256,
            counts=Counts(tenants=tenants, customers=customers, sessions=sessions),
        )
        await asyncio.to_thread(write_archive, path, manifest, dump, report)
    finally:
        held_open.close()
        where.dump.unlink(missing_ok=True)
        held.release()
    return manifest


def clear_dead_backup(where: Places) -> None:
    """The snapshot of a backup that was killed, if none is being taken: it may hold the erased."""
    held = try_lock(where.backup_lock) if where.folder.is_dir() else None
    if held is None:
        return
    try:
        for left in (where.dump, *where.folder.glob(UNFINISHED_DUMP)):
            left.unlink(missing_ok=True)
    finally:
        held.release()


async def epochs_needed(link: Redis, keyring: Keyring, report: Report) -> set[int]:
    """The epochs that live data keys are wrapped under; a wrapping that happens meanwhile moves
    one to the current.
    """
    needed = {keyring.current_epoch}
    for partition in names.EVERY_PARTITION:
        async for found in wrapped_keys(link, partition, ASKED_TOGETHER):
            needed |= {keyring.epoch_of(each.data_key) for each in found}
        report("look at the keys", partition + 1, PARTITIONS)
    return needed


async def count_sessions(link: Redis) -> int:
    """How many sessions there are, about."""
    number = 0
    with reaching_redis():
        async for _ in link.scan_iter(names.EVERY_SESSION, count=ASKED_TOGETHER):
            number += 1
    return number


async def count_all(link: Redis) -> Counts:
    """How many of each there are, where nothing changes meanwhile."""
    with reaching_redis():
        async with link.pipeline(transaction=True) as pipe:
            _count(pipe)
            found = await pipe.execute()
    sessions = await count_sessions(link)
    return Counts(tenants=found[0], customers=sum(found[1:]), sessions=sessions)


async def _save(link: Redis, where: Places, report: Report) -> tuple[int, int, int]:
    """Have Redis write its snapshot; when, and how many tenants and customers are in it."""
    with reaching_redis():
        try:
            async with asyncio.timeout(SAVE_S_MAX):
                created_at_ms, found = await _begin(link)
                while (state := await link.info("persistence"))["rdb_bgsave_in_progress"]:
                    total = int(state.get("current_save_keys_total", 0))
                    report("save", int(state.get("current_save_keys_processed", 0)), total)
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise ServeError(Code.STATE_UNAVAILABLE, "Redis: the snapshot takes long") from error
    if state["rdb_last_bgsave_status"] != "ok" or not where.dump.exists():
        raise ServeError(Code.STATE_UNAVAILABLE, "Redis: the snapshot failed; see its log")
    return created_at_ms, found[0], sum(found[1:-1])


async def _begin(link: Redis) -> tuple[int, list[Any]]:
    """A save or rewrite that runs already is waited for."""
    while True:
        created_at_ms = await now_ms(link)
        async with link.pipeline(transaction=True) as pipe:
            _count(pipe)
            pipe.bgsave(schedule=False)
            found = await pipe.execute(raise_on_error=False)
        refusal = found[-1]
        if not isinstance(refusal, Exception):
            return created_at_ms, found
        if not any(words in str(refusal) for words in BUSY):
            raise ServeError(Code.STATE_UNAVAILABLE, f"Redis: {refusal}")
        await asyncio.sleep(POLL_S)


def _count(pipe: Any) -> None:  # noqa: ANN401 (a pipeline of redis-py's)
    pipe.zcard(names.TENANTS)
    for partition in names.EVERY_PARTITION:
        pipe.zcard(names.customers(partition))
