"""How a supervisor hands its effective settings to its children: as environment variables.

The settings file is read once, by the supervisor: a child never sees a later edit of it.
"""

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from serve.observe.metrics import FOLDER_VARIABLE
from serve.settings import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, Settings, fields, variable


def environment_for(settings: Settings, metrics_folder: Path) -> dict[str, str]:
    """This process's environment with exactly `settings` in it, for a child."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE
    }
    return {**inherited, **variables(settings), FOLDER_VARIABLE: str(metrics_folder)}


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
