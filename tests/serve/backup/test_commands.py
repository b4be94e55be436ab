"""`limen backup` and `limen restore` on a real store, down to what they refuse."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from serve.app import open_deps
from serve.domain.change import Change
from serve.domain.erasure import receipt_of, tombstone_of
from serve.domain.ids import Mode, Prefix, subject_of
from serve.errors import Code, ServeError
from serve.settings import Settings, State
from serve.store import names
from serve.store.local.filelocks import try_lock
from serve.store.local.places import places
from serve.store.vault.keyring import open_keyring
from serve.store.vault.series import DAY_MS
from tests.helpers.records import TENANT, a_customer, an_id
from tests.serve.cli.command_line import Ran, limen

CUSTOMERS = ("alice", "bob", "carol")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of a store with one tenant and three customers; no server runs."""
    folder = tmp_path / "var"
    assert limen("tenant", "create", "Acme", data_dir=folder).exit_code == 0
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Path) -> None:
    async with open_deps(_settings(folder), with_models=False) as deps:
        for name in CUSTOMERS:
            subject = deps.ledger.subject(TENANT, Mode.LIVE, name)
            change = Change(customer=a_customer(customer_id=name))
            await deps.ledger.commit(await deps.ledger.snapshot(subject), change, name)


def _settings(folder: Path) -> Settings:
    return Settings(state=State(data_dir=folder))


def there(folder: Path) -> list[str]:
    """Whose records are there and open."""

    async def look() -> list[str]:
        async with open_deps(_settings(folder), with_models=False) as deps:
            subjects = {name: deps.ledger.subject(TENANT, Mode.LIVE, name) for name in CUSTOMERS}
            found = {name: await deps.ledger.snapshot(subjects[name]) for name in CUSTOMERS}
            return [name for name, snapshot in found.items() if snapshot.customer is not None]

    return asyncio.run(look())


def erase(folder: Path, name: str) -> None:
    async def carry_out() -> None:
        async with open_deps(_settings(folder), with_models=False) as deps:
            snapshot = await deps.ledger.snapshot(deps.ledger.subject(TENANT, Mode.LIVE, name))
            erasure_id = an_id(Prefix.ERASURE, snapshot.subject.partition)
            receipt = receipt_of(erasure_id, snapshot, 0, 0)
            await deps.tombstones.put(tombstone_of(receipt, snapshot.subject))
            await deps.ledger.erase(snapshot, receipt, "erase")

    asyncio.run(carry_out())


def code(ran: Ran) -> str:
    assert isinstance(ran.refusal, ServeError), ran
    return str(ran.refusal.code)


def taken(data_dir: Path) -> tuple[Path, dict[str, Any]]:
    """A backup, and what was said of it."""
    file = data_dir.parent / "backup.tar"
    ran = limen("backup", file, "--json", data_dir=data_dir)
    assert ran.exit_code == 0, ran
    return file, ran.document


def lose_records(data_dir: Path) -> None:
    shutil.rmtree(places(data_dir).folder)


def test_a_restored_store_is_the_one_that_was_saved(data_dir: Path) -> None:
    """Every customer opens again; the counts are told, and no snapshot is left in the folder."""
    file, said = taken(data_dir)
    assert (said["tenants"], said["customers"], said["epochs"]) == (1, 3, [1])
    assert not places(data_dir).dump.exists()
    lose_records(data_dir)
    done = limen("restore", file, "--json", data_dir=data_dir)
    assert done.exit_code == 0, done
    assert (done.document["customers"], done.document["erased_again"]) == (3, 0)
    assert there(data_dir) == list(CUSTOMERS)
    assert not places(data_dir).stage.exists()


def test_who_was_erased_since_is_not_restored(data_dir: Path) -> None:
    """They are counted, and the file that is put in place never held them."""
    file, _ = taken(data_dir)
    erase(data_dir, "alice")
    lose_records(data_dir)
    done = limen("restore", file, "--json", data_dir=data_dir)
    assert (done.document["customers"], done.document["erased_again"]) == (2, 1)
    assert there(data_dir) == ["bob", "carol"]
    written = places(data_dir).log.read_bytes()
    keyring = open_keyring(data_dir / "keys", 0, create=False)
    for name, is_there in (("alice", False), ("bob", True)):
        subject = subject_of(keyring.salt, TENANT, Mode.LIVE, name)
        assert (names.customer(subject).encode() in written) is is_there


def test_a_check_writes_nothing(data_dir: Path) -> None:
    """It tells the same, over records that are there, and refuses a file that was cut off."""
    file, said = taken(data_dir)
    before = places(data_dir).log.read_bytes()
    checked = limen("restore", file, "--check", "--json", data_dir=data_dir).document
    assert checked.pop("keys") == "these"
    assert {**checked, "keys_dir": said["keys_dir"]} == said
    assert places(data_dir).log.read_bytes() == before
    elsewhere = limen("restore", file, "--check", "--json", data_dir=data_dir.parent / "none")
    assert elsewhere.document["keys"] == "not here"
    file.write_bytes(file.read_bytes()[:-2000])
    assert code(limen("restore", file, "--check", data_dir=data_dir)) == Code.BACKUP_INVALID


def test_records_are_never_replaced(data_dir: Path) -> None:
    """Only an empty store is restored into, and only one that nobody uses."""
    file, _ = taken(data_dir)
    assert code(limen("restore", file, data_dir=data_dir)) == Code.STORE_NOT_EMPTY
    places(data_dir).log.unlink()
    held = try_lock(places(data_dir).supervisor_lock)
    assert held is not None
    assert code(limen("restore", file, data_dir=data_dir)) == Code.STORE_BUSY
    held.release()
    assert limen("restore", file, data_dir=data_dir).exit_code == 0
    assert there(data_dir) == list(CUSTOMERS)


def test_without_the_keys_nothing_is_restored(data_dir: Path) -> None:
    """Neither with none nor with those of another install; nothing is left behind."""
    file, _ = taken(data_dir)
    lose_records(data_dir)
    (data_dir / "keys").rename(data_dir / "kept")
    assert code(limen("restore", file, data_dir=data_dir)) == Code.KEYS_MISMATCH
    open_keyring(data_dir / "keys", 0, create=True)
    assert code(limen("restore", file, data_dir=data_dir)) == Code.KEYS_MISMATCH
    assert code(limen("restore", file, "--check", data_dir=data_dir)) == Code.KEYS_MISMATCH
    assert not places(data_dir).log.exists()
    assert not places(data_dir).stage.exists()


def test_a_backup_expires_with_its_epoch(data_dir: Path) -> None:
    """Once the epoch key of its day is destroyed nothing opens it, and that is said."""
    file, _ = taken(data_dir)
    keyring = open_keyring(data_dir / "keys", 0, create=False)
    keyring.rotate(0, at_once=True)
    keyring.destroy_replaced(8 * DAY_MS, 7)
    assert code(limen("restore", file, "--check", data_dir=data_dir)) == Code.BACKUP_EXPIRED


def test_a_backup_older_than_a_rotation_is_restored(data_dir: Path) -> None:
    """Its epoch and its master key are still there, as long as backups are kept."""
    file, _ = taken(data_dir)
    assert limen("keys", "rotate", "--master", "--epoch", data_dir=data_dir).exit_code == 0
    lose_records(data_dir)
    assert limen("restore", file, data_dir=data_dir).exit_code == 0
    assert there(data_dir) == list(CUSTOMERS)


def test_what_a_dead_restore_left_is_removed(data_dir: Path) -> None:
    """Neither a start nor the next restore takes it for records."""
    file, _ = taken(data_dir)
    lose_records(data_dir)
    left = places(places(data_dir).stage)
    left.folder.mkdir(parents=True)
    left.log.write_text("half")
    assert limen("restore", file, data_dir=data_dir).exit_code == 0
    assert not left.folder.exists()
    left.folder.mkdir(parents=True)
    assert there(data_dir) == list(CUSTOMERS)
    assert not left.folder.exists()


def test_one_backup_at_a_time(data_dir: Path) -> None:
    """A second is refused, and disturbs nothing."""
    held = try_lock(places(data_dir).backup_lock)
    assert held is not None
    file = data_dir.parent / "backup.tar"
    assert code(limen("backup", file, data_dir=data_dir)) == Code.STORE_BUSY
    held.release()
    assert not file.exists()
    taken(data_dir)


def test_a_redis_by_url_has_snapshots_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commands say so, and write nothing."""
    monkeypatch.setenv("LIMEN_STATE_REDIS_URL", "redis://127.0.0.1:1/0")
    for verb in ("backup", "restore"):
        assert code(limen(verb, tmp_path / "x.tar", data_dir=tmp_path)) == Code.BACKUP_UNSUPPORTED
    assert list(tmp_path.iterdir()) == []
