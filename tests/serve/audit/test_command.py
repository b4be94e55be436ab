"""`limen audit` on a real store."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from serve.settings import State
from tests.serve.cli.command_line import limen


@pytest.fixture
def data_dir(redis_state: State, link: Redis) -> Path:
    """The data directory of a running, empty store."""
    return redis_state.data_dir


def test_an_operator_sees_who_did_what(data_dir: Path) -> None:
    """The newest first, whole or of one tenant, page by page; the look itself comes after."""
    made = limen("tenant", "create", "Acme", "--json", data_dir=data_dir).document
    key = limen("key", "create", "Acme", "--mode", "live", "--json", data_dir=data_dir).document
    limen("key", "revoke", key["key_id"], data_dir=data_dir)
    limen("secret", "rotate", made["tenant_id"], data_dir=data_dir)
    seen = limen("audit", "--json", data_dir=data_dir).document
    entries = seen["entries"]
    actions = [entry["action"] for entry in entries]
    assert actions[:3] == ["secret.rotated", "key.revoked", "key.created"]
    assert sorted(actions[3:]) == ["key.created", "key.created", "tenant.created"]
    assert {entry["actor"]["kind"] for entry in entries} == {"operator"}
    assert {entry["tenant_id"] for entry in entries} == {made["tenant_id"]}
    assert entries[1]["target"] == key["key_id"]
    assert seen["next_cursor"] == ""
    first = limen("audit", "--tenant", "Acme", "--limit", "2", "--json", data_dir=data_dir).document
    assert first["entries"] == entries[:2]
    cursor = first["next_cursor"]
    rest = limen("audit", "--tenant", "Acme", "--cursor", cursor, "--json", data_dir=data_dir)
    assert rest.document["entries"] == entries[2:]
    last = limen("audit", "--json", data_dir=data_dir).document["entries"]
    assert (last[0]["action"], last[0]["tenant_id"]) == ("audit.read", made["tenant_id"])
    assert last[2]["action"] == "audit.read"


def test_a_person_reads_it_line_by_line(data_dir: Path) -> None:
    """Printed for a person each entry is a line with its time, action and actor."""
    limen("tenant", "create", "Acme", data_dir=data_dir)
    lines = limen("audit", "--limit", "1", data_dir=data_dir).output.splitlines()
    action, actor = lines[0].split()[1:3]
    assert action in {"tenant.created", "key.created"}  # written within a millisecond
    assert actor == "operator"
    assert lines[1].startswith("there is more: --cursor ")
    assert limen("audit", "--tenant", "nobody", data_dir=data_dir).refusal is not None
