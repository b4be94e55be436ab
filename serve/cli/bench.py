"""`limen bench`: measured speed, with what it depends on printed beside it."""

import asyncio
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pipeline.evidence import Pixels
from pipeline.image.decode import decode
from pipeline.image.header import Limits, read_header
from serve.app import OpenedPipeline, open_cache, open_pipeline
from serve.bench.baseline import DlibEmbedder, dlib_embedder
from serve.bench.frames import SIZES_PX, default_photo, make_frame
from serve.bench.front_door import Options, measure
from serve.bench.measure import describe_machine
from serve.bench.schedule import IMAGES_MAX
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
from serve.pictures.front_door import draw_front_door

app = typer.Typer(help="Measure speed on this machine.")
PHOTO_SIDE_PX = 4096  # decode the photo whole
SEED = 1
SHARE_GOAL = 0.85  # of the server's processor seconds, in decoding and models
Portrait = Annotated[Path | None, typer.Option(help="A portrait to make the frames from.")]
Picture = Annotated[Path | None, typer.Option(help="Write the figures as a picture here.")]


@app.callback()
def root() -> None:
    """Measure speed on this machine."""


@app.command()
def pipeline(
    context: typer.Context,
    *,
    image: Portrait = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds behind each median.")] = 3,
    draw: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Time every stage and the whole path by batch and threads, beside dlib in the same run."""
    opened = open_pipeline(settings_of(context))
    photo = _photo(context, image)
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
        "photo": _named(image),
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


@app.command(name="http")
def front_door(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    image: Portrait = None,
    images: Annotated[
        int, typer.Option(min=1, max=IMAGES_MAX, help="Selfies behind each point.")
    ] = 400,
    load: Annotated[
        float, typer.Option(min=0.05, max=2.0, help="Open loop: share of what saturates.")
    ] = 0.5,
    callbacks: Annotated[bool, typer.Option(help="Whether every verdict is called back.")] = True,
    plot: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Time submissions over HTTP, open loop, and what each process of a service spends on them."""
    options = Options(images, load, SEED, with_callbacks=callbacks)
    console = Console(stderr=True)
    points = asyncio.run(
        measure(settings_of(context), _photo(context, image), options, console.print)
    )
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "photo": _named(image),
        "share_goal": SHARE_GOAL,
        "points": [point.encode() for point in points],
    }
    if plot is not None:
        write_file(plot, draw_front_door(points))
    if as_json:
        print_json(report)
    else:
        _print_points(report)


def _photo(context: typer.Context, image: Path | None) -> Pixels:
    if image is None:
        return default_photo()
    data = read_image(context, image)
    pipeline_settings = settings_of(context).pipeline
    limits = Limits(pipeline_settings.image_bytes_max, pipeline_settings.image_pixels_max)
    return decode(data, read_header(data, limits), PHOTO_SIDE_PX).pixels


def _named(image: Path | None) -> str:
    return "default portrait" if image is None else image.name


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
    console.print(f"{_machine(report)}, median of {report['rounds']} rounds")
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


def _print_points(report: dict[str, Any]) -> None:
    console = Console()
    console.print(_machine(report))
    console.print(report["command"], markup=False)
    speed = Table("frame", "loop", "images/s", "p50 / p95 / p99 ms", "errors")
    cpu = Table("frame", "loop", title="CPU ms per image, by process")
    processes = list(
        dict.fromkeys(name for p in report["points"] for name in p["cpu_ms_per_image"])
    )
    for name in (*processes, "in models"):
        cpu.add_column(name)
    for point in report["points"]:
        place = (point["frame"], point["loop"])
        latency = point["latency_ms"] or {}
        errors = ", ".join(f"{count} {name}" for name, count in point["errors"].items())
        spread = " / ".join(f"{latency[name]:.0f}" for name in latency if name != "max")
        speed.add_row(*place, f"{point['images_per_s']:.1f}", spread, errors or "none")
        spent = (point["cpu_ms_per_image"].get(name, 0.0) for name in processes)
        share = point["share_in_decode_and_models"]
        inside = "unknown" if share is None else f"{100 * share:.1f} %"
        cpu.add_row(*place, *(f"{ms:.1f}" for ms in spent), inside)
    console.print(speed)
    console.print(cpu)
    console.print(
        f"goal: {100 * report['share_goal']:.0f} % of all processes' CPU in decode and models; "
        "the generator runs on the same cores and is not counted"
    )


def _machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}"
