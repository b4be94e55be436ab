"""A backup becomes the store of an empty data directory: `limen restore`.

    data_dir/restoring/     where it is loaded, changed and written out as an append-only file

Only when that file is whole and was read back is it moved to its place, in one step. What a
restore that died left behind is removed by the next, and by the next start.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.cache import sync_folder
from serve.domain.upkeep.backup import Counts, Manifest
from serve.errors import Code, ServeError
from serve.settings import State
from serve.store.install import Install, check_fits, keys_folder
from serve.store.link import open_link, reaching_redis
from serve.store.local.archive import Report, read_archive
from serve.store.local.backup import count_all
from serve.store.local.embedded import OwnedServer
from serve.store.local.filelocks import FileLock, try_lock
from serve.store.local.places import Places, make_folder, places
from serve.store.vault.keyring import Keyring, open_keyring

WRITE_S_MAX = 900.0
POLL_S = 0.05


@dataclass(slots=True)
class Restoration:
    """A backup that is loaded and not in its place yet: `state` reaches it.

    `counts` are those of the end, known when the block that changes it has been left.
    """

    state: State
    manifest: Manifest
    counts: Counts


def check_backup(state: State, path: Path, report: Report, dump: Path | None = None) -> Manifest:
    """What the backup says of itself, all of it read and compared, against the keys if there are
    any. `dump` is where its snapshot shall be written.

    Raises `backup_invalid`, `backup_expired`, `keys_mismatch`, `schema_unsupported`,
    `file_unreadable`.
    """
    manifest = read_archive(path, report, dump)
    folder = keys_folder(state)
    keyring = open_keyring(folder, 0, create=False) if folder.exists() else None
    record = Install(
        schema_version=manifest.schema_version,
        partitions=manifest.partitions,
        keys_fingerprint=manifest.keys_fingerprint,
    )
    if keyring is not None:
        _check_keys(manifest, record, keyring)
    check_fits(record, keyring)
    return manifest


@asynccontextmanager
async def restoring(state: State, path: Path, report: Report) -> AsyncIterator[Restoration]:
    """The backup, loaded, for the block to change; then written out and put in its place.

    If the block raises, nothing is. Raises what `check_backup` does, `store_not_empty`,
    `store_busy`, `file_unwritable`, and `keys_mismatch` where there are no keys at all.
    """
    where = places(state.data_dir)
    if not keys_folder(state).exists():
        raise ServeError(Code.KEYS_MISMATCH, f"{keys_folder(state)} is not there; put it back")
    make_folder(where.folder)
    with _alone(where), _stage(where) as stage:
        staged = state.model_copy(
            update={"data_dir": where.stage, "keys_dir": keys_folder(state).absolute()}
        )
        manifest = await asyncio.to_thread(check_backup, state, path, report, stage.dump)
        async with _serving(Places(stage.folder, loads_dump=True)):
            found = await _counted(staged)
            if (found.tenants, found.customers) != (
                manifest.counts.tenants, manifest.counts.customers
            ):  # fmt: skip
                raise ServeError(Code.BACKUP_INVALID, f"{path}: it holds fewer records than said")
            done = Restoration(staged, manifest, found)
            yield done
            done.counts = await _counted(staged)
            await _write_log(staged, report)
        async with _serving(stage):
            written = await _counted(staged)
        if (written.tenants, written.customers) != (done.counts.tenants, done.counts.customers):
            raise ServeError(Code.STORE_UNSUPPORTED, "the append-only file lost records")
        await asyncio.to_thread(_put_in_place, stage, where)


def _check_keys(manifest: Manifest, record: Install, keyring: Keyring) -> None:
    """Raises `backup_expired` before `keys_mismatch`: its master key may be gone as well."""
    ours = {epoch.number for epoch in keyring.epochs}
    if gone := sorted(n for n in manifest.epochs if keyring.is_destroyed(n)):
        raise ServeError(Code.BACKUP_EXPIRED, f"epoch {gone[0]} of {len(manifest.epochs)}")
    check_fits(record, keyring)
    if not set(manifest.epochs) <= ours:
        newest = manifest.epochs[-1]
        raise ServeError(Code.KEYS_MISMATCH, f"the keys folder is older than epoch {newest}")


async def _counted(state: State) -> Counts:
    link = open_link(state)
    try:
        return await count_all(link)
    finally:
        await link.aclose()


async def _write_log(state: State, report: Report) -> None:
    """Have Redis write everything into a fresh append-only file, and wait for it."""
    link = open_link(state)
    report("write out", 0, 1)
    try:
        with reaching_redis():
            await link.config_set("appendonly", "yes")
            async with asyncio.timeout(WRITE_S_MAX):
                while not _is_written(found := await link.info("persistence")):
                    if found["aof_last_bgrewrite_status"] != "ok":
                        raise ServeError(Code.STORE_UNSUPPORTED, "Redis could not write its file")
                    await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise ServeError(Code.STATE_UNAVAILABLE, "Redis: the rewrite takes long") from error
    finally:
        await link.aclose()
    report("write out", 1, 1)


def _is_written(persistence: dict[str, object]) -> bool:
    return bool(persistence["aof_enabled"]) and not (
        persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"]
    )


@contextmanager
def _alone(where: Places) -> Iterator[None]:
    """Nobody else uses this store, and there is nothing in it."""
    with ExitStack() as held:
        for path in (where.supervisor_lock, where.users_lock, where.server_lock):
            held.callback(_locked(path).release)
        if where.log.exists():
            raise ServeError(Code.STORE_NOT_EMPTY, f"move {where.folder} away first")
        yield


@contextmanager
def _stage(where: Places) -> Iterator[Places]:
    """An empty folder to load into, removed at the end."""
    stage = places(where.stage)
    shutil.rmtree(where.stage, ignore_errors=True)
    make_folder(where.stage)
    make_folder(stage.folder)
    try:
        yield stage
    finally:
        if stage.socket.parent != stage.folder:
            shutil.rmtree(stage.socket.parent, ignore_errors=True)
        shutil.rmtree(where.stage, ignore_errors=True)


@asynccontextmanager
async def _serving(stage: Places) -> AsyncIterator[None]:
    alive = _locked(stage.server_lock)
    server = OwnedServer(stage, alive)
    try:
        await server.start()
        yield
    finally:
        await server.stop()
        alive.release()


def _locked(path: Path) -> FileLock:
    held = try_lock(path)
    if held is None:
        raise ServeError(Code.STORE_BUSY, f"somebody uses {path.parent}")
    return held


def _put_in_place(stage: Places, where: Places) -> None:
    stage.log.replace(where.log)
    sync_folder(where.folder)
