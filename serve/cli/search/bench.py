"""`limen bench index`: how fast the index searches, what it misses, and how soon it knows."""

import asyncio
import re
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from pipeline.evidence import FaceEvidence, Template
from pipeline.face.steps import Plan
from serve.app import open_pipeline
from serve.bench.measure import describe_machine
from serve.bench.search.gallery import (
    FLOOR,
    LIMIT,
    WRITES_PER_S,
    Gallery,
    Size,
    measure_gallery,
)
from serve.bench.search.goals import goals, over_knn
from serve.bench.search.living import measure_living
from serve.bench.search.rivals import versions
from serve.bench.search.templates import Likeness
from serve.cli.options import AsJson, print_json, settings_of, write_file
from serve.cli.photos import NotEnrolled, photos_in
from serve.cli.search.bench_tables import print_index
from serve.errors import Code, ServeError
from serve.pictures.index import draw_index

SEED = 1
SIZES = ("1000x128", "10000x128", "100000x128", "100000x512")
FULL = "1000000x128"
GRAPH_FACES_MAX = 10_000  # more take minutes to build
FACES_MAX = 10**7
ENTRIES = 20_000
ENTRIES_FULL = 50_000
WATCHED = 300

_SIZE = re.compile(r"([0-9]{1,8})x([0-9]{1,4})")


def bench_index(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    size: Annotated[
        list[str] | None, typer.Option(help=f"FACESxDIMENSION, once for each; else {SIZES}.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help=f"Add {FULL}, graphs over all, a longer log; half an hour."),
    ] = False,
    mates: Annotated[
        int, typer.Option(min=1, max=100_000, help="Known people to look for.")
    ] = 2_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds behind each figure.")] = 3,
    entries: Annotated[
        int | None, typer.Option(min=0, max=10**6, help="Faces of the log to replay; 0 for none.")
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="A folder of photos by person: how alike they are.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the figures as a picture here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time searches beside raw faiss and graph indexes, count missed mates, and follow a log."""
    sizes = [size_of(text, full=full) for text in size or (*SIZES, *([FULL] if full else []))]
    settings = settings_of(context)
    say = Console(stderr=True).print
    likeness = None if faces is None else _likeness(context, faces)
    galleries = [measure_gallery(each, mates, SEED, rounds, say) for each in sizes]
    length = entries if entries is not None else ENTRIES_FULL if full else ENTRIES
    living = asyncio.run(measure_living(settings, length, WATCHED, SEED, say)) if length else None
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "versions": versions(),
        "rounds": rounds,
        "threads": 1,
        "floor": FLOOR,
        "limit": LIMIT,
        "writes_per_s": WRITES_PER_S,
        "photos": None if likeness is None else _rounded(likeness),
        "goals": [goal.encode() for goal in goals(galleries, living)],
        "galleries": [_described(each) for each in galleries],
        "log": None if living is None else living.encode(),
    }
    if plot is not None:
        write_file(plot, draw_index(galleries))
    if as_json:
        print_json(report)
    else:
        print_index(report)


def _described(gallery: Gallery) -> dict[str, Any]:
    ratios = {size: round(ratio, 3) for size, ratio in over_knn(gallery).items()}
    return {**gallery.encode(), "probes_per_s_over_raw_faiss": ratios}


def size_of(text: str, faces_min: int = LIMIT, *, full: bool = False) -> Size:
    """The gallery that `--size` asks for, with graphs where they take no minutes, or `full`.

    Raises typer.BadParameter.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text} is not FACESxDIMENSION", param_hint="--size")
    faces, dimension = map(int, found.groups())
    if not (faces_min <= faces <= FACES_MAX and 32 <= dimension <= 4096):
        raise typer.BadParameter(f"{text} is out of bounds", param_hint="--size")
    return Size(faces, dimension, has_graphs=full or faces <= GRAPH_FACES_MAX)


def _likeness(context: typer.Context, folder: Path) -> Likeness:
    """How alike the faces on real photos are, by the models of this install."""
    opened = open_pipeline(settings_of(context))
    photos, _ = photos_in(folder, opened.limits.size_bytes_max)
    named = [photo for photo in photos if not isinstance(photo, NotEnrolled)]
    found = opened.run([photo.read() for photo in named], Plan(passive_liveness=False, age=False))
    kept = [
        (photo.customer_id, evidence.template.vector)
        for photo, evidence in zip(named, found, strict=True)
        if isinstance(evidence, FaceEvidence) and isinstance(evidence.template, Template)
    ]
    people = [name for name, _ in kept]
    if len(set(people)) in {0, 1, len(people)}:
        why = "photos of two people, and two of one, are the least"
        raise ServeError(Code.FILE_UNREADABLE, f"{folder}: {why}")
    return Likeness.of(people, np.stack([vector for _, vector in kept]))


def _rounded(likeness: Likeness) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(likeness).items()}
