"""Tombstones: who was erased, kept beside the keys, so that no backup brings them back.

    erased/<epoch>/<erasure id>     JSON, 0600; it goes with the epoch's key

A tombstone names a customer by the keyed digest that names the records, and says when they were
erased. It lies outside Redis because an older backup of Redis does not have it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from pipeline.models.cache import sync_folder, write_atomically
from serve.domain.erasure import Tombstone
from serve.errors import Code, ServeError
from serve.store import names
from serve.store.link import reaching_redis

TOMBSTONE_BYTES_MAX = 2**12
ASKED_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class RedisTombstones:
    """The `Tombstones` port: files under `folder`, held against the customers in Redis."""

    link: Redis
    folder: Path

    async def put(self, tombstone: Tombstone) -> None:
        """Write it down durably. Raises `erasure_unavailable`."""
        try:
            await asyncio.to_thread(self._write, tombstone)
        except OSError as error:
            raise ServeError(
                Code.ERASURE_UNAVAILABLE, f"the keys folder: {error.strerror}", retry_after_s=1
            ) from error

    async def remove(self, tombstone: Tombstone) -> None:
        """Of an erasure that certainly did not happen; one that cannot be removed stays."""
        await asyncio.to_thread(self._remove, tombstone)

    async def returned(self) -> list[Tombstone]:
        """The tombstones of customers who are there although they were erased.

        Raises `keys_mismatch` for a tombstone that cannot be read.
        """
        found: list[Tombstone] = []
        waiting = iter(await asyncio.to_thread(lambda: list(self._read())))
        while asked := list(islice(waiting, ASKED_TOGETHER)):
            found += await self._returned(asked)
        return found

    async def _returned(self, asked: Sequence[Tombstone]) -> list[Tombstone]:
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for each in asked:
                    listed = names.customers(each.subject.partition)
                    pipe.zscore(listed, names.locator(each.subject))
                scores: list[Any] = await pipe.execute()
        return [
            each
            for each, score in zip(asked, scores, strict=True)
            if score is not None and each.covers(int(score))
        ]

    def _write(self, tombstone: Tombstone) -> None:
        path = self._path(tombstone)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
        write_atomically(path, tombstone.dump())

    def _remove(self, tombstone: Tombstone) -> None:
        path = self._path(tombstone)
        try:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError:
            return

    def _read(self) -> Iterator[Tombstone]:
        for path in sorted(self.folder.glob("[0-9]*/era_*")):
            try:
                with path.open("rb") as stream:
                    yield Tombstone.model_validate_json(stream.read(TOMBSTONE_BYTES_MAX))
            except FileNotFoundError:  # its epoch's key was destroyed meanwhile
                continue
            except (OSError, ValueError) as error:
                raise ServeError(Code.KEYS_MISMATCH, f"{path} cannot be read") from error

    def _path(self, tombstone: Tombstone) -> Path:
        return self.folder / f"{tombstone.epoch:08d}" / tombstone.erasure_id
