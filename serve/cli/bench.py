"""`limen bench`: measured speed, with what it depends on printed beside it."""

import asyncio
import shlex
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from serve.app import OpenedPipeline, open_cache, open_pipeline
from serve.bench.baseline import DlibEmbedder, dlib_embedder
from serve.bench.figures import pooled_by_place
from serve.bench.frames import SIZES_PX, make_frame
from serve.bench.front_door import ENGINES, FRAMES, LOADS, Options, measure
from serve.bench.goals import goals
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
from serve.cli.bench_tables import print_front_door, print_stages
from serve.cli.liveness.bench import bench_liveness
from serve.cli.liveness.stream_bench import bench_stream
from serve.cli.options import (
    AsJson,
    Picture,
    Portrait,
    named,
    print_json,
    read_portrait,
    settings_of,
    write_file,
)
from serve.cli.search.bench import bench_index
from serve.cli.sweeps.bench import bench_sweep
from serve.inference.room import BATCH_MAX
from serve.pictures.bench import draw_bench
from serve.pictures.front_door import draw_front_door
from serve.settings import EngineKind

app = typer.Typer(help="Measure speed on this machine.")
app.command(name="index")(bench_index)
app.command(name="sweep")(bench_sweep)
app.command(name="liveness")(bench_liveness)
app.command(name="stream")(bench_stream)
SEED = 1


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
    photo = read_portrait(context, image)
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
        "photo": named(image),
        "rounds": rounds,
        "engine": _engine(opened),
        "models": [entry.id for pack in opened.pack.manifests for entry in pack.models],
        "summary": summarise(rows),
        "rows": [row.encode() for row in rows],
    }
    if draw is not None:
        write_file(draw, draw_bench(rows))
    if as_json:
        print_json(report)
    else:
        print_stages(report, rows)


@app.command(name="http")
def front_door(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    image: Portrait = None,
    engine: Annotated[
        list[EngineKind] | None, typer.Option(help="Once for each to compare; else all.")
    ] = None,
    frame: Annotated[
        list[str] | None, typer.Option(help=f"Once for each, of {', '.join(SIZES_PX)}.")
    ] = None,
    load: Annotated[
        list[float] | None,
        typer.Option(min=0.05, max=4.0, help="Open loop: part of the peak; once for each."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, max=IMAGES_MAX, help="Selfies behind each point of a round.")
    ] = 400,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns of each engine.")] = 2,
    callbacks: Annotated[bool, typer.Option(help="Whether every verdict is called back.")] = True,
    plot: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Time submissions over HTTP, engines by turns, and what each process spends on them."""
    options = Options(
        images=images,
        seed=SEED,
        with_callbacks=callbacks,
        rounds=rounds,
        engines=tuple(dict.fromkeys(engine or ENGINES)),
        frames=tuple(dict.fromkeys(frame or FRAMES)),
        loads=tuple(sorted(set(load or LOADS))),
    )
    if unknown := set(options.frames) - SIZES_PX.keys():
        raise typer.BadParameter(f"no frame is called {min(unknown)}", param_hint="--frame")
    settings = settings_of(context)
    say = Console(stderr=True).print
    points = asyncio.run(measure(settings, read_portrait(context, image), options, say))
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "photo": named(image),
        "rounds": rounds,
        "images": images,
        "batch_max": BATCH_MAX,
        "queue_max": settings.engine.queue_max,
        "goals": [goal.encode() for goal in goals(points)],
        "pooled": [point.encode() for point in pooled_by_place(points)],
        "points": [point.encode() for point in points],
    }
    if plot is not None:
        write_file(plot, draw_front_door(pooled_by_place(points)))
    if as_json:
        print_json(report)
    else:
        print_front_door(report)


def _engine(opened: OpenedPipeline) -> dict[str, str]:
    """What executed the models."""
    options = opened.pack.options
    return {"runtime": options.runtime, "device": options.device, "precision": options.precision}


def _measure(
    opened: OpenedPipeline, frames: dict[str, bytes], baseline: DlibEmbedder | None, rounds: int
) -> Iterator[list[Row]]:
    models = opened.pack.models
    layouts = sorted({(batch, threads) for batch in BATCHES for threads in (1, opened.threads)})
    prepared = {name: prepare(models, data) for name, data in frames.items()}
    for name, data in frames.items():
        for batch in STAGE_BATCHES:
            work = models, name, prepared[name], batch, rounds
            yield list(bench_stages(*work, sizes=opened.pack.batches))
        yield list(bench_whole(opened.faces, name, data, layouts, rounds))
    yield list(bench_embedding(models, next(iter(prepared.values())), baseline, rounds))
