"""`limen inspect IMAGE`: everything the pipeline sees in a photo, in words and as a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.errors import Failure, PipelineError
from pipeline.image.decode import decode
from pipeline.image.header import read_header
from serve.app import open_pipeline
from serve.cli.options import AsJson, print_json, read_image, settings_of, write_file
from serve.cli.render import describe_evidence, evidence_table
from serve.pictures.face import draw_evidence

DRAWN_SIDE_PX = 800  # shorter side at least, where the photo has it


def inspect(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP photo.")],
    *,
    draw: Annotated[
        Path | None, typer.Option(help="Write the photo with boxes, points and quality here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Boxes, points, pose, quality, feedback, age and liveness of one photo."""
    opened = open_pipeline(settings_of(context))
    data = read_image(context, image)
    found = opened.faces.run([data])[0]
    if isinstance(found, Failure):
        raise PipelineError(found.code, found.detail)
    if draw is not None:
        pixels = decode(data, read_header(data, opened.limits), DRAWN_SIDE_PX).pixels
        write_file(draw, draw_evidence(pixels, found))
    if as_json:
        print_json(describe_evidence(found))
    else:
        Console().print(evidence_table({image.name: found}))
