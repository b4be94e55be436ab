"""`limen calibrate`, over a real store with what a sweep has left in it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.app import open_deps
from serve.deps import Deps
from serve.domain.ids import Mode, Prefix, make_id
from serve.domain.operation import Operation
from serve.domain.sweeps.sweep import Sweep, SweepRequest, home
from serve.errors import Code
from serve.flows.sweeps.calibrate import TARGETS
from serve.settings import Settings, State, load, replaced
from tests.serve.cli.command_line import Ran, limen
from tests.serve.sweeps.planted import PROBES, ended

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("model_cache")]


async def _sweep(settings: Settings, model_id: str | None) -> None:
    """Leave a sweep of the only tenant behind, done: of this model, or of the install's."""

    async def carry_out(deps: Deps) -> None:
        (tenant,) = await deps.directory.tenants()
        sweep = Sweep(
            id=make_id(Prefix.SWEEP, home(tenant.id, Mode.LIVE), deps.random(16)),
            tenant_id=tenant.id,
            mode=Mode.LIVE,
            request=SweepRequest(),
            model_id=model_id or deps.model_id,
            created_at_ms=await deps.directory.now_ms(),
        )
        await ended(deps, await deps.sweeps.create(sweep, Operation(sweep.id)), [])

    async with open_deps(settings, with_models=False, with_scale=True) as deps:
        await carry_out(deps)


@pytest.fixture
def data_dir(redis_state: State, link: Redis) -> Path:
    """A running store with one tenant."""
    limen("tenant", "create", "Acme", data_dir=redis_state.data_dir)
    return redis_state.data_dir


def sweep(data_dir: Path, model_id: str | None = None) -> None:
    asyncio.run(_sweep(replaced(load(), {"state.data_dir": data_dir}), model_id))


def calibrate(data_dir: Path, *options: str | Path) -> Ran:
    return limen("calibrate", "--tenant", "Acme", *options, data_dir=data_dir)


def refusal(ran: Ran) -> Any:
    assert ran.refusal is not None
    return ran.refusal.args[0]


def test_thresholds_are_shown_with_what_supports_them(data_dir: Path, tmp_path: Path) -> None:
    """For each target one that 20,000 faces can show, or that there is not enough evidence; as a
    table, a document and a picture.
    """
    sweep(data_dir)
    document = calibrate(data_dir, "--json").document
    assert (document["gallery_size"], document["expires_at_size"]) == (PROBES, 22_223)
    rows = {row["target_fpir"]: row for row in document["thresholds"]}
    assert set(rows) == set(TARGETS)
    assert all(rows[target]["threshold"] is not None for target in TARGETS if target >= 1e-3)
    assert rows[1e-4]["threshold"] is None
    shown = rows[1e-3]
    assert shown["fpir_low"] <= shown["fpir"] <= shown["fpir_high"] <= 1e-3
    picture = tmp_path / "picture.png"
    text = calibrate(data_dir, "--target-fpir", "0.0001", "--plot", picture).output
    assert "0.0001: not enough evidence, 73,774 faces are needed" in text
    assert "22,223 faces" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_duplicate_gate_is_set_and_unset(data_dir: Path) -> None:
    """The threshold that it follows is shown, with a target that there is no evidence for as well;
    in that world alone.
    """
    sweep(data_dir)
    assert "from the pack's threshold on" in calibrate(data_dir).output
    document = calibrate(data_dir, "--set", "0.001", "--json").document
    (row,) = (each for each in document["thresholds"] if each["target_fpir"] == 0.001)
    assert document["duplicate_target_fpir"] == 0.001
    assert document["duplicate_threshold"] == row["threshold"]
    listed = limen("tenant", "list", "--json", data_dir=data_dir).document["tenants"]
    assert [tenant["duplicate_target_fpir"] for tenant in listed] == [0.001]
    assert "without evidence yet" in calibrate(data_dir, "--set", "0.00001").output
    assert calibrate(data_dir, "--unset", "--json").document["duplicate_target_fpir"] is None


def test_what_cannot_be_shown_is_refused(data_dir: Path) -> None:
    """A world that nobody has swept, a sweep of another model, a target out of bounds, both at
    once; and nothing is set by what is refused.
    """
    assert refusal(calibrate(data_dir, "--set", "0.001")) is Code.NOT_FOUND
    sweep(data_dir)
    assert refusal(calibrate(data_dir, "--mode", "test")) is Code.NOT_FOUND
    assert refusal(calibrate(data_dir, "--set", "0.1", "--unset")) is Code.FIELD_INVALID
    for option in ("--set", "--target-fpir"):
        assert calibrate(data_dir, option, "0.6").exit_code == 2
    assert calibrate(data_dir, "--json").document["duplicate_target_fpir"] is None
    sweep(data_dir, "other.1")
    assert refusal(calibrate(data_dir)) is Code.NOT_FOUND
