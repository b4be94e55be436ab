"""What several commands share: settings, the store, image files and the `--json` switch."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pipeline.evidence import Pixels
from pipeline.image.decode import decode
from pipeline.image.header import Limits, read_header
from serve.api.intake.body import parse
from serve.api.problem import InputInvalid
from serve.app import open_deps
from serve.bench.frames import default_photo
from serve.deps import Deps
from serve.domain.document import Document
from serve.errors import Code, ServeError
from serve.settings import Settings, replaced

JSON_SWITCH = "--json"
PHOTO_SIDE_PX = 4096  # decode a portrait whole
AsJson = Annotated[bool, typer.Option(JSON_SWITCH, help="Print one JSON document instead.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of records and keys; else that of the settings.")
]
Portrait = Annotated[Path | None, typer.Option(help="A portrait to make the frames from.")]
Picture = Annotated[Path | None, typer.Option(help="Write the figures as a picture here.")]
Outcome = TypeVar("Outcome")
Given = TypeVar("Given", bound=Document)


def settings_of(context: typer.Context) -> Settings:
    """The settings that the root command has loaded."""
    settings = context.find_root().obj
    assert isinstance(settings, Settings)
    return settings


def settings_in(context: typer.Context, data_dir: Path | None) -> Settings:
    """The settings that the root command has loaded; `data_dir` replaces theirs if given."""
    return replaced(settings_of(context), {"state.data_dir": data_dir})


def with_deps(settings: Settings, use: Callable[[Deps], Awaitable[Outcome]]) -> Outcome:
    """What `use` makes of the store of these settings; there are no models.

    Raises as `serve.app.open_deps` does.
    """

    async def run() -> Outcome:
        async with open_deps(settings, with_models=False) as deps:
            return await use(deps)

    return asyncio.run(run())


def parsed(given: Mapping[str, object], model: type[Given]) -> Given:
    """The options that were given, as the document that the HTTP API takes.

    Raises `field_invalid`, which says all that is wrong in one line.
    """
    try:
        return parse(json.dumps(given).encode(), model)
    except InputInvalid as error:
        raise ServeError(Code.FIELD_INVALID, faults_of(error)) from error


def faults_of(error: ServeError) -> str:
    """What is wrong, in one line: the detail of `error`, or every fault that it lists."""
    if not isinstance(error, InputInvalid):
        return error.detail
    return "; ".join(
        f"{fault.get('pointer', '').lstrip('/')}: {fault['detail']}" for fault in error.faults
    )


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def read_image(context: typer.Context, path: Path) -> bytes:
    """The bytes of an image file, read no further than the limit the gate will refuse at.

    Raises `file_unreadable`.
    """
    return read_bounded(path, settings_of(context).pipeline.image_bytes_max)


def read_portrait(context: typer.Context, path: Path | None) -> Pixels:
    """A portrait to measure with, `(H, W, 3)` uint8 RGB; without a path the default one.

    Raises what the gate raises for an image that it refuses, and `file_unreadable`.
    """
    if path is None:
        return default_photo()
    data = read_image(context, path)
    pipeline = settings_of(context).pipeline
    limits = Limits(pipeline.image_bytes_max, pipeline.image_pixels_max)
    return decode(data, read_header(data, limits), PHOTO_SIDE_PX).pixels


def named(image: Path | None) -> str:
    """What a portrait is called in a report."""
    return "default portrait" if image is None else image.name


def read_bounded(path: Path, size_max: int) -> bytes:
    """The first bytes of a file, at most one more than `size_max`. Raises `file_unreadable`."""
    try:
        with path.open("rb") as stream:
            return stream.read(size_max + 1)
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Put a picture or report where the user asked. Raises `file_unwritable`."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error
