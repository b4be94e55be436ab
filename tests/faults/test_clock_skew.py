"""F13: a node whose clock is ten minutes off, either way, and then steps back by an hour."""

import asyncio
import os
import sys
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from tests.faults.history import History
from tests.faults.stage import open_clients, take_photos
from tests.faults.store.servers import server
from tests.helpers.front_door import text
from tests.helpers.running import running

SKEWS_S = (-600, 600, -3600, 0)  # one after the other, while sessions are open
KYC = "/api/v1/kyc"
CALLBACK_S_MAX = 60.0
OFF_S = 60.0  # that a clock may be wrong by on a slow machine


def skewed(file: Path) -> dict[str, Any]:
    """The variables under which every process of a node has the clock that `file` says."""
    found = find_spec("libfaketime")
    assert found is not None
    assert found.origin is not None
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    assert library.is_file()
    return {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


async def ahead_s(variables: dict[str, Any]) -> float:
    """Seconds by which the clock of a process with these variables is ahead of ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; print(time.time())",
        env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return float(said) - time.time()


@pytest.mark.models
async def test_a_nodes_clock_decides_nothing(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sessions opened under one clock are taken under the next, no token expires early, and the
    receiver, whose clock is right, accepts every signature.
    """
    photos, file, seen = take_photos(model_cache), tmp_path / "clock", []
    file.write_text(f"{SKEWS_S[0]:+d}")
    variables = skewed(file)
    async with (
        server(tmp_path / "redis") as redis,
        running(
            tmp_path / "var", engine="local", LIMEN_STATE_REDIS_URL=redis.url, **variables
        ) as node,
        Receiver(node.credentials()["webhook_secret"]) as receiver,
        aiohttp.ClientSession() as http,
    ):  # fmt: skip
        clients = await open_clients(node, http, receiver, photos, History())
        tenant, phone = clients.tenant, clients.phone
        photo = {"image": text(photos.enrolled)}
        enrolled = await tenant.call("POST", "/api/v1/customers/ann/faces", photo)
        assert enrolled.status == 201
        for before_s, after_s in pairwise(SKEWS_S):
            file.write_text(f"{before_s:+d}")
            assert abs(await ahead_s(variables) - before_s) < OFF_S
            body = {
                "customer_id": "ann", "reference": f"at {before_s}", "event": "login",
                "callback_url": receiver.url,
            }  # fmt: skip
            token = (await tenant.call("POST", f"{KYC}/face/session", body)).at("token")
            file.write_text(f"{after_s:+d}")
            proof = {"token": token, "proof": text(photos.same[0])}
            answer = await phone.call("POST", f"{KYC}/face/submit", proof)
            seen.append((before_s, after_s, answer.status, answer.at("status")))
            told = await receiver.wait_for(str(answer.at("resource_id")), 1, CALLBACK_S_MAX)
            assert [callback.status for callback in told] == ["approved"]
        refused = receiver.refused
    with capsys.disabled():
        print(f"\nclock steps: {seen}, signatures refused {refused}")
    assert [row[2:] for row in seen] == [(200, "approved")] * (len(SKEWS_S) - 1)
    assert refused == 0
