"""What several commands share: settings, image files and the `--json` switch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.errors import Code, ServeError
from serve.settings import Settings

JSON_SWITCH = "--json"
AsJson = Annotated[bool, typer.Option(JSON_SWITCH, help="Print one JSON document instead.")]


def settings_of(context: typer.Context) -> Settings:
    """The settings that the root command has loaded."""
    settings = context.find_root().obj
    assert isinstance(settings, Settings)
    return settings


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def read_image(context: typer.Context, path: Path) -> bytes:
    """The bytes of an image file, read no further than the limit the gate will refuse at.

    Raises `file_unreadable`.
    """
    limit = settings_of(context).pipeline.image_bytes_max
    try:
        with path.open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Put a picture or report where the user asked. Raises `file_unwritable`."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error
