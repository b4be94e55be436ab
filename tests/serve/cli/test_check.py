"""The doctor: settings, store and tenants, each with a grade; exit code 1 only for a failure."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from pipeline.models.cache import ModelCache
from serve.cli.check import findings_set, findings_stored
from serve.cli.machine import Finding, Grade
from serve.settings import Admin, Callbacks, Server, Settings, State
from serve.store.vault.keyring import open_keyring
from tests.serve.cli.command_line import limen


def said(**sections: Any) -> dict[str, Grade]:
    """What the settings alone are graded as."""
    return {each.subject: each.grade for each in findings_set(Settings(**sections))}


async def stored(state: State) -> dict[str, Finding]:
    """What the store of this state is found to be."""
    return {each.subject: each async for each in findings_stored(Settings(state=state))}


def test_what_opens_doors_is_named() -> None:
    """Settings that let callbacks go where they should not are warnings, off they are fine."""
    names = ("callbacks.allow_private", "callbacks.allow_http")
    assert [said()[name] for name in names] == [Grade.OK, Grade.OK]
    opened = said(callbacks=Callbacks(allow_private=True, allow_http=True))
    assert [opened[name] for name in names] == [Grade.WARN, Grade.WARN]
    assert said()["admin listener"] is Grade.OK
    assert said(admin=Admin(listen="192.0.2.1:9091"))["admin listener"] is Grade.WARN
    assert "admin listener" not in said(admin=Admin(listen=""))


@pytest.mark.parametrize(
    ("url", "grade"),
    [
        ("", Grade.WARN),
        ("https://limen.example", Grade.OK),
        ("http://localhost:8080", Grade.OK),
        ("http://limen.example", Grade.WARN),
        ("limen.example", Grade.FAIL),
        ("ftp://limen.example", Grade.FAIL),
    ],
)
def test_the_public_url_is_one_that_phones_can_use(url: str, grade: Grade) -> None:
    """A link for a phone needs an https URL, or loopback while developing."""
    assert said(server=Server(public_base_url=url))["public_base_url"] is grade


def test_tls_is_here_or_at_a_proxy(tmp_path: Path) -> None:
    """Without https there is a warning, and a certificate that cannot be loaded is a failure."""
    assert said()["tls"] is Grade.WARN
    assert said(server=Server(public_base_url="https://limen.example"))["tls"] is Grade.OK
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    assert said(server=Server(tls_cert=broken, tls_key=broken))["tls"] is Grade.FAIL
    assert said(server=Server(tls_cert=broken))["tls"] is Grade.FAIL


async def test_an_empty_store_is_fine(redis_state: State, link: Redis) -> None:
    """A Redis that nobody has claimed is told as such, and stays unclaimed."""
    found = await stored(redis_state)
    assert {name: each.grade for name, each in found.items()} == {
        "redis": Grade.OK, "durability": Grade.OK, "memory": Grade.OK, "install": Grade.OK,
    }  # fmt: skip
    assert "appendfsync always" in found["durability"].text
    assert await link.dbsize() == 0


async def test_a_redis_that_forgets_is_told(redis_state: State, link: Redis) -> None:
    """Each way in which records could be lost, or erased ones kept, is graded."""
    for name, value, grade, word in (
        ("appendfsync", "everysec", Grade.WARN, "appendfsync"),
        ("aof-use-rdb-preamble", "yes", Grade.WARN, "erased"),
        ("maxmemory-policy", "allkeys-lru", Grade.FAIL, "noeviction"),
    ):
        before = str((await link.config_get(name))[name])
        await link.config_set(name, value)
        found = (await stored(redis_state))["durability"]
        await link.config_set(name, before)
        assert found.grade is grade
        assert word in found.text


async def test_a_redis_near_its_limit_is_told(redis_state: State, link: Redis) -> None:
    """Without a limit its memory is fine, and near one a warning says what comes of it."""
    assert (await stored(redis_state))["memory"].grade is Grade.OK
    used = int((await link.info("memory"))["used_memory"])
    try:
        for factor, grade in ((1.05, Grade.WARN), (4, Grade.OK)):
            await link.config_set("maxmemory", int(used * factor))
            found = (await stored(redis_state))["memory"]
            assert found.grade is grade
    finally:
        await link.config_set("maxmemory", 0)


async def test_an_unreachable_redis_fails_without_its_password() -> None:
    """The store that cannot be reached is one finding, and no secret of its URL is shown."""
    found = await stored(State(redis_url="redis://:hunter2@127.0.0.1:1/0"))
    assert found["redis"].grade is Grade.FAIL
    assert "state_unavailable" in found["redis"].text
    assert "hunter2" not in str(found)


def test_foreign_keys_fail(redis_state: State, link: Redis, tmp_path: Path) -> None:
    """Records of another install's keys are told before anything is started on them."""
    limen("tenant", "create", "Acme", data_dir=redis_state.data_dir)
    open_keyring(tmp_path / "keys", 0, create=True)
    foreign = redis_state.model_copy(update={"keys_dir": tmp_path / "keys"})
    found = asyncio.run(stored(foreign))
    assert found["redis"].grade is Grade.OK
    assert found["install"].grade is Grade.FAIL
    assert "keys_mismatch" in found["install"].text


@pytest.mark.models
def test_the_whole_look_over_passes_and_names_lenient_tenants(
    redis_state: State,
    link: Redis,
    model_cache: ModelCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Warnings leave the exit code at 0, and a tenant that checks no liveness is named."""
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    monkeypatch.setenv("LIMEN_MODELS_CACHE_DIR", str(tmp_path))
    limen("tenant", "create", "Strict", data_dir=redis_state.data_dir)
    limen("tenant", "create", "Lenient", "--liveness-policy", "match_only",
          data_dir=redis_state.data_dir)  # fmt: skip
    ran = limen("check", "--json", data_dir=redis_state.data_dir)
    assert ran.exit_code == 0, ran.output
    assert ran.document["ok"] is True
    rows = {row["subject"]: row for row in ran.document["findings"]}
    assert rows["tenants"]["text"] == "2"
    assert rows["liveness policy"]["grade"] == "warn"
    assert "Lenient" in rows["liveness policy"]["text"]
    assert "Strict" not in ran.output
    table = limen("check", data_dir=redis_state.data_dir)
    assert table.exit_code == 0
    assert "Lenient" in table.output


def test_a_failure_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without models the look over fails, and has made nothing on a machine that is fresh."""
    monkeypatch.setenv("LIMEN_MODELS_CACHE_DIR", str(tmp_path / "models"))
    ran = limen("check", "--json", data_dir=tmp_path / "var")
    assert ran.exit_code == 1
    assert ran.document["ok"] is False
    assert list(tmp_path.iterdir()) == []
