"""A stop as an operator does it."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from serve.inference.place import recorded
from tests.helpers.running import running


@pytest.mark.models
async def test_a_stop_leaves_nothing_behind(model_cache: ModelCache, tmp_path: Path) -> None:
    """Supervisor, doors, worker, engine, Ray and Redis are gone, and what they wrote is private."""
    assert model_cache.pack_dir("default").is_dir()
    async with running(tmp_path / "var", workers=2) as service:
        started = service.processes()
        roles = Counter(role for role, _ in started)
        assert roles.pop("Ray control") >= 4  # its head, store of state, node and controller
        assert roles == {
            "front door": 2, "redis": 1, "supervisor": 1, "worker": 1, "engine": 1, "replica": 1
        }  # fmt: skip
    assert [role for role, process in started if process.is_running()] == []
    assert exposed(tmp_path / "var") == []
    assert recorded(tmp_path / "var") is None  # the folder of Ray's files and the engine's socket


def exposed(folder: Path) -> list[str]:
    """Files that others may read, and sockets that were left."""
    return [
        str(path) for path in folder.rglob("*") if path.stat().st_mode & 0o077 or path.is_socket()
    ]
