"""How Ray is told to keep to itself: variables that must stand before it is imported.

Ray runs code for whoever can reach it, and by default it listens on every address, without
authentication, and may write what it is given to the disk. Of a cluster that is ours none of
this is so: it is on the loopback, asks for a token that only this install knows, spills
nothing, and reports to nobody.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import serve
from serve.errors import Code, ServeError

TOKEN_BYTES = 32
TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 (a name)
HOOK = "serve.inference.cluster.hook.keep_to_loopback"
MESSAGE_BYTES_MAX = 2**28  # an image alone may be as large as a body
LOST_S = "5"  # until what cannot reach its head any more gives up

# What holds of every cluster, joined or ours.
_ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Of one envelope, which may be one large image; gRPC itself stops at 4 MiB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MESSAGE_BYTES_MAX),
    # User code, router and replica on one event loop, calls by value over gRPC: half the cost
    # of a call, and no image ever lies in the object store.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",  # no HTTP server in a replica
    "RAY_SERVE_LOG_TO_STDERR": "0",
    # A call after the cluster is lost must not start another one, open to everybody.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": LOST_S,
}
# What holds of one that we start.
_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for "this machine only": loopback
    "RAY_automatic_object_spilling_enabled": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1",
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": HOOK,
}


def of_own_cluster(inherited: Mapping[str, str], token_file: Path) -> dict[str, str]:
    """The environment of a head, driver and replicas of our own: no Ray variable is inherited."""
    kept = {name: value for name, value in inherited.items() if not _is_of_ray(name)}
    return {**kept, **_ALWAYS, **_OWN, **_token(token_file), **_importable(kept)}


def as_in_tutorials(environment: Mapping[str, str]) -> dict[str, str]:
    """As safe, and otherwise as Ray comes: what the naive way is measured with."""
    tuned = {name for name in (*_ALWAYS, *_OWN) if name.startswith("RAY_SERVE_")}
    return {name: value for name, value in environment.items() if name not in tuned}


def of_joined_cluster(inherited: Mapping[str, str], token_file: Path | None) -> dict[str, str]:
    """The environment of a driver of somebody else's cluster; without a token file its own
    variables say what token there is.
    """
    return {**inherited, **_ALWAYS, **({} if token_file is None else _token(token_file))}


def make_token(file: Path) -> None:
    """A random token in `file`, mode 0600, unless it is there. Raises `file_unwritable`."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{file}: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(TOKEN_BYTES))


def _token(file: Path) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", TOKEN_PATH_VARIABLE: str(file)}


def _importable(environment: Mapping[str, str]) -> dict[str, str]:
    """Replicas import this package wherever it is imported from here."""
    root = str(Path(serve.__file__).parents[1])
    others = environment.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [root, others]))}


def _is_of_ray(name: str) -> bool:
    return name.upper().lstrip("_").startswith("RAY_")
