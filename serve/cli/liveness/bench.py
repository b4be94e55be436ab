"""`limen bench liveness`: which presentation attacks a challenge stops, and which it does not."""

import os
import shlex
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from pipeline.errors import Failure
from pipeline.evidence import PassiveLiveness
from pipeline.face.steps import SELFIE
from pipeline.liveness.challenge import DRAWS
from pipeline.liveness.judgement import SCORE_MIN
from pipeline.models.load import LIVENESS_PACK, LoadedPack
from serve.app import open_cache, open_pipeline
from serve.bench.liveness.assess import Examiner
from serve.bench.liveness.cast import Actor, cast_of
from serve.bench.liveness.figures import Tally, goals, tallies
from serve.bench.liveness.suite import Suite, run_suite
from serve.bench.measure import describe_machine
from serve.cli.liveness.bench_tables import print_liveness
from serve.cli.options import AsJson, print_json, settings_of, write_file
from serve.cli.photos import Photo, photos_in
from serve.demo.tiles import COLUMNS, ROWS, cut_tile, make_selfie, read_screenshot
from serve.errors import Code, ServeError
from serve.pictures.liveness import draw_liveness
from serve.settings import Settings

SEED = 1
PEOPLE, DRAWS_EACH = 6, 4  # some three minutes on two cores
PEOPLE_MIN = 2  # a splice is of two
NOTE = (
    "Bona fides are rendered from photos and named so: they say nothing about people before "
    "cameras. Recordings of the right challenge are expected to pass without passive detection."
)

Photos = Iterator[tuple[str, bytes]]


def bench_liveness(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photos of people; else tiles of a package.")
    ] = None,
    people: Annotated[
        int, typer.Option(min=PEOPLE_MIN, max=100, help="People who are shown.")
    ] = PEOPLE,
    performances: Annotated[
        int, typer.Option(min=1, max=len(DRAWS), help="Draws that each person performs.")
    ] = len(DRAWS),
    draws: Annotated[
        int,
        typer.Option(min=1, max=len(DRAWS), help="Draws that each attack shows each person on."),
    ] = DRAWS_EACH,
    stills: Annotated[
        Path | None,
        typer.Option(help="Folder of real pictures, of prints too, for passive detection."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="All chance comes of it.")] = SEED,
    picture: Annotated[
        Path | None, typer.Option(help="Write the scores as a picture here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Present attacks made of photos, and rendered performances, to active liveness."""
    started_s = perf_counter()
    settings = settings_of(context)
    opened = open_pipeline(settings)
    cast = _cast(settings, opened.pack, photos, people)
    found = _presented(Suite(cast, performances, draws, seed, os.cpu_count() or 1), opened.pack)
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "models": [entry.id for pack in opened.pack.manifests for entry in pack.models],
        "people": len(cast),
        "performances_each": performances,
        "draws_each": draws,
        "seed": seed,
        "seconds": round(perf_counter() - started_s, 1),
        "threshold": SCORE_MIN,
        "note": NOTE,
        "species": [each.encode() for each in found],
        "passive": None if stills is None else _passive(settings, opened.pack, stills),
        "goals": [goal.encode() for goal in goals(found)],
    }
    if picture is not None:
        write_file(picture, draw_liveness(found))
    if as_json:
        print_json(report)
    else:
        print_liveness(report)


def _presented(suite: Suite, pack: LoadedPack) -> list[Tally]:
    """The whole suite, with a bar that shows how far it has come."""
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("present")
        return tallies(
            run_suite(
                suite,
                Examiner(pack),
                lambda done, total: bars.update(task, completed=done, total=total),
            )
        )


def _cast(settings: Settings, pack: LoadedPack, folder: Path | None, people: int) -> list[Actor]:
    """People of the folder's photos, then of tiles. Raises `file_unreadable`."""
    given = iter(()) if folder is None else _of_folder(settings, folder)
    cast = cast_of(chain(given, _of_tiles(settings)), pack, people)
    if len(cast) < people:
        detail = f"photos of {len(cast)} people look into the camera, {people} are wanted"
        raise ServeError(Code.FILE_UNREADABLE, detail)
    return cast


def _of_folder(settings: Settings, folder: Path) -> Photos:
    found, _ = photos_in(folder, settings.pipeline.image_bytes_max)
    for photo in found:
        if isinstance(photo, Photo):
            yield photo.place, photo.read()


def _of_tiles(settings: Settings) -> Photos:
    """The faces that come with the default models, as a phone would send them."""
    screenshot = read_screenshot(open_cache(settings), lambda *_told: None)
    for row in range(ROWS):
        for column in range(COLUMNS):
            yield f"tile {row} {column}", make_selfie(cut_tile(screenshot, (row, column)))


def _passive(settings: Settings, pack: LoadedPack, folder: Path) -> list[dict[str, object]] | str:
    """What passive detection says of real pictures."""
    if not pack.models.passive_liveness:
        return f"no passive detection: {LIVENESS_PACK} is not installed"
    rows: list[dict[str, object]] = []
    for name, data in _of_folder(settings, folder):
        (evidence,) = pack.faces.run([data], SELFIE)
        found = None if isinstance(evidence, Failure) else evidence.passive_liveness
        if isinstance(found, PassiveLiveness):
            score, is_passed = round(found.score, 4), found.is_bona_fide
            rows.append({"picture": name, "score": score, "passed": is_passed})
        else:
            rows.append({"picture": name, "score": None, "passed": None})
    return rows
