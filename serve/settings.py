"""Every setting, and the only reader of `configs/*.toml` and of the environment.

A setting has one name in three spellings: `models.cache_dir` in prose, `cache_dir` under
`[models]` in a TOML file, `LIMEN_MODELS_CACHE_DIR` in the environment. The environment
overrides the file and the file overrides the defaults below. A name that nobody reads is an
error, because a misspelt limit would otherwise be no limit at all. The README's table is
generated from the sentences here.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_cache_path
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.image.header import DEFAULT_LIMITS
from pipeline.models.load import Detector
from pipeline.models.options import Device, Precision, Runtime
from serve.errors import Code, ServeError
from serve.sections import IndexSection, QuotaSection, Section, StreamSection, SweepsSection

ENVIRONMENT_PREFIX = "LIMEN_"
CONFIG_VARIABLE = "LIMEN_CONFIG"  # names the TOML file; not itself a setting
CONFIG_BYTES_MAX = 2**20


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # `~nobody`: turn it into a refused value
        raise ValueError(str(error)) from error


Directory = Annotated[Path, AfterValidator(_expanded)]


class Models(Section):
    """Where model packs come from and where they are kept."""

    cache_dir: Directory = Field(
        default_factory=lambda: user_cache_path("limen", appauthor=False) / "models",
        json_schema_extra={"default_in_words": "`limen/models` in the user's cache folder"},
    )
    """Folder of downloaded sources and built model packs."""

    mirror_dir: Directory | None = None
    """Folder searched for pinned source files before any registry is asked."""


class Pipeline(Section):
    """How much of the machine a batch may use, and how large an image may be."""

    detector: Detector = Detector.BLAZEFACE
    """Network that finds faces, `blazeface` or `yunet`; the latter's pack must be pulled first."""

    runtime: Runtime = Runtime.ONNXRUNTIME
    """What executes the models, `onnxruntime` or `torch`; the latter comes with `limen[gpu]`."""

    device: Device = Device.CPU
    """Where they are executed, `cpu` or `cuda`; a GPU that cannot be used stops the start."""

    precision: Precision = Precision.FP32
    """Arithmetic of the models, `fp32` or `fp16`; the latter only on a GPU."""

    threads: int = Field(default=0, ge=0, le=1024)
    """Worker threads; 0 means one for each core."""

    image_bytes_max: int = Field(default=DEFAULT_LIMITS.size_bytes_max, ge=2**10, le=2**28)
    """Size of an encoded image, in bytes, above which it is refused unread."""

    image_pixels_max: int = Field(default=DEFAULT_LIMITS.pixels_max, ge=2**10, le=2**26)
    """Width times height, in pixels, above which an image is refused undecoded."""

    @field_validator("precision")
    @classmethod
    def _needs_a_gpu(cls, precision: Precision, info: ValidationInfo) -> Precision:
        if precision is Precision.FP16 and info.data.get("device") is Device.CPU:
            raise ValueError("fp16 needs a GPU: set pipeline.device to cuda")
        return precision


class State(Section):
    """The system of record: an embedded Redis under `data_dir`, or one by URL."""

    data_dir: Directory = Path("var")
    """Folder of everything a single machine keeps: records, keys, metrics; made with mode 0700."""

    redis_url: str = Field(default="", repr=False)  # it may hold a password
    """`redis://` or `rediss://` URL of a Redis 6.2 or newer; empty means the embedded one."""

    keys_dir: Directory | None = None
    """Folder of the install's secrets, the same on every host; unset means `keys` in `data_dir`."""

    replicas_min: int = Field(default=0, ge=0, le=16)
    """Replicas that must hold a change before it is acknowledged (`WAIT`)."""

    replicas_wait_ms: int = Field(default=500, ge=1, le=60_000)
    """Milliseconds to wait for them."""

    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds until an answer of Redis is given up."""

    disk_free_min_bytes: int = Field(default=2**29, ge=0, le=2**50)
    """Bytes to keep free beside the store and its file's next rewrite, or nothing new is begun."""

    memory_share_max: float = Field(default=0.9, gt=0, le=1)
    """Used share of Redis's `maxmemory`, where it has one, above which nothing new is begun."""

    backup_retention_days: int = Field(default=7, ge=1, le=365)
    """Days that backups live; an epoch key is destroyed that long after it was replaced."""


class Server(Section):
    """The public listener."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""

    workers: int = Field(default=1, ge=1, le=256)
    """Front-door processes on that port, each with the models in it while the engine is local."""

    crashes_per_minute_max: int = Field(default=5, ge=0, le=10_000)
    """Times that one part may die within a minute and be started again; then the service ends."""

    tls_cert: Directory | None = None
    """PEM file of the certificate chain; a phone's camera needs https."""

    tls_key: Directory | None = None
    """PEM file of its private key."""

    public_base_url: str = ""
    """URL where phones reach us, for links of tenants without a page; empty gives those none."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is believed."""

    connections_max: int = Field(default=10_000, ge=1, le=10**6)
    """Connections of one front-door process; one more is answered 503 and closed."""

    connections_per_address_max: int = Field(default=1_000, ge=1, le=10**6)
    """Those of them that one address may have; trusted proxies may have them all."""

    head_seconds_max: float = Field(default=20.0, gt=0, le=3_600)
    """Seconds until a request's head must have arrived; a silent connection is kept as long."""

    body_bytes_max: int = Field(default=10 * 2**20, ge=2**16, le=2**28)
    """Bytes of a request body with an image; base64 is 4/3 of the image that it carries."""

    body_seconds_max: float = Field(default=30.0, gt=0, le=600)
    """Seconds until a body must have arrived, and until a client must have taken an answer."""

    inflight_bytes_max: int = Field(default=256 * 2**20, ge=2**20, le=2**36)
    """Bytes of bodies held at once by one front-door process; beyond it the answer is 503."""

    refusals_per_minute_max: int = Field(default=60, ge=1, le=10**6)
    """Unknown keys and tokens one address may try in a minute before it is answered 429."""


class Admin(Section):
    """The listener for operators: `/readyz` and `/metrics`."""

    listen: str = "127.0.0.1:9091"
    """Address and port; an empty value turns it off. Keep it off the public network."""


class EngineKind(StrEnum):
    """Where the models run."""

    RAY = "ray"
    LOCAL = "local"
    NAIVE_SERVE = "naive-serve"


class EngineSection(Section):
    """Where the models run, and how much may wait for them."""

    kind: EngineKind = EngineKind.RAY
    """`ray`: replicas of Ray Serve; `local`: threads in each door; `naive-serve`: a yardstick."""

    ray_address: str = ""
    """`host:port` of a Ray cluster to join; empty starts one on this machine, for it alone."""

    ray_token_file: Directory | None = None
    """File of the cluster's token; unset means one made for this install. Needed to join."""

    ray_allow_no_token: bool = False
    """Whether to join a cluster that asks for no token: whoever reaches it runs code there."""

    ray_file: Directory | None = None
    """Serve file with replicas, resources and autoscaling; unset means `configs/ray/serve.yaml`."""

    fallback: bool = False
    """Whether each front door has models and an index of its own for when Ray cannot be reached."""

    queue_max: int = Field(default=256, ge=1, le=65_536)
    """Images waiting for the models; beyond it the answer is 503."""

    timeout_s: float = Field(default=20.0, gt=0, le=29)
    """Seconds until an image is given up; less than the 30-s lease of a submission."""


class Callbacks(Section):
    """How callbacks leave."""

    allow_private: bool = False
    """Whether callbacks may go to private, loopback and other non-public addresses."""

    allow_http: bool = False
    """Whether callback and redirect URLs may be http outside test mode's loopback."""

    timeout_s: float = Field(default=15.0, gt=0, le=30)
    """Seconds one attempt may take in all; less than the 45-s lease of a callback."""

    inflight_max: int = Field(default=256, ge=1, le=10_000)
    """Attempts under way at once in one worker process; at most 8 of them to one endpoint."""


class JobsSection(Section):
    """Submissions accepted with `Prefer: respond-async`."""

    bytes_max: int = Field(default=2**30, ge=2**26, le=2**40)
    """Bytes of waiting images over all partitions; a 64th of it for each."""


class Settings(BaseSettings):
    """All sections. Take one from `load`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,  # the section is the first word; a key keeps its underscores
        env_ignore_empty=True,  # `LIMEN_MODELS_MIRROR_DIR=` unsets, it does not mean the folder "."
    )

    models: Models = Field(default_factory=Models)
    pipeline: Pipeline = Field(default_factory=Pipeline)
    state: State = Field(default_factory=State)
    server: Server = Field(default_factory=Server)
    admin: Admin = Field(default_factory=Admin)
    engine: EngineSection = Field(default_factory=EngineSection)
    index: IndexSection = Field(default_factory=IndexSection)
    sweeps: SweepsSection = Field(default_factory=SweepsSection)
    callbacks: Callbacks = Field(default_factory=Callbacks)
    jobs: JobsSection = Field(default_factory=JobsSection)
    quota: QuotaSection = Field(default_factory=QuotaSection)
    stream: StreamSection = Field(default_factory=StreamSection)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the signature is the library's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the tables of the file; nothing else is read."""
        return env_settings, init_settings


def load(config: Path | None = None) -> Settings:
    """The settings of this process, from `config` or the file that LIMEN_CONFIG names.

    Raises `config_unreadable`, `setting_unknown` (with the nearest known name) or
    `setting_invalid`.
    """
    if config is None and os.environ.get(CONFIG_VARIABLE):
        config = Path(os.environ[CONFIG_VARIABLE])
    tables = {} if config is None else _read_toml(config)
    _refuse_unknown_keys(tables)
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**tables)
    except ValidationError as error:
        raise ServeError(Code.SETTING_INVALID, _explain(error)) from error


def replaced(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """`settings` with other values, as {"server.port": 0}; None keeps what is there.

    Raises `setting_invalid`.
    """
    tables = settings.model_dump()
    for name, value in values.items():
        section, _, key = name.partition(".")
        if value is not None:
            tables[section][key] = value
    try:
        sections = {
            section: type(getattr(settings, section)).model_validate(table)
            for section, table in tables.items()
        }
    except ValidationError as error:
        raise ServeError(Code.SETTING_INVALID, _explain(error)) from error
    return settings.model_copy(update=sections)


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Every setting as (section, key, field), in the order of this file."""
    for section, table in Settings.model_fields.items():
        assert isinstance(table.annotation, type)
        assert issubclass(table.annotation, Section)
        for key, field in table.annotation.model_fields.items():
            yield section, key, field


def variable(section: str, key: str) -> str:
    """The environment variable that sets `section.key`."""
    return f"{ENVIRONMENT_PREFIX}{section}_{key}".upper()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise ServeError(Code.CONFIG_UNREADABLE, f"{path}: over {CONFIG_BYTES_MAX} bytes")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise ServeError(Code.CONFIG_UNREADABLE, f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ServeError(Code.CONFIG_UNREADABLE, f"{path}: {error}") from error


def _refuse_unknown_keys(tables: dict[str, Any]) -> None:
    known = [f"{section}.{key}" for section, key, _ in fields()]
    for section, table in tables.items():
        if section not in Settings.model_fields:
            raise _unknown(section, Settings.model_fields)
        if not isinstance(table, dict):
            raise ServeError(Code.SETTING_INVALID, f"{section} is a table: write [{section}]")
        for key in table:
            if f"{section}.{key}" not in known:
                raise _unknown(f"{section}.{key}", known)


def _refuse_unknown_variables(names: Iterable[str]) -> None:
    known = [CONFIG_VARIABLE, *(variable(section, key) for section, key, _ in fields())]
    for name in names:
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() not in known:
            raise _unknown(name, known, name.upper())


def _unknown(name: str, known: Iterable[str], meant: str = "") -> ServeError:
    nearest = difflib.get_close_matches(meant or name, list(known), n=1, cutoff=0)
    return ServeError(Code.SETTING_UNKNOWN, f"{name}; did you mean {nearest[0]}?")


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))} = {item['input']!r}: {item['msg']}"
        for item in error.errors()
    )
