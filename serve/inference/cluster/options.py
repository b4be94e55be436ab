"""What one replica is made of, and the Serve file that says how many there are on what."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from pipeline.models.load import Detector
from pipeline.models.options import Device, Precision, Runtime
from serve.errors import Code, ServeError
from serve.inference.dispatch import ENVELOPE_BYTES_MAX, ENVELOPE_ITEMS_MAX, Limits
from serve.inference.loading import PackOptions, pack_options
from serve.inference.room import BATCH_MAX
from serve.settings import Settings

APPLICATION = "limen"
DEPLOYMENT = "Faces"
FILE_BYTES_MAX = 2**20
JOINED_ENVELOPE_BYTES_MAX = (
    3 * 2**20
)  # gRPC's own limit, 4 MiB, may hold in somebody else's cluster
CHOICES = {"detector": Detector, "runtime": Runtime, "device": Device, "precision": Precision}
MAY_BE_ZERO = frozenset({"decoders", "memory_bytes_max"})
NUMBER = (int, float)
SHAPES: dict[str, type | tuple[type, ...]] = {  # what may be said of a deployment, and how
    "num_replicas": int,
    "max_ongoing_requests": int,
    "max_queued_requests": int,
    "graceful_shutdown_timeout_s": NUMBER,
    "health_check_period_s": NUMBER,
    "health_check_timeout_s": NUMBER,
    "placement_group_bundles": list,
    "placement_group_strategy": str,
    "autoscaling_config": dict,
    "autoscaling_config.min_replicas": int,
    "autoscaling_config.max_replicas": int,
    "ray_actor_options": dict,
    "ray_actor_options.num_cpus": NUMBER,
    "ray_actor_options.num_gpus": NUMBER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions(PackOptions):
    """One replica: its pipeline, and how images reach it.

    `slots` batches run at once, of at most `batch_max` images; `decoders` threads decode ahead,
    0 where a slot decodes its own batch. `queue_max` images may wait in the replica.
    """

    slots: int
    decoders: int = 0
    batch_max: int = BATCH_MAX
    queue_max: int = 1024

    @property
    def envelopes(self) -> int:
        """How many are on their way to it: what its slots work on, and as much to go on with."""
        return 2 * self.slots * -(-self.batch_max // ENVELOPE_ITEMS_MAX)

    def overridden(self, args: dict[str, Any]) -> "ReplicaOptions":
        """With the `args` of a Serve file in place of values. Raises `setting_invalid`."""
        for name, value in args.items():
            if not self._admits(name, value):
                raise ServeError(Code.SETTING_INVALID, f"args.{name} = {value!r} of the Serve file")
        made = replace(self, **args)
        if made.precision == Precision.FP16 and made.device == Device.CPU:
            raise ServeError(Code.SETTING_INVALID, "args.precision of the Serve file: needs a GPU")
        return made

    def _admits(self, name: str, value: object) -> bool:
        if name not in {field.name for field in fields(self)}:
            return False
        if name in CHOICES:
            return value in list(CHOICES[name])
        if isinstance(value, int) and value < (name not in MAY_BE_ZERO):
            return False
        return type(value) is type(getattr(self, name))


@dataclass(frozen=True, slots=True)
class Plan:
    """The application of a Serve file: arguments of its replicas, options of its deployment."""

    args: dict[str, Any]
    options: dict[str, Any]

    @property
    def replicas_max(self) -> int:
        """How many replicas there may be."""
        scaling = self.options.get("autoscaling_config") or {}
        return max(1, scaling.get("max_replicas") or self.options.get("num_replicas") or 1)

    @property
    def resources(self) -> dict[str, float]:
        """What the replicas want that are to be there from the beginning, by Ray's names."""
        scaling = self.options.get("autoscaling_config")
        replicas = (
            self.options.get("num_replicas", 1)
            if scaling is None
            else scaling.get("min_replicas", 1)
        )
        wanted = self.options.get("ray_actor_options", {})
        return {
            "CPU": replicas * wanted.get("num_cpus", 1), "GPU": replicas * wanted.get("num_gpus", 0)
        }  # fmt: skip


def limits_of(settings: Settings, options: ReplicaOptions) -> Limits:
    """Of the queue before replicas like this, and of the envelopes on their way to them."""
    bytes_max = JOINED_ENVELOPE_BYTES_MAX if settings.engine.ray_address else ENVELOPE_BYTES_MAX
    return Limits(settings.engine.queue_max, options.envelopes, envelope_bytes_max=bytes_max)


def options_of(settings: Settings, threads: int) -> ReplicaOptions:
    """A replica as the settings want it, on `threads` threads."""
    return ReplicaOptions(**asdict(pack_options(settings)), slots=threads)


def read_plan(path: Path | None) -> Plan:
    """The plan in a Serve file, None for the one that is shipped.

    Raises `config_unreadable` or `setting_invalid`.
    """
    shown = "configs/ray/serve.yaml" if path is None else str(path)
    try:
        shipped = files("configs") / "ray" / "serve.yaml"
        data = shipped.read_bytes() if path is None else path.read_bytes()
        if len(data) > FILE_BYTES_MAX:
            raise ServeError(Code.CONFIG_UNREADABLE, f"{shown}: over {FILE_BYTES_MAX} bytes")
        document = yaml.safe_load(data)
    except OSError as error:
        raise ServeError(Code.CONFIG_UNREADABLE, f"{shown}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ServeError(Code.CONFIG_UNREADABLE, f"{shown}: not YAML") from error
    return _plan(document, shown)


def _plan(document: Any, shown: str) -> Plan:  # noqa: ANN401 (whatever the file holds)
    """The one application called `limen` and its one deployment, checked by name."""
    try:
        (application,) = (a for a in document["applications"] if a["name"] == APPLICATION)
        (deployment,) = (d for d in application["deployments"] if d["name"] == DEPLOYMENT)
        options = {
            name: value
            for name, value in deployment.items()
            if name != "name" and value is not None
        }
        args = dict(application.get("args") or {})
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{shown}: no application {APPLICATION} with a deployment {DEPLOYMENT}"
        raise ServeError(Code.SETTING_INVALID, detail) from error
    for name, value in (*options.items(), *_inner(options)):
        if name not in SHAPES or not isinstance(value, SHAPES[name]):
            raise ServeError(Code.SETTING_INVALID, f"{shown}: {DEPLOYMENT}.{name} = {value!r}")
    return Plan(args, options)


def _inner(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options inside of options that we count with."""
    for name, _, key in (each.partition(".") for each in SHAPES if "." in each):
        inner = options.get(name)
        if isinstance(inner, dict) and key in inner:
            yield f"{name}.{key}", inner[key]
