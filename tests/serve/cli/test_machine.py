"""What `limen check` finds on a machine, each grade of it."""

from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from serve.cli.machine import SYNCS, Finding, Grade, findings_here, sync_times_ms
from serve.settings import Models, Pipeline, Settings, State


def settings(folder: Path, **pipeline: str) -> Settings:
    return Settings(
        state=State(data_dir=folder / "var"),
        models=Models(cache_dir=folder / "models"),
        pipeline=Pipeline.model_validate(pipeline),
    )


def found(asked: Settings) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings_here(asked)}


def grades(asked: Settings) -> dict[str, Grade]:
    return {subject: finding.grade for subject, finding in found(asked).items()}


def test_a_fresh_machine_lacks_only_models(tmp_path: Path) -> None:
    """Before the first start nothing is there, nothing is made, and the way out is named."""
    fresh = found(settings(tmp_path))
    assert fresh["models default"].grade is Grade.FAIL
    assert "limen models build" in fresh["models default"].text
    assert fresh["liveness"].grade is Grade.WARN
    assert {fresh[name].grade for name in ("python", "data folder", "keys folder", "fsync")} == {
        Grade.OK
    }
    assert list(tmp_path.iterdir()) == []


def test_a_detector_without_its_pack_fails(tmp_path: Path) -> None:
    """The detector that the settings ask for has to be there."""
    asked = found(settings(tmp_path, detector="yunet"))
    assert asked["models yunet"].grade is Grade.FAIL
    assert "limen models pull yunet" in asked["models yunet"].text


@pytest.mark.models
def test_a_built_pack_is_ok(tmp_path: Path, model_cache: ModelCache) -> None:
    """The default pack, built from its present recipe, passes; a damaged liveness pack fails."""
    packs = tmp_path / "models" / "packs"
    packs.mkdir(parents=True)
    (packs / "default").symlink_to(model_cache.pack_dir("default"))
    assert grades(settings(tmp_path))["models default"] is Grade.OK
    (packs / "minifasnet").mkdir()
    (packs / "minifasnet" / "manifest.json").write_text("{")
    assert grades(settings(tmp_path))["liveness"] is Grade.FAIL


def test_keys_that_others_may_read_fail(tmp_path: Path) -> None:
    """One loose mode anywhere among the keys is named; a loose data folder is a warning."""
    epochs = tmp_path / "var" / "keys" / "epochs"
    epochs.mkdir(parents=True, mode=0o700)
    for folder in (tmp_path / "var", tmp_path / "var" / "keys"):
        folder.chmod(0o700)
    key = epochs / "00000001"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    assert grades(settings(tmp_path))["keys folder"] is Grade.OK
    assert grades(settings(tmp_path))["data folder"] is Grade.OK
    key.chmod(0o640)
    loose = found(settings(tmp_path))["keys folder"]
    assert loose.grade is Grade.FAIL
    assert str(key) in loose.text
    (tmp_path / "var").chmod(0o755)
    assert grades(settings(tmp_path))["data folder"] is Grade.WARN


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    """A file where the data folder should be is told as what it is."""
    (tmp_path / "var").write_text("")
    (tmp_path / "var").chmod(0o600)
    assert grades(settings(tmp_path))["fsync"] is Grade.FAIL


def test_syncs_are_measured_and_leave_nothing(tmp_path: Path) -> None:
    """Each write really waited for the disk, and no file stays."""
    times_ms = sync_times_ms(tmp_path)
    assert len(times_ms) == SYNCS
    assert min(times_ms) > 0
    assert list(tmp_path.iterdir()) == []
