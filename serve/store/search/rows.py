"""Rows of the log of faces, opened with what the store knows of their customers."""

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from index.entry import Entry
from serve.observe import logs
from serve.observe import search as metrics
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.scripts import DATA_KEYS, run_each
from serve.store.search.opening import Row, Unopened, opened
from serve.store.vault.keyring import Keyring

OPENED_AT_ONCE = 16  # in the event loop; more are opened in a thread, by so many:
OPENED_TOGETHER = 1_024


async def entries_of(link: Redis, keyring: Keyring, rows: Sequence[Row]) -> list[Entry | Unopened]:
    """Each row's entry, in order. One that does not open, though its customer is there, is counted
    as refused. Raises `keys_mismatch` when the key of an epoch is missing, and `state_unavailable`.
    """
    entries = await _opened(link, keyring, rows)
    shut = [row for row, entry in zip(rows, entries, strict=True) if entry is Unopened.SHUT]
    if shut:
        await _refuse(link, shut)
    return entries


async def _opened(link: Redis, keyring: Keyring, rows: Sequence[Row]) -> list[Entry | Unopened]:
    wrapped = await _data_keys(link, rows)
    if len(rows) <= OPENED_AT_ONCE:
        return opened(keyring, rows, wrapped)
    entries: list[Entry | Unopened] = []
    for start in range(0, len(rows), OPENED_TOGETHER):
        part = rows[start : start + OPENED_TOGETHER]
        entries += await asyncio.to_thread(opened, keyring, part, wrapped)
    return entries


async def _data_keys(link: Redis, rows: Sequence[Row]) -> dict[str, bytes | None]:
    """The wrapped data key of everybody who enrolled a face, None where they are gone."""
    subjects: dict[int, dict[str, None]] = {}
    for row in rows:
        if row.enrols:
            subjects.setdefault(row.partition, {})[row.subject_key] = None
    calls: list[tuple[list[str], list[str]]] = [
        ([names.customer_key(partition, key) for key in keys], [])
        for partition, keys in subjects.items()
    ]
    if not calls:
        return {}
    with reaching_redis():
        found = await run_each(link, DATA_KEYS, calls)
    return {
        key: wrapped
        for keys, answer in zip(subjects.values(), found, strict=True)
        for key, wrapped in zip(keys, answer, strict=True)
    }


async def _refuse(link: Redis, rows: Sequence[Row]) -> None:
    """Count those of `rows` that are still in the log. The others went with their customer, who
    may have come back since, under another key.
    """
    with reaching_redis():
        async with link.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.xrange(names.faces(row.partition), row.log_id, row.log_id, 1)
            found = await pipe.execute()
    if refused := sum(map(bool, found)):
        metrics.count_refused(refused)
        logs.write("entries of the log of faces do not open", count=refused)
