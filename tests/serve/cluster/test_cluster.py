"""Envelopes, losses and safety on a real Ray cluster of toy replicas."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipeline.errors import Code as PipelineCode
from pipeline.evidence import FaceEvidence
from serve.errors import Code, ServeError
from serve.inference.cluster.kin import exposed, kin
from serve.inference.cluster.options import read_plan
from serve.inference.cluster.probe import asks_for_token
from serve.inference.dispatch import Limits
from serve.inference.link.client import LinkedFaces
from tests.serve.cluster.cluster import (
    Cluster,
    a_door,
    holding,
    shared_memory,
    toy_cluster,
)
from tests.serve.inference.toy_runner import PATIENCE_S

CLIENTS = 200
CANARY_BYTES = 300_000
STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
except BaseException as error:
    print("refused", type(error).__name__)
    raise SystemExit(0)
print("let in")
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One cluster of two replicas for all tests here."""
    with toy_cluster(2, {**read_plan(None).options, "num_replicas": 2}) as running:
        yield running


@pytest_asyncio.fixture
async def socket(cluster: Cluster) -> AsyncIterator[Path]:
    """Where doors reach the replicas: two envelopes for each are on their way at most."""
    async with cluster.engine(Limits(queue_max=256, width=4)) as path:
        yield path


def width(number: int, more: bytes = b"") -> bytes:
    """An image so wide."""
    return b"width %d " % number + more


async def widths(faces: LinkedFaces, images: list[bytes]) -> list[int | str]:
    """What is said of each image, all asked at once: its width, or the code of a refusal."""

    async def one(image: bytes) -> int | str:
        try:
            outcome = await faces.examine(image, tenant_id="ten_a")
        except ServeError as error:
            return str(error.code)
        return outcome.width_px if isinstance(outcome, FaceEvidence) else str(outcome.code)

    return list(await asyncio.gather(*map(one, images)))


async def test_many_clients_share_few_calls_and_batches(cluster: Cluster, socket: Path) -> None:
    """200 clients with one image each: 30 handle calls and 20 device batches at most."""
    async with a_door(socket) as faces:
        await cluster.counted()
        for _ in range(2):
            images = [width(number + 1) for number in range(CLIENTS)]
            assert await widths(faces, images) == list(range(1, CLIENTS + 1))
            counted = await cluster.counted()
            assert counted["images"] == CLIENTS
            assert counted["calls"] <= 30
            assert counted["batches"] <= 20


async def test_one_image_s_trouble_is_its_own(socket: Path) -> None:
    """Corrupt bytes, a defect, a deadline and a caller who leaves change nothing for the rest."""
    async with a_door(socket) as faces, a_door(socket, timeout_s=0.01) as hasty:
        images = [width(1), b"broken", width(2), b"defect", *map(width, range(3, 15))]
        late = asyncio.create_task(hasty.examine(b"slow", tenant_id="ten_a"))
        gone = asyncio.create_task(faces.examine(width(99), tenant_id="ten_a"))
        asked = asyncio.create_task(widths(faces, images))
        await asyncio.sleep(0)
        gone.cancel()
        found = await asked
        assert found == [
            1, str(PipelineCode.IMAGE_CORRUPT), 2, str(Code.SERVICE_UNAVAILABLE), *range(3, 15)
        ]  # fmt: skip
        with pytest.raises(ServeError) as refused:
            await late
        assert refused.value.code is Code.SERVICE_UNAVAILABLE
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_what_a_lost_replica_had_is_done_by_another(cluster: Cluster, socket: Path) -> None:
    """A replica killed with work in flight costs nobody an answer."""
    async with a_door(socket) as faces:
        victim = cluster.replicas()[0]
        images = [width(7), b"slow"] * (CLIENTS // 8)  # two envelopes for each replica
        await cluster.counted()
        asked = asyncio.create_task(widths(faces, images))
        while not (await cluster.counted())["images"]:  # it is at work on the second
            pass
        victim.kill()
        assert await asked == [7, 1] * (CLIENTS // 8)
        assert (await cluster.counted())["retries"] > 0
        await _until(cluster, replicas=2)


async def test_an_image_that_kills_replicas_is_given_up(cluster: Cluster, socket: Path) -> None:
    """It is refused after its last attempt, and the replicas come back."""
    async with a_door(socket) as faces:
        assert await widths(faces, [b"deadly"]) == [str(Code.SERVICE_UNAVAILABLE)]
        await _until(cluster, replicas=2)
        assert await widths(faces, [width(5)]) == [5]


async def test_replicas_that_could_never_start_are_refused(cluster: Cluster) -> None:
    """What the machine has not got is named; Ray itself would wait for it."""
    assert await cluster.refusal(CPU=2, GPU=0) == ""
    for wanted, words in (({"CPU": 3.0}, "3 CPU"), ({"CPU": 1.0, "GPU": 99.5}, "99.5 GPU")):
        said = await cluster.refusal(**wanted)
        assert str(Code.ENGINE_UNAVAILABLE) in said
        assert f"want {words}" in said


async def test_a_stranger_is_refused(cluster: Cluster) -> None:
    """Who has no token, or another, is not let in; who has it is."""
    assert await asks_for_token(cluster.address)
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "2"}
    other = cluster.folder / "other"
    other.write_text(secrets.token_hex(32))
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(cluster.token_file)}
    with_other = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(other)}
    without = {"RAY_AUTH_MODE": "disabled"}
    tried = [_stranger(cluster, {**own, **more}) for more in (without, with_other, with_token)]
    said = await asyncio.gather(*tried)
    assert [line.split()[0] for line in said] == ["refused", "refused", "let"]


async def test_nobody_listens_beyond_the_loopback(cluster: Cluster) -> None:
    """Not one process of the cluster can be reached from another machine."""
    names = {process.name() for process in kin(cluster.token_file)}
    assert {"gcs_server", "raylet"} <= names
    assert exposed(cluster.token_file) == []


async def test_no_image_is_left_anywhere(cluster: Cluster, socket: Path) -> None:
    """An image is neither in a file of Ray's, nor in shared memory, once it was looked at."""
    canary = secrets.token_hex(32).encode()
    async with a_door(socket) as faces:
        images = [width(n + 1, canary * (CANARY_BYTES // len(canary))) for n in range(32)]
        assert await widths(faces, images) == list(range(1, 33))
    ray_folder = cluster.folder / "ray"
    links = shared_memory(cluster.token_file)
    assert any("shm" in path for path in map(str, map(Path.readlink, links)))
    assert holding(canary, ray_folder, cluster.token_file) == []
    control = ray_folder / "control"
    control.write_bytes(b"x" * 100 + canary)
    assert holding(canary, ray_folder, cluster.token_file) == [control]


async def _stranger(cluster: Cluster, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", STRANGER, cluster.address),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode().strip() or "refused by death"


async def _until(cluster: Cluster, replicas: int) -> None:
    """Wait for so many replicas to be there."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while len(cluster.replicas()) < replicas:  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.1)
