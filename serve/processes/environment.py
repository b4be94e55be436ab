"""How a supervisor hands its effective settings to its children: as environment variables.

The settings file is read once, by the supervisor: a child never sees a later edit of it.
"""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from serve.errors import Code, ServeError
from serve.inference.cluster.environment import (
    as_in_tutorials,
    make_token,
    of_joined_cluster,
    of_own_cluster,
)
from serve.inference.place import token_file
from serve.observe.metrics import FOLDER_VARIABLE
from serve.settings import (
    CONFIG_VARIABLE,
    ENVIRONMENT_PREFIX,
    EngineKind,
    Settings,
    fields,
    variable,
)

ONE_CORE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by libraries that multiply matrices when they are loaded."""


def environment_for(settings: Settings, metrics_folder: Path) -> dict[str, str]:
    """This process's environment with exactly `settings` in it, for a child."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE
    }
    return {**inherited, **variables(settings), FOLDER_VARIABLE: str(metrics_folder)}


def engine_environment(settings: Settings, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The engine's: how Ray is to behave is read from variables when it is imported.

    A token is made where there is none. Raises `setting_invalid` for a cluster to join without
    one, and `file_unwritable`.
    """
    engine = settings.engine
    if engine.ray_address:
        if engine.ray_token_file is None and not engine.ray_allow_no_token:
            detail = "engine.ray_address needs engine.ray_token_file, the file of its token"
            raise ServeError(Code.SETTING_INVALID, detail)
        return of_joined_cluster(environment, engine.ray_token_file)
    file = token_file(settings.state.data_dir)
    make_token(file)
    own = of_own_cluster(environment, file)
    return as_in_tutorials(own) if engine.kind is EngineKind.NAIVE_SERVE else own


def sweeper_environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The sweeper's: each of its threads multiplies by itself, on one core."""
    return {**environment, **dict.fromkeys(ONE_CORE, "1")}


def variables(settings: Settings) -> Mapping[str, str]:
    """Every setting under its variable's name; those that are unset are left out."""
    values = {
        variable(section, key): getattr(getattr(settings, section), key)
        for section, key, _ in fields()
    }
    return {name: _text(value) for name, value in values.items() if value not in (None, "")}


def _text(value: object) -> str:
    if isinstance(value, StrEnum | Path | str):
        return str(value)
    return json.dumps(value)
