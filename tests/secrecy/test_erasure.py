"""Erasure, tried by decrypting: with every key that exists, nothing of the erased opens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest_asyncio
from redis.asyncio import Redis

from index.sweep.grid import Tile
from serve.domain.ids import Prefix, make_id, subject_of
from serve.domain.sweeps.sweep import (
    FacePair,
    Sweep,
    SweepPlan,
    SweepRequest,
    SweepStatus,
    TileResult,
    home,
)
from serve.flows.customers import erase
from serve.flows.transact import new_operation
from serve.flows.upkeep.erasures import ErasureRounds
from serve.ports import SweepReport
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

    async def swept(self) -> Sweep:
        """A sweep that found the two alike, tile and all."""
        deps, tenant_id, mode = self.service.deps, self.service.tenant.id, self.service.live.mode
        sweep_id = make_id(Prefix.SWEEP, home(tenant_id, mode), bytes(16))
        sweep = Sweep(
            id=sweep_id, tenant_id=tenant_id, mode=mode, request=SweepRequest(),
            model_id=deps.model_id, created_at_ms=await now_ms(self.link),
        )  # fmt: skip
        first, second = sorted(self.subject_key(name) for name in (GONE, KEPT))
        pair = FacePair(subject_a=first, face_a="a", subject_b=second, face_b="b", score=0.5)
        await deps.sweeps.create(sweep, new_operation(deps))
        hold = await deps.sweeps.hold(sweep_id)
        assert hold is not None
        plan = SweepPlan(blocks=(), first_new=0, pin={})
        running = sweep.model_copy(update={"status": SweepStatus.RUNNING})
        assert await deps.sweeps.plan(hold, running, plan, [Tile(0, 0)])
        (lease,) = await deps.sweeps.claim_tiles(sweep_id, 1)
        result = TileResult(
            row=0, column=0, pairs=(pair,), complete_from=0.0, compared=1, mates=0, found=1,
            busy_ms=1,
        )  # fmt: skip
        assert await deps.sweeps.finish_tile(lease, result) is not None
        hold = await deps.sweeps.hold(sweep_id)
        assert hold is not None
        done = sweep.model_copy(update={"status": SweepStatus.DONE})
        kept = pair.model_copy(
            update={"subject_a": "0" * 31 + "1", "subject_b": self.subject_key(KEPT)}
        )
        assert await deps.sweeps.end(hold, done, SweepReport((pair, kept), (pair,), (), None))
        return done

    def subject_key(self, name: str) -> str:
        """What names a customer in the store."""
        world = self.service.tenant.id, self.service.live.mode
        return subject_of(self.keyring.salt, *world, name).key

    def in_pairs(self, name: str) -> list[bytes]:
        """How pairs of a sweep tell of a customer."""
        return [f'"{self.subject_key(name)}","{face}"'.encode() for face in "ab"]

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


async def test_a_sweep_gives_nothing_of_the_erased_away(stage: Stage) -> None:
    """Once it has forgotten them, and the epoch of older backups is destroyed, no key that exists
    opens what tiles and report said of them, in those backups or in the files of the store.
    """
    sweep = await stage.swept()
    gone, kept = (stage.in_pairs(name) for name in (GONE, KEPT))
    older = await stage.backup("older.tar")
    for found in (stage.live(), await stage.within(older)):
        assert any(found.holds(each) for each in gone)
        assert any(found.holds(each) for each in kept)
    assert (
        await stage.service.deps.sweeps.forget(sweep.id, frozenset({stage.subject_key(GONE)})) == 2
    )
    await stage.erase()
    after = stage.live()
    assert not any(after.holds(each) for each in gone)
    assert any(after.holds(each) for each in kept)
    await stage.service.deps.epochs.renew(at_once=True)
    replaced_ms = stage.keyring.epochs[0].replaced_at_ms
    assert replaced_ms is not None
    assert stage.keyring.destroy_replaced(replaced_ms + RETENTION_DAYS * DAY_MS, RETENTION_DAYS)
    files = [*await content_of(older, stage.data_dir.parent / "old"), *live_files(stage.data_dir)]
    everything = open_all(files, stage.keyring)  # the keys of today on the files of both days
    assert not any(everything.holds(each) for each in gone)
    assert any(everything.holds(each) for each in kept)
