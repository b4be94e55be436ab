"""`limen bench stream`: how many streams this machine holds, and what an idle socket costs."""

import asyncio
import resource
import shlex
import sys
from typing import Annotated

import typer
from rich.console import Console

from serve.app import open_pipeline
from serve.bench.measure import describe_machine
from serve.bench.streams.clips import HEIGHT_PX, JPEG_QUALITY, WIDTH_PX
from serve.bench.streams.figures import HELD_MIN, most_held
from serve.bench.streams.goals import goals
from serve.bench.streams.measure import ENGINES, PACES, SOCKETS, Options, measure
from serve.cli.liveness.stream_tables import print_streams
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
from serve.pictures.stream_bench import draw_streams
from serve.settings import EngineKind

SEED = 1


def bench_stream(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    image: Portrait = None,
    engine: Annotated[
        list[EngineKind] | None, typer.Option(help="Once for each to compare; else both.")
    ] = None,
    sockets: Annotated[
        list[int] | None,
        typer.Option(min=1, max=1_000, help=f"Streams at once, once for each; else {SOCKETS}."),
    ] = None,
    pace: Annotated[
        list[float] | None,
        typer.Option(min=1, max=60, help=f"Frames a second, once for each; else {PACES}."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=300, help="Seconds of each point that count.")
    ] = 12.0,
    idle: Annotated[
        int, typer.Option(min=0, max=10_000, help="Sockets that say nothing; 0 for none.")
    ] = 2_000,
    active: Annotated[int, typer.Option(min=0, max=1_000, help="Streams beside them.")] = 50,
    only_idle: Annotated[bool, typer.Option("--only-idle", help="Idle sockets alone.")] = False,
    plot: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Play clips that pass over WebSockets, as phones would, and watch what the service does."""
    options = Options(
        seed=SEED,
        engines=tuple(dict.fromkeys(engine or ENGINES)),
        sockets=() if only_idle else tuple(sorted(set(sockets or SOCKETS))),
        paces=tuple(sorted(set(pace or PACES))),
        seconds=seconds,
        idle=idle,
        active=active,
    )
    _allow_files(options.files)
    settings = settings_of(context)
    say = Console(stderr=True).print
    faces, photo = open_pipeline(settings).faces, read_portrait(context, image)
    points, idles = asyncio.run(measure(settings, faces, photo, options, say))
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "photo": named(image),
        "frame": f"{WIDTH_PX}x{HEIGHT_PX}, quality {JPEG_QUALITY}",
        "seconds": seconds,
        "held_min": HELD_MIN,
        "goals": [goal.encode() for goal in goals(idles)],
        "held": [point.encode() for point in most_held(points)],
        "points": [point.encode() for point in points],
        "idle": [each.encode() for each in idles],
    }
    if plot is not None:
        write_file(plot, draw_streams(points, idles))
    if as_json:
        print_json(report)
    else:
        print_streams(report)


def _allow_files(wanted: int) -> None:
    """Let this process and those that it starts have so many open files, as a socket is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise typer.BadParameter(
            f"that takes {wanted:,} open files in one process, and this system allows {hard:,} "
            "(ulimit -Hn)",
            param_hint="--idle",
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
