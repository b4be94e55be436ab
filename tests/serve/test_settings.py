"""Settings: three spellings of one name, and no name that nobody reads."""

import json
from enum import StrEnum
from pathlib import Path

import pytest

from serve.errors import Code, ServeError
from serve.settings import CONFIG_VARIABLE, Settings, fields, load, variable
from tests.helpers.tree import ROOT

# A value that each setting takes, by name or by the end of one, where 1024 or a folder is none.
VALUES = {
    "detector": "yunet", "host": "::1", "listen": "[::1]:9", "redis_url": "redis://host",
    "public_base_url": "https://limen.example", "trusted_proxies": '["10.0.0.0/8"]',
    "replicas_min": "3", "workers": "2", "backup_retention_days": "30", "timeout_s": "2.5",
    "body_seconds_max": "12.5", "allow_private": "true", "allow_http": "true",
    "bytes_max": str(2**27), "image_bytes_max": "5000", "tls_cert": "/pem", "tls_key": "/pem",
    "runtime": "torch", "device": "cuda", "precision": "fp16",
    "kind": "local", "ray_allow_no_token": "true", "fallback": "true",
    "shards": "3", "wait_s": "1.5", "index.queue_max": "77", "index.threads": "2",
    "memory_mib": "2048", "share": "0.25",
    "start_seconds_max": "5.5", "frame_bytes_max": "262144", "frames_per_s_max": "5.5",
    "frames_max": "200", "seconds_max": "45.5", "light_levels": "4", "gap_s_max": "1.5",
    "test_share": "0.5", "memory_share_max": "0.5", "head_seconds_max": "12.5",
    "heartbeat_s": "12.5",
}  # fmt: skip
WITHOUT_UNIT = {
    "detector", "runtime", "device", "precision", "host", "port", "listen", "redis_url",
    "public_base_url", "trusted_proxies",
    "threads", "share", "shards", "workers", "tls_cert", "tls_key", "allow_private", "allow_http",
    "kind", "ray_address", "ray_token_file", "ray_allow_no_token", "ray_file", "fallback",
    "light_levels",
}  # fmt: skip
UNITS = ("dir", "days", "ms", "s", "max", "min", "share", "bytes", "mib")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of whoever runs the tests are not part of them."""
    for section, key, _ in fields():
        monkeypatch.delenv(variable(section, key), raising=False)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "limen.toml"
    path.write_text('[pipeline]\nthreads = 3\n[models]\nmirror_dir = "/mirror"\n')
    return path


def refusal(config: Path | None = None) -> tuple[StrEnum, str]:
    with pytest.raises(ServeError) as caught:
        load(config)
    return caught.value.code, caught.value.detail


def test_without_a_file_the_defaults_hold() -> None:
    """Limen runs with no configuration at all."""
    settings = load()
    assert settings == Settings()
    assert settings.pipeline.threads == 0
    assert settings.models.cache_dir.is_absolute()


def test_the_file_overrides_the_defaults(config: Path) -> None:
    """A key of the file counts; a key it leaves out keeps its default."""
    settings = load(config)
    assert settings.pipeline.threads == 3
    assert settings.models.mirror_dir == Path("/mirror")
    assert settings.pipeline.image_bytes_max == Settings().pipeline.image_bytes_max


def test_half_precision_goes_with_a_gpu(config: Path) -> None:
    """What a CPU is refused is taken where a GPU is asked for."""
    config.write_text("[pipeline]\nprecision = 'fp16'\nruntime = 'torch'\ndevice = 'cuda'")
    pipeline = load(config).pipeline
    assert (pipeline.runtime, pipeline.device, pipeline.precision) == ("torch", "cuda", "fp16")


def test_the_environment_overrides_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable changes one key and leaves its neighbours to the file."""
    monkeypatch.setenv("LIMEN_PIPELINE_IMAGE_BYTES_MAX", "5000")
    monkeypatch.setenv("LIMEN_MODELS_MIRROR_DIR", "/other")
    settings = load(config)
    assert (settings.pipeline.threads, settings.pipeline.image_bytes_max) == (3, 5000)
    assert settings.models.mirror_dir == Path("/other")


def test_a_variable_can_name_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIMEN_CONFIG chooses the file when the command line does not."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    assert load().pipeline.threads == 3


def test_the_command_line_names_the_file_last(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config` wins over LIMEN_CONFIG."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "absent.toml"))
    assert load(config).pipeline.threads == 3


@pytest.mark.parametrize("key", [f"{section}.{key}" for section, key, _ in fields()])
def test_every_setting_has_a_variable(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is reachable as LIMEN_SECTION_KEY, underscores and all."""
    section, name = key.split(".")
    usual = "/somewhere" if name.endswith("_dir") else "1024"
    large = VALUES["bytes_max"] if name.endswith("bytes_max") else usual
    value = VALUES.get(key, VALUES.get(name, large))
    if key == "pipeline.precision":  # of the two, the one that is not the default needs a GPU
        monkeypatch.setenv("LIMEN_PIPELINE_DEVICE", "cuda")
    default = getattr(getattr(load(), section), name)
    monkeypatch.setenv(variable(section, name), value)
    found = getattr(getattr(load(), section), name)
    shown = json.dumps(found) if isinstance(found, bool | tuple) else str(found)
    assert shown == value
    assert found != default


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LIMEN_MODELS_MIRROR_DIR=` is not the current folder."""
    monkeypatch.setenv("LIMEN_MODELS_MIRROR_DIR", "")
    assert load().models.mirror_dir is None


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` means the user's home in a file or a variable as it does in a shell."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LIMEN_MODELS_CACHE_DIR", "~/packs")
    assert load().models.cache_dir == Path("/home/ada/packs")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[pipeline]\nthread = 2", "pipeline.thread; did you mean pipeline.threads?"),
        ("[model]\ncache_dir = '/x'", "model; did you mean models?"),
        ("[pipeline]\ncache_dir = '/x'", "pipeline.cache_dir; did you mean"),
    ],
)
def test_an_unknown_key_is_refused(config: Path, text: str, nearest: str) -> None:
    """A misspelt key is named beside the nearest known one."""
    config.write_text(text)
    code, detail = refusal(config)
    assert code is Code.SETTING_UNKNOWN
    assert detail.startswith(nearest)


@pytest.mark.parametrize(
    "name", ["LIMEN_PIPELINE_THREAD", "limen_pipeline_thread", "LIMEN_PIPELIN_THREADS"]
)
def test_an_unknown_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt LIMEN_ variable is an error in either case of letters."""
    monkeypatch.setenv(name, "2")
    assert refusal() == (
        Code.SETTING_UNKNOWN,
        f"{name}; did you mean LIMEN_PIPELINE_THREADS?",
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[pipeline]\nthreads = -1", "pipeline.threads = -1"),
        ("[pipeline]\nthreads = 'many'", "pipeline.threads = 'many'"),
        ("[pipeline]\nthreads = 1000000000000", "pipeline.threads = 1000000000000"),
        ("[pipeline]\nprecision = 'fp16'", "pipeline.precision = 'fp16'"),
        ("[pipeline]\ndevice = 'tpu'", "pipeline.device = 'tpu'"),
        ("[models]\ncache_dir = 7", "models.cache_dir = 7"),
        ("[models]\ncache_dir = '~nobody-here/x'", "models.cache_dir = '~nobody-here/x'"),
        ("models = 'x'", "models is a table"),
    ],
)
def test_a_value_out_of_range_is_refused(config: Path, text: str, place: str) -> None:
    """The error names the setting and the value."""
    config.write_text(text)
    code, detail = refusal(config)
    assert code is Code.SETTING_INVALID
    assert place in detail


@pytest.mark.parametrize("data", [b"[pipeline", b"\xff\xfe", b"# long\n" * 2**18])
def test_an_unreadable_file_is_refused(config: Path, data: bytes) -> None:
    """Broken TOML, other encodings and absurd sizes are one coded error with the path."""
    config.write_bytes(data)
    code, detail = refusal(config)
    assert code is Code.CONFIG_UNREADABLE
    assert str(config) in detail


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """A file that was asked for and is not there is an error, never a silent default."""
    assert refusal(tmp_path / "no.toml")[0] is Code.CONFIG_UNREADABLE


def test_settings_are_frozen() -> None:
    """What was loaded at the start stays so."""
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.pipeline.threads = 1


def test_every_setting_says_its_unit_and_its_meaning() -> None:
    """A name ends in its unit, and its description is a sentence."""
    for section, key, field in fields():
        has_unit = key.endswith(tuple(f"_{unit}" for unit in UNITS))
        assert has_unit or key in WITHOUT_UNIT, f"{section}.{key}"
        assert (field.description or "").endswith("."), f"{section}.{key}"


def test_every_configuration_in_the_tree_loads() -> None:
    """The shipped examples name only settings that exist."""
    configurations = sorted((ROOT / "configs").glob("*.toml"))
    assert configurations
    for path in configurations:
        assert load(path) != Settings(), path
