"""`limen bench`: measured speed, with what it depends on printed beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.image.decode import decode
from pipeline.image.header import read_header
from serve.app import OpenedPipeline, open_cache, open_pipeline
from serve.bench.baseline import DlibEmbedder, dlib_embedder
from serve.bench.frames import SIZES_PX, default_photo, make_frame
from serve.bench.measure import describe_machine
from serve.bench.stages import (
    BATCHES,
    STAGE_BATCHES,
    Row,
    bench_embedding,
    bench_stages,
    bench_whole,
    prepare,
)
from serve.bench.summary import summarise
from serve.cli.options import AsJson, print_json, read_image, settings_of, write_file
from serve.pictures.bench import draw_bench

app = typer.Typer(help="Measure speed on this machine.")
PHOTO_SIDE_PX = 4096  # decode the photo whole


@app.callback()
def root() -> None:
    """Measure speed on this machine."""


@app.command()
def pipeline(
    context: typer.Context,
    *,
    image: Annotated[Path | None, typer.Option(help="A portrait to make the frames from.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds behind each median.")] = 3,
    draw: Annotated[Path | None, typer.Option(help="Write the figures as a picture here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time every stage and the whole path by batch and threads, beside dlib in the same run."""
    opened = open_pipeline(settings_of(context))
    photo = default_photo()
    if image is not None:
        data = read_image(context, image)
        photo = decode(data, read_header(data, opened.limits), PHOTO_SIDE_PX).pixels
    frames = {name: make_frame(photo, size) for name, size in SIZES_PX.items()}
    cache = open_cache(settings_of(context))
    baseline = dlib_embedder(cache)
    rows: list[Row] = []
    with Progress(console=Console(stderr=True)) as bars:
        # Per frame: the stages at a few batch sizes, and the layouts; then the embedder once.
        task = bars.add_task("measure", total=len(frames) * (len(STAGE_BATCHES) + 1) + 1)
        for step in _measure(opened, frames, baseline, rounds):
            rows += step
            bars.advance(task)
    report = {
        "machine": describe_machine(),
        "photo": "default portrait" if image is None else image.name,
        "rounds": rounds,
        "models": [entry.id for pack in opened.pack.manifests for entry in pack.models],
        "summary": summarise(rows),
        "rows": [row.encode() for row in rows],
    }
    if draw is not None:
        write_file(draw, draw_bench(rows))
    if as_json:
        print_json(report)
    else:
        _print(report, rows)


def _measure(
    opened: OpenedPipeline, frames: dict[str, bytes], baseline: DlibEmbedder | None, rounds: int
) -> Iterator[list[Row]]:
    models = opened.pack.models
    layouts = sorted({(batch, threads) for batch in BATCHES for threads in (1, opened.threads)})
    prepared = {name: prepare(models, data) for name, data in frames.items()}
    for name, data in frames.items():
        for batch in STAGE_BATCHES:
            yield list(bench_stages(models, name, prepared[name], batch, rounds))
        yield list(bench_whole(opened.faces, name, data, layouts, rounds))
    yield list(bench_embedding(models, next(iter(prepared.values())), baseline, rounds))


def _print(report: dict[str, Any], rows: list[Row]) -> None:
    console = Console()
    machine = report["machine"]
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}, "
        f"median of {report['rounds']} rounds"
    )
    table = Table("what", "frame", "batch", "threads", "wall ms", "CPU ms", "images/s")
    for row in rows:
        timing = row.timing
        table.add_row(
            f"{row.group}: {row.name}",
            row.frame,
            str(row.batch),
            str(row.threads),
            f"{timing.wall_ms:.2f}",
            f"{timing.cpu_ms:.2f}",
            f"{timing.images_per_s:.0f}",
        )
    console.print(table)
    for name, value in report["summary"].items():
        console.print(f"{name.replace('_', ' ')}: {value}")
