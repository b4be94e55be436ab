"""`make run` and `make demo`, as two processes."""

import asyncio
import json
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.models.cache import ModelCache
from tests.helpers.running import running
from tests.helpers.tree import ROOT

DEMO_S_MAX = 120.0
EXPECTATIONS_MIN = 40


@pytest.mark.models
async def test_the_story_is_played_as_told(model_cache: ModelCache, tmp_path: Path) -> None:
    """Every expectation of the demonstration is met, and a stop leaves no process behind."""
    assert model_cache.pack_dir("default").is_dir()
    async with running(tmp_path / "var", tmp_path / "log") as service:
        supervisor = psutil.Process(service.supervisor.pid)
        started = [supervisor, *supervisor.children(recursive=True)]
        demo = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "serve", "demo", "--url", service.url, "--json",
            "--data-dir", str(service.data_dir), cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(DEMO_S_MAX):
            output, _ = await demo.communicate()
    told = json.loads(output)
    assert [line for line in told["lines"] if line["kind"] == "FAILED"] == []
    assert told["met"] >= EXPECTATIONS_MIN
    assert demo.returncode == 0
    assert service.supervisor.returncode == 0
    assert [process for process in started if process.is_running()] == []
    mode = (tmp_path / "var").stat().st_mode & 0o777
    assert mode == 0o700
