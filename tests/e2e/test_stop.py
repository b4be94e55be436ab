"""A stop as an operator does it."""

from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from tests.helpers.running import running


@pytest.mark.models
async def test_a_stop_leaves_nothing_behind(model_cache: ModelCache, tmp_path: Path) -> None:
    """Supervisor, front doors, worker and Redis are gone, and what they wrote is private."""
    assert model_cache.pack_dir("default").is_dir()
    async with running(tmp_path / "var", workers=2) as service:
        started = service.processes()
        roles = sorted(role for role, _ in started)
        assert roles == ["front door", "front door", "redis", "supervisor", "worker"]
    assert [role for role, process in started if process.is_running()] == []
    assert exposed(tmp_path / "var") == []


def exposed(folder: Path) -> list[str]:
    """Files that others may read, and sockets that were left."""
    return [
        str(path) for path in folder.rglob("*") if path.stat().st_mode & 0o077 or path.is_socket()
    ]
