"""What several commands share: the settings of this run and the `--json` switch."""

from typing import Annotated

import typer

from serve.settings import Settings

JSON_SWITCH = "--json"
AsJson = Annotated[bool, typer.Option(JSON_SWITCH, help="Print one JSON document instead.")]


def settings_of(context: typer.Context) -> Settings:
    """The settings that the root command has loaded."""
    settings = context.find_root().obj
    assert isinstance(settings, Settings)
    return settings
