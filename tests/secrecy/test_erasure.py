"""Erasure, tried by decrypting: with every key that exists, nothing of the erased opens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import subject_of
from serve.flows.customers import erase
from serve.flows.transact import new_operation
from serve.flows.upkeep.erasures import ErasureRounds
from serve.settings import State
from serve.store.install import check_install
from serve.store.link import now_ms, open_link
from serve.store.local.backup import take_backup
from serve.store.local.embedded import own_embedded
from serve.store.local.places import places
from serve.store.vault.keyring import Keyring, open_keyring
from serve.store.vault.series import DAY_MS
from tests.fixtures import silent
from tests.helpers.service import Service, open_service
from tests.helpers.tree import run
from tests.secrecy.adversary import Found, content_of, live_files, open_all

GONE, KEPT = "gone-customer-4711", "kept-customer-0815"
RETENTION_DAYS = 7


@dataclass(frozen=True)
class Stage:
    """A store of its own with two customers, each with a face and a decided session."""

    service: Service
    link: Redis
    keyring: Keyring
    data_dir: Path
    faces: dict[str, bytes]

    def live(self) -> Found:
        return open_all(live_files(self.data_dir), self.keyring)

    async def backup(self, name: str) -> Path:
        path = self.data_dir.parent / name
        await take_backup(self.link, self.keyring, places(self.data_dir), path, silent)
        return path

    async def within(self, backup: Path) -> Found:
        folder = self.data_dir.parent / f"look-{len(list(self.data_dir.parent.iterdir()))}"
        return open_all(await content_of(backup, folder), self.keyring)

    async def erase(self) -> Found:
        """Erase one of the two, and have the file rewritten; what opened just before that."""
        await erase(self.service.deps, self.service.live, GONE, new_operation(self.service.deps))
        found = self.live()
        await ErasureRounds().advance(self.service.deps)
        return found

    def knows(self, found: Found, name: str) -> tuple[bool, bool]:
        """Whether the customer's id, and whether their template, could be read."""
        return found.holds(name.encode()), found.holds(self.faces[name])


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    data_dir = tmp_path / "var"
    async with own_embedded(data_dir):
        link = open_link(State(data_dir=data_dir))
        keyring = open_keyring(data_dir / "keys", await now_ms(link), create=True)
        await check_install(link, keyring)
        service = await open_service(link, keyring)
        faces = {}
        for number, name in enumerate((GONE, KEPT)):
            await service.enrolled(name, f"face {number}")
            await service.submitted((await service.opened(name)).token, f"face {number}")
            faces[name] = await template_of(service, name)
        yield Stage(service, link, keyring, data_dir, faces)
        await link.aclose()


async def template_of(service: Service, name: str) -> bytes:
    """The bytes of the enrolled template, as they lie in memory."""
    subject = service.deps.ledger.subject(service.tenant.id, service.live.mode, name)
    records = await service.deps.ledger.read(subject, "", "", to_judge=True)
    (template,) = records.templates
    return np.ascontiguousarray(template.vector, dtype="<f4").tobytes()


async def test_before_the_erasure_the_adversary_reads_everything(stage: Stage) -> None:
    """With the keys, document, template and session of both open: the search works."""
    for found in (stage.live(), await stage.within(await stage.backup("backup.tar"))):
        assert stage.knows(found, GONE) == (True, True)
        assert stage.knows(found, KEPT) == (True, True)
        assert found.holds(b'"state":"approved"')
        assert len(found.data_keys) >= 2


async def test_after_the_erasure_nothing_live_opens(stage: Stage) -> None:
    """Once the file is rewritten no data key of theirs is in any file, nor in a later backup."""
    before = await stage.erase()
    assert stage.knows(before, GONE) == (True, True)  # deleted, and in the file still
    after = stage.live()
    assert stage.knows(after, GONE) == (False, False)
    assert stage.knows(after, KEPT) == (True, True)
    assert len(before.data_keys - after.data_keys) == 1
    later = await stage.within(await stage.backup("later.tar"))
    assert stage.knows(later, GONE) == (False, False)
    assert stage.knows(later, KEPT) == (True, True)


async def test_an_older_backup_opens_until_its_epoch_is_destroyed(stage: Stage) -> None:
    """To the millisecond of the retention, and never after; what lives goes on living."""
    older = await stage.backup("older.tar")
    await stage.erase()
    await stage.service.deps.epochs.renew(at_once=True)
    replaced_ms = stage.keyring.epochs[0].replaced_at_ms
    assert replaced_ms is not None
    end_ms = replaced_ms + RETENTION_DAYS * DAY_MS
    assert stage.keyring.destroy_replaced(end_ms - 1, RETENTION_DAYS) == []
    assert stage.knows(await stage.within(older), GONE) == (True, True)
    destroyed = (stage.data_dir / "keys" / "epochs" / "00000001").read_bytes()
    assert stage.keyring.destroy_replaced(end_ms, RETENTION_DAYS) == [1]
    for keyring in (stage.keyring, open_keyring(stage.data_dir / "keys", 0, create=False)):
        found = open_all(
            await content_of(older, stage.data_dir.parent / f"x{id(keyring)}"), keyring
        )
        assert found == Found(frozenset(), ())
    assert stage.knows(stage.live(), KEPT) == (True, True)
    for path in stage.data_dir.rglob("*"):
        assert not path.is_file() or destroyed not in path.read_bytes()


async def test_a_restored_older_backup_gives_nothing_away(stage: Stage) -> None:
    """Restored while its keys are still there, it holds nothing of the erased that opens."""
    older = await stage.backup("older.tar")
    await stage.erase()
    elsewhere = stage.data_dir.parent / "elsewhere"
    ran = run(
        "-m", "serve", "restore", str(older), "--json", "--data-dir", str(elsewhere),
        LIMEN_STATE_KEYS_DIR=str(stage.data_dir / "keys"),
    )  # fmt: skip
    assert '"erased_again": 1' in ran.stdout, ran
    found = open_all(live_files(elsewhere), stage.keyring)
    assert stage.knows(found, GONE) == (False, False)
    assert stage.knows(found, KEPT) == (True, True)
    subject = subject_of(stage.keyring.salt, stage.service.tenant.id, stage.service.live.mode, GONE)
    assert len(found.data_keys) == 1
    assert any(subject.key.encode() in content for content in live_files(elsewhere))  # its receipt
