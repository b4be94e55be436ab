"""Somebody who has files of the store and every key that still exists, and tries them all.

What the files name is known to them: subjects, ids, pages, and so every label. A sealed value is
told by its first byte, a wrapped data key by its length.
"""

import asyncio
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from serve.errors import ServeError
from serve.settings import State
from serve.store.erasures import RedisErasures
from serve.store.link import open_link
from serve.store.local.archive import read_archive
from serve.store.local.embedded import OwnedServer
from serve.store.local.filelocks import try_lock
from serve.store.local.places import Places, make_folder, places
from serve.store.vault.keyring import EPOCH_NUMBER_BYTES, Keyring
from serve.store.vault.sealing import KEY_BYTES, OVERHEAD_BYTES, VERSION, unseal
from tests.fixtures import silent

WRAPPED_BYTES = EPOCH_NUMBER_BYTES + OVERHEAD_BYTES + KEY_BYTES
KINDS = ("customer", "template", "chip", "session", "capture", "event", "alert", "job", "answer")
_SUBJECT = re.compile(rb"[0-9a-f]{32}")
_ID = re.compile(rb"(?:ses|fac|alr|msg|job)_[0-9]{2}[A-Za-z0-9_-]{22}")
_SWEEP = re.compile(rb"swp_[0-9]{2}[A-Za-z0-9_-]{22}")
_PART = re.compile(rb"meta|(?:pairs|tail|rings|calibration):[0-9]+|[0-9]+-[0-9]+:[0-9]+:[0-9]+")
_OPERATION = re.compile(rb":op:[0-9a-f]{32}:(.+)$")
_LENGTH = re.compile(rb"\$([0-9]+)\r\n")


@dataclass(frozen=True, slots=True)
class Found:
    """What could be opened: data keys, and every plain text."""

    data_keys: frozenset[bytes]
    texts: tuple[bytes, ...]

    def holds(self, piece: bytes) -> bool:
        """Whether any of it contains `piece`."""
        return any(piece in text for text in self.texts)


def strings_of(log: bytes) -> Iterator[bytes]:
    """Every string in an append-only file, also in one that is damaged or cut short."""
    at = 0
    while (head := _LENGTH.search(log, at)) is not None:
        at = head.end()
        length = int(head[1])
        if log[at + length : at + length + 2] == b"\r\n":
            yield log[at : at + length]
            at += length + 2


def open_all(contents: list[bytes], keyring: Keyring) -> Found:
    """Everything that these files give away to whoever has these keys."""
    strings = {each for content in contents for each in strings_of(content)}
    subjects = {match for each in strings for match in _SUBJECT.findall(each)}
    sweeps = {match for each in strings for match in _SWEEP.findall(each)}
    data_keys = set()
    for wrapped in strings:
        if len(wrapped) == WRAPPED_BYTES:
            for subject in subjects | sweeps:
                with suppress(ServeError):
                    data_keys.add(keyring.unwrap(wrapped, subject.decode()))
    ids = {match for each in strings for match in _ID.findall(each)}
    ids |= subjects | {match[1] for each in strings if (match := _OPERATION.search(each))}
    labels = [f"{kind}|{name.decode(errors='replace')}" for kind in KINDS for name in ids]
    parts = {b"", b"plan"} | {each for each in strings if _PART.fullmatch(each)}
    labels += [f"sweep|{name.decode()}|{part.decode()}" for name in sweeps for part in parts]
    texts = []
    for sealed in strings:
        if len(sealed) >= OVERHEAD_BYTES and sealed.startswith(VERSION):
            texts += list(_opened(sealed, data_keys, labels))
    return Found(frozenset(data_keys), tuple(texts))


def _opened(sealed: bytes, data_keys: set[bytes], labels: list[str]) -> Iterator[bytes]:
    for data_key in data_keys:
        for label in labels:
            with suppress(ServeError):
                plain = unseal(data_key, sealed, label)
                with suppress(zlib.error):
                    plain = zlib.decompress(plain)
                yield plain


def live_files(data_dir: Path) -> list[bytes]:
    """What the store of a data directory has on the disk."""
    return [path.read_bytes() for path in places(data_dir).folder.rglob("*") if path.is_file()]


async def content_of(backup: Path, folder: Path) -> list[bytes]:
    """A backup, without asking its leave: loaded by a server of one's own and written out plain."""
    stage = places(folder)
    make_folder(stage.folder)
    await asyncio.to_thread(read_archive, backup, silent, stage.dump)
    alive = try_lock(stage.server_lock)
    assert alive is not None
    server = OwnedServer(Places(stage.folder, loads_dump=True), alive)
    await server.start()
    link = open_link(State(data_dir=folder))
    try:
        assert await RedisErasures(link).rewrite_log() is not None
    finally:
        await link.aclose()
        await server.stop()
        alive.release()
    return [stage.log.read_bytes()]
