"""Settings handed over in the environment arrive as they were."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from serve.errors import Code, ServeError
from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE
from serve.inference.place import token_file
from serve.observe.metrics import FOLDER_VARIABLE
from serve.processes.environment import engine_environment, environment_for, variables
from serve.settings import (
    CONFIG_VARIABLE,
    ENVIRONMENT_PREFIX,
    EngineKind,
    EngineSection,
    Settings,
    State,
    load,
    replaced,
)

UNUSUAL = {
    "server.port": 0,
    "server.tls_cert": Path("a folder/certificate.pem"),
    "server.trusted_proxies": ("10.0.0.0/8", "::1"),
    "server.public_base_url": 'https://example.test/"quoted"',
    "state.timeout_s": 0.25,
    "callbacks.allow_private": True,
    "pipeline.detector": "yunet",
}


@pytest.mark.parametrize("values", [{}, UNUSUAL])
def test_a_child_reads_the_same_settings(
    values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, lists, paths, switches and what is unset come back equal."""
    settings = replaced(load(), values)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in variables(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


def test_the_supervisors_own_sources_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the file nor a variable can say something else to a child."""
    monkeypatch.setenv(CONFIG_VARIABLE, "limen.toml")
    monkeypatch.setenv("LIMEN_STATE_REDIS_URL", "redis://other")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    settings = Settings(state={"data_dir": "var"})  # type: ignore[arg-type]
    found = environment_for(settings, Path("metrics"))
    assert CONFIG_VARIABLE not in found
    assert found["LIMEN_STATE_REDIS_URL"] == "redis://other"
    assert found["SOMETHING_ELSE"] == "kept"
    assert found[FOLDER_VARIABLE] == "metrics"


THEIRS = {"RAY_AUTH_MODE": "k8s", "RAY_ADDRESS": "10.0.0.1:6379", "LIMEN_SERVER_PORT": "0"}


def settings_of(data_dir: Path, **engine: Any) -> Settings:
    """An install whose engine is so, with the folder for its token."""
    (data_dir / "engine").mkdir(exist_ok=True)
    return Settings(state=State(data_dir=data_dir), engine=EngineSection(**engine))


@pytest.mark.parametrize("kind", [EngineKind.RAY, EngineKind.NAIVE_SERVE])
def test_an_engine_of_our_own_has_a_token_of_its_own(tmp_path: Path, kind: EngineKind) -> None:
    """Made with the first start and kept, for the yardstick as well; nothing of another cluster
    is handed on, and everything of ours.
    """
    settings = settings_of(tmp_path, kind=kind)
    found = engine_environment(settings, THEIRS)
    file = token_file(tmp_path)
    assert (found["RAY_AUTH_MODE"], found[TOKEN_PATH_VARIABLE]) == ("token", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "RAY_ADDRESS" not in found
    assert found["LIMEN_SERVER_PORT"] == "0"
    token = file.read_bytes()
    engine_environment(settings, THEIRS)
    assert file.read_bytes() == token


def test_the_yardstick_is_not_tuned(tmp_path: Path) -> None:
    """Ray Serve is measured as it comes, ours as we set it."""
    tuned, plain = (
        {name for name in engine_environment(settings_of(tmp_path, kind=kind), {})
         if name.startswith("RAY_SERVE_")}
        for kind in (EngineKind.RAY, EngineKind.NAIVE_SERVE)
    )  # fmt: skip
    assert tuned
    assert not plain


def test_a_joined_cluster_is_joined_with_its_token(tmp_path: Path) -> None:
    """The file that the settings name; none is made."""
    settings = settings_of(
        tmp_path, ray_address="10.0.0.1:6379", ray_token_file=tmp_path / "theirs"
    )
    found = engine_environment(settings, THEIRS)
    named = str(tmp_path / "theirs")
    assert (found["RAY_AUTH_MODE"], found[TOKEN_PATH_VARIABLE]) == ("token", named)
    assert not token_file(tmp_path).exists()
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in found


def test_a_cluster_is_not_joined_without_a_token(tmp_path: Path) -> None:
    """The refusal names the setting that is missing."""
    with pytest.raises(ServeError) as refused:
        engine_environment(settings_of(tmp_path, ray_address="10.0.0.1:6379"), {})
    assert refused.value.code is Code.SETTING_INVALID
    assert "engine.ray_token_file" in refused.value.detail


def test_without_a_token_only_where_that_is_allowed(tmp_path: Path) -> None:
    """Then the variables of whoever starts the service say how it is joined."""
    settings = settings_of(tmp_path, ray_address="10.0.0.1:6379", ray_allow_no_token=True)
    found = engine_environment(settings, THEIRS)
    assert found["RAY_AUTH_MODE"] == THEIRS["RAY_AUTH_MODE"]
    assert TOKEN_PATH_VARIABLE not in found
    assert not token_file(tmp_path).exists()
