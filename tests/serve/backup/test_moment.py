"""A backup is of one moment, whatever goes on meanwhile, and a restore is whole or nothing."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve.domain.change import Change
from serve.domain.ids import Mode
from serve.settings import State
from serve.store.erasures import RedisErasures
from serve.store.install import check_install
from serve.store.ledger import RedisLedger
from serve.store.link import now_ms, open_link
from serve.store.local.backup import take_backup
from serve.store.local.embedded import own_embedded
from serve.store.local.filelocks import try_lock
from serve.store.local.places import places
from serve.store.local.restore import restoring
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import open_keyring
from tests.fixtures import silent
from tests.helpers.records import TENANT, a_customer
from tests.helpers.tree import ROOT, run

CUSTOMERS = 400
CUSTOMERS_MAX = 100_000
BACKUPS = 3
KILLS = 4
KILL_S_MAX = 60.0


async def _fill(ledger: RedisLedger, count: int, stop: asyncio.Event | None = None) -> int:
    """Customers, one after the other, until there are so many or `stop`; how many there are."""
    for number in range(count):
        if stop is not None and stop.is_set():
            return number
        subject = ledger.subject(TENANT, Mode.LIVE, f"customer-{number}")
        snapshot = await ledger.snapshot(subject)
        await ledger.commit(snapshot, Change(customer=a_customer()), f"fill-{number}")
    return count


async def test_a_backup_under_load_is_of_one_moment(tmp_path: Path) -> None:
    """Taken while customers come, epochs change and the file is rewritten, each is restored with
    exactly the customers that it says, all of them readable, and later ones hold more.
    """
    data_dir = tmp_path / "var"
    files = [tmp_path / f"{number}.tar" for number in range(BACKUPS)]
    async with own_embedded(data_dir), open_link(State(data_dir=data_dir)) as link:
        keyring = open_keyring(data_dir / "keys", await now_ms(link), create=True)
        await check_install(link, keyring)
        ledger, stop = RedisLedger(link, keyring, 2**20, 7), asyncio.Event()
        filling = asyncio.create_task(_fill(ledger, CUSTOMERS_MAX, stop))
        for file in files:
            await RedisEpochs(link, keyring, 7).renew(at_once=True)
            rewriting = asyncio.create_task(RedisErasures(link).rewrite_log())
            await take_backup(link, keyring, places(data_dir), file, silent)
            await rewriting
        stop.set()
        count = await filling
    said = []
    for file in files:
        state = State(data_dir=tmp_path / file.stem, keys_dir=data_dir / "keys")
        async with restoring(state, file, silent) as done, open_link(done.state) as link:
            ledger = RedisLedger(link, keyring, 2**20, 7)
            subjects = [ledger.subject(TENANT, Mode.LIVE, f"customer-{n}") for n in range(count)]
            found = [await ledger.snapshot(subject) for subject in subjects]
        versions = [snapshot.version for snapshot in found]
        there = sum(version > 0 for version in versions)
        assert there == done.manifest.counts.customers == done.counts.customers
        assert all(versions[:there])  # they came one after the other: there is no gap
        said.append(there)
    assert said == sorted(said)
    assert said[-1] > said[0]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of some customers; its keys are in `var/keys`, and there are no records."""

    async def take() -> Path:
        data_dir, file = tmp_path / "source", tmp_path / "backup.tar"
        async with own_embedded(data_dir), open_link(State(data_dir=data_dir)) as link:
            keyring = open_keyring(tmp_path / "var" / "keys", await now_ms(link), create=True)
            await check_install(link, keyring)
            await _fill(RedisLedger(link, keyring, 2**20, 7), CUSTOMERS)
            await take_backup(link, keyring, places(data_dir), file, silent)
        return file

    return asyncio.run(take())


def test_a_restore_that_is_killed_leaves_nothing_half(tmp_path: Path, backup: Path) -> None:
    """Killed at several moments of its work, it leaves no records; the next one is whole."""
    data_dir = tmp_path / "var"
    command = ("-m", "serve", "restore", str(backup), "--json", "--data-dir", str(data_dir))
    killed = 0
    for number in range(KILLS):
        child = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + KILL_S_MAX
        while not places(data_dir).stage.exists() and child.poll() is None:
            assert time.monotonic() < deadline
        time.sleep(0.03 * number)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        assert not places(data_dir).log.exists()
    assert killed == KILLS
    done = run(*command)
    assert f'"customers": {CUSTOMERS}' in done.stdout, done
    assert places(data_dir).log.exists()
    assert not places(data_dir).stage.exists()


async def test_a_dead_backup_s_snapshot_goes_with_the_next_rewrite(tmp_path: Path) -> None:
    """An erasure is out of the files although the backup before it was killed; one that is being
    taken is let be.
    """
    async with own_embedded(tmp_path), open_link(State(data_dir=tmp_path)) as link:
        where = places(tmp_path)
        erasures = RedisErasures(link, where)
        where.dump.write_bytes(b"REDIS0009")
        held = try_lock(where.backup_lock)
        assert held is not None
        assert await erasures.rewrite_log() is not None
        assert where.dump.exists()
        held.release()
        assert await erasures.rewrite_log() is not None
        assert not where.dump.exists()


def test_what_a_dead_backup_left_goes_with_the_next_start(tmp_path: Path) -> None:
    """A snapshot in the folder of the records may hold the erased: no start leaves it there."""
    where = places(tmp_path)
    where.folder.mkdir(parents=True)
    for name in ("dump.rdb", "temp-77.rdb"):
        (where.folder / name).write_bytes(b"REDIS0009")
    assert run("-m", "serve", "tenant", "list", "--data-dir", str(tmp_path)).returncode == 0
    assert list(where.folder.glob("*.rdb")) == []
