"""The demonstration, whole: a service in its own processes, and its client in another."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from pipeline.models.cache import ModelCache
from serve.bench.service import Service, run_service
from serve.settings import variable

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]
KEPT = ("is_reuse_kyc_enabled", "reuse_kyc_triggers", "reuse_kyc_reactions", "allowed_origins")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service keeps its records, and its demo tenant's credentials."""
    return tmp_path_factory.mktemp("var")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(model_cache: ModelCache, data_dir: Path) -> AsyncIterator[Service]:
    """`limen run --demo` in an empty folder."""
    environment = {
        **os.environ,
        variable("models", "cache_dir"): str(model_cache.root),
        variable("admin", "listen"): "127.0.0.1:0",
    }
    async with run_service(data_dir, environment) as running:
        yield running


async def demonstrate(
    service: Service, credentials: Path, wait_s: float = 30.0
) -> tuple[int, dict[str, Any]]:
    """The exit status and the report of `limen demo`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serve", "demo", "--json", "--url", service.url),
        *("--credentials", str(credentials), "--wait", str(wait_s)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(said)


async def settings_of(service: Service, key: str) -> dict[str, Any]:
    """What the demonstration changes of its tenant while it runs."""
    found: dict[str, Any] = {}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        for path in ("/api/v1/tenant", "/api/v1/kyc/preferences"):
            async with http.get(service.url + path) as answer:
                found |= await answer.json()
    return {name: found[name] for name in KEPT}


async def test_the_story_holds_and_leaves_no_trace_in_the_settings(
    service: Service, data_dir: Path
) -> None:
    """Every expectation is met, again and again, and the tenant is set as it was before."""
    credentials = data_dir / "demo.json"
    key = json.loads(credentials.read_bytes())["test_api_key"]
    before = await settings_of(service, key)
    for _ in range(2):
        status, report = await demonstrate(service, credentials)
        failed = [line for line in report["lines"] if line["kind"] == "FAILED"]
        assert (status, failed) == (0, [])
        assert (data_dir / "demo-report.html").read_text().count("<article") >= 1
        assert report["met"] > 40
    assert await settings_of(service, key) == before


async def test_a_broken_promise_is_told(service: Service, data_dir: Path, tmp_path: Path) -> None:
    """With another secret than the tenant's no callback verifies: the demo says so and fails."""
    wrong = json.loads((data_dir / "demo.json").read_bytes())
    wrong["webhook_secret"] = "whsec_" + "A" * 32
    credentials = tmp_path / "wrong.json"
    credentials.write_text(json.dumps(wrong))
    status, report = await demonstrate(service, credentials, wait_s=1.0)
    failed = {line["text"] for line in report["lines"] if line["kind"] == "FAILED"}
    assert status == 1
    assert "every signature was valid" in failed
    assert "of the photo, and of the approval" in failed
    assert "he does what he is asked to, and is approved" not in failed
