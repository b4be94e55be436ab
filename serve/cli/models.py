"""`limen models`: build, list, verify and pull model packs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.errors import Code, PipelineError
from pipeline.models.build import build_pack, check_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import Recipe, pack_names, read_recipe
from pipeline.models.fetch import Progress as ReportProgress
from pipeline.models.load import DEFAULT_PACK
from pipeline.models.manifest import ModelEntry
from serve.app import open_cache
from serve.cli.options import AsJson, print_json, settings_of

app = typer.Typer(help="Model packs: real weights, built from pinned sources.")
PackName = Annotated[str, typer.Argument(help="Name of the pack; see `limen models list`.")]
Mirror = Annotated[
    Path | None, typer.Option(help="Folder that holds the pinned files, instead of a download.")
]


@app.command()
def build(context: typer.Context, mirror: Mirror = None, *, as_json: AsJson = False) -> None:
    """Build the default pack: download pinned packages, convert, verify, cache."""
    _make(context, read_recipe(DEFAULT_PACK), mirror, as_json=as_json)


@app.command()
def pull(
    context: typer.Context, name: PackName, mirror: Mirror = None, *, as_json: AsJson = False
) -> None:
    """Add a further pack, from its URL at a pinned commit or from a mirror folder."""
    _make(context, read_recipe(name), mirror, as_json=as_json)


@app.command(name="list")
def list_packs(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Every known pack and whether the cache holds it."""
    cache = open_cache(settings_of(context))
    rows = []
    for name in pack_names():
        recipe = read_recipe(name)
        state = pack_state(cache, recipe)
        licences = sorted({model.licence for model in recipe.model})
        rows.append(
            {
                "pack": name,
                "state": state,
                "title": recipe.pack.title,
                "licences": licences,
                "models": [model.id for model in recipe.model],
            }
        )
    if as_json:
        print_json({"cache_dir": str(cache.root), "packs": rows})
        return
    table = Table("pack", "state", "models", "licences", title=str(cache.root))
    for row in rows:
        table.add_row(
            str(row["pack"]),
            str(row["state"]),
            "\n".join(row["models"]),
            ", ".join(row["licences"]),
        )
    Console().print(table)


@app.command()
def verify(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Pack; every pack in the cache if absent.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Hash, load and run every cached model; exit code 2 if one is damaged."""
    cache = open_cache(settings_of(context))
    checked = []
    for pack in [name] if name else _built_packs(context):
        checked += [
            {**_described(entry), "pack": pack, "known_answer_difference": difference}
            for entry, difference in check_pack(read_recipe(pack), cache)
        ]
    if not checked:
        raise PipelineError(Code.PACK_MISSING, f"no pack in {cache.root}")
    if as_json:
        print_json({"models": checked})
        return
    table = Table("pack", "model", "sha256", "known answer")
    for row in checked:
        table.add_row(
            str(row["pack"]),
            str(row["id"]),
            str(row["sha256"])[:16],
            f"within {row['known_answer_difference']:.1e}",
        )
    Console().print(table)


def pack_state(cache: ModelCache, recipe: Recipe) -> str:
    """`built`, or why not: `absent`, `unfinished`, `outdated` or `damaged`."""
    try:
        manifest = cache.read_manifest(recipe.pack.name)
    except PipelineError as error:
        return "absent" if error.code is Code.PACK_MISSING else "damaged"
    if manifest.recipe_digest != recipe.digest:
        return "outdated"
    return "built" if manifest.is_complete else "unfinished"


def _built_packs(context: typer.Context) -> list[str]:
    cache = open_cache(settings_of(context))
    return [name for name in pack_names() if cache.pack_dir(name).is_dir()]


def _make(context: typer.Context, recipe: Recipe, mirror: Path | None, *, as_json: bool) -> None:
    settings = settings_of(context)
    cache = open_cache(settings)
    with progress_bars() as report:
        built = build_pack(recipe, cache, mirror or settings.models.mirror_dir, report)
    rows = [
        {**_described(entry), "made": entry.id in built.made} for entry in built.manifest.models
    ]
    if as_json:
        print_json({"pack": recipe.pack.name, "cache_dir": str(cache.root), "models": rows})
        return
    table = Table("model", "task", "MiB", "licence", "made from", "", title=recipe.pack.title)
    for row in rows:
        table.add_row(
            str(row["id"]),
            str(row["task"]),
            f"{row['size_bytes'] / 2**20:.1f}",
            str(row["licence"]),
            str(row["origin"]),
            "made" if row["made"] else "kept",
        )
    for column in table.columns:
        column.overflow = "fold"
    Console().print(table)
    Console().print(f"in {cache.pack_dir(recipe.pack.name)}")
    if recipe.pack.gallery_size_max is not None:
        people = f"{recipe.pack.gallery_size_max:,}"
        Console().print(f"for evaluation, and for galleries of up to about {people} people")


def _described(entry: ModelEntry) -> dict[str, Any]:
    return entry.model_dump(mode="json")


@contextmanager
def progress_bars() -> Iterator[ReportProgress]:
    """Bars on stderr, one for each download and one for the conversions."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            key = "convert" if what.startswith("convert") else what
            if key not in tasks:
                tasks[key] = bars.add_task(key)
            bars.update(tasks[key], description=what, completed=done, total=total)

        yield report
