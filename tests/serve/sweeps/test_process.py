"""The sweeper of a running service: calm, restarted when it dies, and at work."""

import asyncio
from pathlib import Path

import aiohttp
import psutil
import pytest

from pipeline.models.cache import ModelCache
from serve.processes.sweep import NICENESS
from tests.helpers.running import Running, running

DEADLINE_S = 90.0
POLL_S = 0.05


async def swept(service: Running, http: aiohttp.ClientSession) -> dict[str, object]:
    """A sweep that was asked for over HTTP, once it is over."""
    headers = {"Authorization": f"Bearer {service.credentials()['api_key']}"}
    url = f"{service.url}/api/v1/sweeps"
    async with http.post(url, json={"threshold": 0.4}, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        found: dict[str, object] = await answer.json()
    async with asyncio.timeout(DEADLINE_S):
        while found["status"] in {"queued", "running"}:
            await asyncio.sleep(POLL_S)
            async with http.get(f"{url}/{found['id']}", headers=headers) as answer:
                found = await answer.json()
    return found


def sweeper_of(service: Running) -> psutil.Process | None:
    return next((each for role, each in service.processes() if role == "sweeper"), None)


@pytest.mark.models
async def test_the_sweeper_works_and_comes_back(model_cache: ModelCache, tmp_path: Path) -> None:
    """It gives way to all others, carries out what is asked for, and does so again after it was
    killed.
    """
    assert model_cache.pack_dir("default").is_dir()
    async with running(tmp_path / "var", engine="local") as service:
        await service.until_ready()
        async with aiohttp.ClientSession() as http:
            first = sweeper_of(service)
            assert first is not None
            assert first.nice() == NICENESS
            assert (await swept(service, http))["status"] == "done"
            first.kill()
            async with asyncio.timeout(DEADLINE_S):
                while sweeper_of(service) in {None, first}:  # noqa: ASYNC110 (another process)
                    await asyncio.sleep(POLL_S)
            await service.until_ready()
            assert (await swept(service, http))["status"] == "done"
