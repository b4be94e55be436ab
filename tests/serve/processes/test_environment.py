"""Settings handed over in the environment arrive as they were."""

import os
from pathlib import Path

import pytest

from serve.observe.metrics import FOLDER_VARIABLE
from serve.processes.environment import environment_for, variables
from serve.settings import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, Settings, load, replaced

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
