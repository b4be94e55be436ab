"""The doctor looks at the engine: its file, its token, its ports, and a cluster to be joined."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from serve.cli.check import findings_of_engine
from serve.cli.machine import Finding, Grade
from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE, make_token
from serve.inference.place import token_file
from serve.settings import EngineKind, EngineSection, Settings, State
from tests.helpers.tree import ROOT
from tests.serve.cluster.stub_head import stub_head

NOBODY = "127.0.0.1:1"


async def found(data_dir: Path, **engine: Any) -> dict[str, Finding]:
    """What is said of an engine of these settings, the last word on each subject."""
    settings = Settings(state=State(data_dir=data_dir), engine=EngineSection(**engine))
    return {each.subject: each async for each in findings_of_engine(settings)}


async def grades(data_dir: Path, **engine: Any) -> dict[str, Grade]:
    """How it is graded."""
    return {name: each.grade for name, each in (await found(data_dir, **engine)).items()}


@contextmanager
def a_token(file: Path, mode: int = 0o600) -> Iterator[Path]:
    """A token in that file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    make_token(file)
    file.chmod(mode)
    yield file


@contextmanager
def listening(token: Path, address: str) -> Iterator[str]:
    """A process of the cluster with that token, at that address: its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.cluster.kin_program", "listen", address],
        cwd=ROOT,
        env={**os.environ, TOKEN_PATH_VARIABLE: str(token)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip()


async def test_models_in_the_doors_need_nothing(tmp_path: Path) -> None:
    """Without Ray there is nothing of it to look at."""
    assert await grades(tmp_path, kind=EngineKind.LOCAL) == {"engine": Grade.OK}


def test_an_engine_that_never_ran_is_fine(tmp_path: Path) -> None:
    """Its token is made by the first start, and nothing is made by looking."""
    said = asyncio.run(found(tmp_path))
    assert {name: each.grade for name, each in said.items()} == {
        "engine": Grade.OK, "ray token": Grade.OK, "ray ports": Grade.OK,
    }  # fmt: skip
    assert "first start" in said["ray token"].text
    assert "not running" in said["ray ports"].text
    assert list(tmp_path.iterdir()) == []


async def test_the_yardstick_is_no_engine_to_run(tmp_path: Path) -> None:
    """Whoever has it set is warned."""
    settings = Settings(engine=EngineSection(kind=EngineKind.NAIVE_SERVE))
    said = [each async for each in findings_of_engine(settings) if each.subject == "engine"]
    assert Grade.WARN in [each.grade for each in said]


@pytest.mark.parametrize(
    ("application", "grade"),
    [
        ("deployments: [{name: Faces, num_replicas: 3, ray_actor_options: {num_gpus: 0.5}}]",
         Grade.OK),
        ("deployments: [{name: Faces, num_replica: 3}]", Grade.FAIL),
        ("args: {slots: 0}, deployments: [{name: Faces}]", Grade.FAIL),
    ],
)  # fmt: skip
async def test_the_serve_file_is_read(tmp_path: Path, application: str, grade: Grade) -> None:
    """How many replicas on what, or what is wrong with it, down to the arguments."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"applications: [{{name: limen, {application}}}]")
    said = (await found(tmp_path, ray_file=file))["engine"]
    assert said.grade is grade
    if grade is Grade.OK:
        assert "up to 3 replicas, 0.5 GPUs each" in said.text
    else:
        assert "setting_invalid" in said.text


@pytest.mark.parametrize(("mode", "grade"), [(0o600, Grade.OK), (0o640, Grade.FAIL)])
async def test_a_token_that_others_may_read_fails(tmp_path: Path, mode: int, grade: Grade) -> None:
    """Of our own cluster, and of one that is joined."""
    with a_token(token_file(tmp_path), mode):
        assert (await grades(tmp_path))["ray token"] is grade
    with a_token(tmp_path / "theirs", mode) as file:
        said = await grades(tmp_path, ray_address=NOBODY, ray_token_file=file)
        assert said["ray token"] is grade


async def test_a_port_beyond_the_loopback_fails(tmp_path: Path) -> None:
    """The process and its port are named; on the loopback it is as it should be."""
    with a_token(token_file(tmp_path)) as token:
        with listening(token, "127.0.0.1"):
            assert (await found(tmp_path))["ray ports"].text == "on the loopback alone"
        with listening(token, "0.0.0.0") as port:  # noqa: S104
            said = (await found(tmp_path))["ray ports"]
            assert said.grade is Grade.FAIL
            assert f":{port}" in said.text


@pytest.mark.parametrize(
    ("status", "is_allowed", "grade", "word"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, False, Grade.OK, "asks for a token"),
        (grpc.StatusCode.OK, False, Grade.FAIL, "runs code"),
        (grpc.StatusCode.OK, True, Grade.WARN, "runs code"),
    ],
)
async def test_a_cluster_is_asked_whether_it_lets_strangers_in(
    tmp_path: Path, status: grpc.StatusCode, grade: Grade, word: str, *, is_allowed: bool
) -> None:
    """One that does is a failure, or a warning where that was allowed; its ports are its own."""
    with a_token(tmp_path / "theirs") as file:
        async with stub_head(status) as address:
            said = await found(
                tmp_path, ray_address=address, ray_token_file=file, ray_allow_no_token=is_allowed
            )
    assert said["ray cluster"].grade is grade
    assert address in said["ray cluster"].text
    assert word in said["ray cluster"].text
    assert said["ray token"].grade is Grade.OK
    assert "ray ports" not in said


async def test_a_cluster_that_cannot_be_reached_fails(tmp_path: Path) -> None:
    """It is told where nobody was found."""
    said = (await found(tmp_path, ray_address=NOBODY))["ray cluster"]
    assert said.grade is Grade.FAIL
    assert NOBODY in said.text


@pytest.mark.parametrize(("is_allowed", "grade"), [(False, Grade.FAIL), (True, Grade.WARN)])
async def test_a_cluster_to_join_needs_a_token(
    tmp_path: Path, grade: Grade, *, is_allowed: bool
) -> None:
    """Unset it is refused unless allowed, as `limen run` would; a file must be there."""
    engine = {"ray_address": NOBODY, "ray_allow_no_token": is_allowed}
    assert (await grades(tmp_path, **engine))["ray token"] is grade
    absent = tmp_path / "absent"
    assert (await grades(tmp_path, **engine, ray_token_file=absent))["ray token"] is Grade.FAIL
