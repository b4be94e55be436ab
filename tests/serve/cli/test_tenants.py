"""Tenants, keys and secrets by command, on a real store; every secret is shown once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.app import open_deps
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Principal, Scope
from serve.errors import Code, ServeError
from serve.flows.access import authenticate
from serve.settings import Settings, State
from tests.helpers.tree import run
from tests.serve.cli.command_line import limen

MAIN = "from serve.cli import main; main()"


@pytest.fixture
def data_dir(redis_state: State, link: Redis) -> Path:
    """The data directory of a running, empty store."""
    return redis_state.data_dir


def made(data_dir: Path, *options: str, name: str = "Acme") -> dict[str, Any]:
    """What `tenant create` prints."""
    ran = limen("tenant", "create", name, *options, "--json", data_dir=data_dir)
    assert ran.exit_code == 0, ran
    return ran.document


def principal(data_dir: Path, key: str) -> Principal:
    """Whom the service takes the key for."""

    async def ask() -> Principal:
        settings = Settings(state=State(data_dir=data_dir))
        async with open_deps(settings, with_models=False) as deps:
            return await authenticate(deps, key)

    return asyncio.run(ask())


def test_a_tenant_is_made_with_keys_that_work(data_dir: Path) -> None:
    """Both keys open their own world, and the secret is one that callbacks can be verified with."""
    tenant = made(data_dir)
    assert set(tenant) == {"tenant_id", "api_key", "test_api_key", "webhook_secret"}
    assert tenant["webhook_secret"].startswith("whsec_")
    for key, mode in (("api_key", "live"), ("test_api_key", "test")):
        found = principal(data_dir, tenant[key])
        assert (found.tenant_id, found.mode) == (tenant["tenant_id"], mode)


def test_a_person_reads_the_secrets_whole(data_dir: Path) -> None:
    """Printed for a person, each secret stands unbroken on its line, with the warning."""
    ran = limen("tenant", "create", "Acme", data_dir=data_dir)
    lines = [line.split() for line in ran.output.splitlines()]
    shown = {line[0]: line[1] for line in lines[:4]}
    assert principal(data_dir, shown["api_key"]).tenant_id == shown["tenant_id"]
    assert "not shown again" in ran.output


def test_no_later_command_shows_a_secret(data_dir: Path) -> None:
    """Lists and changes name tenants and keys, never what opens them."""
    tenant = made(data_dir)
    text = "".join(
        limen(*arguments, data_dir=data_dir).output
        for arguments in (
            ("tenant", "list"), ("tenant", "list", "--json"),
            ("key", "list", "Acme"), ("key", "list", "Acme", "--json"),
            ("tenant", "set", "Acme", "--session-retention-days", "7", "--json"),
        )
    )  # fmt: skip
    assert tenant["tenant_id"] in text
    for name in ("api_key", "test_api_key", "webhook_secret"):
        assert tenant[name] not in text
        assert tenant[name][-43:] not in text


def test_settings_are_set_and_listed(data_dir: Path) -> None:
    """What is given changes, what is not stays, and origins can be taken away again."""
    tenant = made(
        data_dir, "--liveness-policy", "match_only", "--origin", "https://a.example",
        "--origin", "https://B.example:443", "--drop-reference-images",
    )  # fmt: skip
    (listed,) = limen("tenant", "list", "--json", data_dir=data_dir).document["tenants"]
    assert listed["id"] == tenant["tenant_id"]
    assert listed["liveness_policy"] == "match_only"
    assert listed["allowed_origins"] == ["https://a.example", "https://b.example"]
    assert listed["keep_reference_images"] is False
    changed = limen(
        "tenant", "set", "Acme", "--liveness-policy", "required", "--session-retention-days", "9",
        "--frontend-base-url", "https://a.example/kyc", "--no-origins", "--json",
        data_dir=data_dir,
    ).document  # fmt: skip
    assert changed["liveness_policy"] == "required"
    assert changed["session_retention_days"] == 9
    assert changed["frontend_base_url"] == "https://a.example/kyc"
    assert (changed["allowed_origins"], changed["keep_reference_images"]) == ([], False)
    assert "required" in limen("tenant", "set", "Acme", data_dir=data_dir).output


def test_an_operator_sets_how_much_a_tenant_may_ask_for(data_dir: Path) -> None:
    """A factor of the settings, 1 until one is set; other changes leave it."""
    made(data_dir)
    for options, factor in ((), 1.0), (("--quota-factor", "2.5"), 2.5), ((), 2.5):
        ran = limen("tenant", "set", "Acme", *options, "--json", data_dir=data_dir)
        assert ran.document["quota_factor"] == factor
    (listed,) = limen("tenant", "list", "--json", data_dir=data_dir).document["tenants"]
    assert listed["quota_factor"] == 2.5
    assert "2.5" in limen("tenant", "list", data_dir=data_dir).output
    for bad in ("0", "-1", "1001", "nan"):
        ran = limen("tenant", "set", "Acme", "--quota-factor", bad, data_dir=data_dir)
        assert ran.refusal is not None
        assert (ran.refusal.args[0], ran.refusal.detail) == (
            Code.FIELD_INVALID, "a quota factor is from 0.001 to 1000",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("tenant", "create", "A", "--origin", "https://a.example/path"), Code.FIELD_INVALID,
         "allowed_origins/0"),
        (("tenant", "create", "A", "--session-retention-days", "0"), Code.FIELD_INVALID,
         "session_retention_days"),
        (("tenant", "create", "A", "--frontend-base-url", "ftp://a.example"), Code.URL_REFUSED,
         "frontend_base_url"),
        (("tenant", "create", ""), Code.FIELD_INVALID, "a name has"),
        (("tenant", "create", "A" * 201), Code.FIELD_INVALID, "a name has"),
        (("tenant", "set", "nobody"), Code.NOT_FOUND, "no such tenant"),
        (("key", "create", "nobody", "--mode", "test"), Code.NOT_FOUND, "no such tenant"),
        (("key", "list", "nobody"), Code.NOT_FOUND, "no such tenant"),
        (("key", "revoke", "--dashes-are-ids"), Code.NOT_FOUND, "no such API key"),
        (("secret", "rotate", "nobody"), Code.NOT_FOUND, "no such tenant"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    arguments: tuple[str, ...], code: Code, told: str, data_dir: Path
) -> None:
    """Each refusal has its code and says in one line what was wrong; nothing was made."""
    ran = limen(*arguments, data_dir=data_dir)
    assert ran.refusal is not None
    assert ran.refusal.args[0] is code
    assert told in ran.refusal.detail
    assert "\n" not in ran.refusal.detail
    assert limen("tenant", "list", "--json", data_dir=data_dir).document == {"tenants": []}


def test_a_name_that_two_tenants_have_is_no_answer(data_dir: Path) -> None:
    """A tenant is named by its id wherever its name would not do."""
    first, _ = made(data_dir), made(data_dir)
    ran = limen("tenant", "set", "Acme", data_dir=data_dir)
    assert ran.refusal is not None
    assert "several tenants" in ran.refusal.detail
    assert limen("tenant", "set", first["tenant_id"], data_dir=data_dir).exit_code == 0


def test_a_key_is_made_and_revoked(data_dir: Path) -> None:
    """A further key has the world and scopes asked for, and opens nothing once revoked."""
    made(data_dir)
    key = limen(
        "key", "create", "Acme", "--mode", "test", "--scope", "events", "--scope", "sessions",
        "--json", data_dir=data_dir,
    ).document  # fmt: skip
    found = principal(data_dir, key["api_key"])
    assert found.mode is Mode.TEST
    assert found.scopes == {Scope.EVENTS, Scope.SESSIONS}
    revoked = limen("key", "revoke", key["key_id"], "--json", data_dir=data_dir).document
    assert revoked["revoked_at"]
    with pytest.raises(ServeError) as refused:
        principal(data_dir, key["api_key"])
    assert refused.value.code is Code.KEY_INVALID
    listed = limen("key", "list", "Acme", "--json", data_dir=data_dir).document["keys"]
    assert [row["revoked_at"] is not None for row in listed] == [False, False, True]


def test_a_rotated_secret_overlaps_the_old_one(data_dir: Path) -> None:
    """Both secrets sign for a day, so that a receiver can change over."""
    tenant = made(data_dir)
    rotated = limen("secret", "rotate", "Acme", "--json", data_dir=data_dir).document
    assert rotated["webhook_secret"] != tenant["webhook_secret"]

    async def in_force() -> list[str]:
        settings = Settings(state=State(data_dir=data_dir))
        async with open_deps(settings, with_models=False) as deps:
            return [row.secret for row in await deps.directory.secrets(tenant["tenant_id"])]

    assert asyncio.run(in_force()) == [rotated["webhook_secret"], tenant["webhook_secret"]]


def test_commands_of_their_own_share_a_store_that_nobody_runs(tmp_path: Path) -> None:
    """Without a service each command starts the store and leaves none behind; records stay."""
    data_dir = str(tmp_path / "var")
    first = run("-c", MAIN, "tenant", "create", "Acme", "--data-dir", data_dir)
    assert (first.returncode, first.stderr) == (0, "")
    second = run("-c", MAIN, "key", "create", "Acme", "--mode", "live", "--data-dir", data_dir)
    assert (second.returncode, second.stderr) == (0, "")
    refused = run("-c", MAIN, "secret", "rotate", "Emca", "--data-dir", data_dir)
    assert refused.returncode == 2
    assert refused.stderr.startswith("limen: not_found: ")
    assert not (tmp_path / "var" / "redis" / "redis.sock").exists()
