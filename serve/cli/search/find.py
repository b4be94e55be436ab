"""`limen search`: who has this face, with an index of the command's own."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY
from serve.api.search.faces import FaceSearchResponse
from serve.app import Replaying, open_deps
from serve.cli.options import AsJson, DataDir, print_json, read_image, settings_in
from serve.cli.tenants import find_tenant
from serve.domain.audit import OPERATOR
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Principal, Scope
from serve.flows.search.find import (
    LIMIT_DEFAULT,
    LIMIT_MAX,
    SearchAnswer,
    SearchRequest,
    search_face,
)

SCOPES = frozenset({Scope.SEARCH, Scope.PII})


def search(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="A photo of one face.")],
    *,
    tenant: Annotated[str, typer.Option(help="Id of the tenant, or its name if unique.")],
    mode: Annotated[Mode, typer.Option(help="The world to search in.")] = Mode.LIVE,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least similarity; 0.36 is a match of two photos.")
    ] = SEARCH_FLOOR_SIMILARITY,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Most to show.")] = LIMIT_DEFAULT,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Who of a tenant's customers has the face in IMAGE; exit code 1 if nobody was found."""
    settings = settings_in(context, data_dir)
    selfie = read_image(context, image)

    async def run() -> SearchAnswer:
        with _bar(hidden=as_json) as bar:
            async with open_deps(settings, replaying=bar) as deps:
                found = await find_tenant(deps, tenant)
                principal = Principal(found.id, mode, SCOPES, OPERATOR)
                request = SearchRequest(selfie, threshold=threshold, limit=limit)
                return await search_face(deps, principal, request)

    answer = asyncio.run(run())
    told = FaceSearchResponse.of(answer)
    if as_json:
        print_json(told.model_dump(mode="json"))
    else:
        _print(told)
    raise typer.Exit(0 if answer.matches else 1)


def _print(answer: FaceSearchResponse) -> None:
    console = Console()
    if answer.matches:
        named = any(match.applicant_name for match in answer.matches)
        columns = "similarity", "", "reference", "status", *(["name"] if named else [])
        table = Table(*(Column(each, no_wrap=True) for each in ("verification", *columns)))
        for match in answer.matches:
            table.add_row(
                match.verification_id,
                f"{match.similarity:.2f}",
                "match" if match.is_match else "alike",
                escape(match.reference or ""),
                match.status.value,
                *([escape(match.applicant_name or "")] if named else []),
            )
        console.print(table)
    found = f"{len(answer.matches)} found" if answer.matches else "nobody found"
    typer.echo(f"{found} among {answer.gallery_size:,} faces, similarity {answer.threshold:g} up")
    if expected := _chance(answer):
        typer.echo(expected)
    if missing := answer.missing_partitions:
        typer.echo(f"not complete: {len(missing)} of the partitions could not be searched")


def _chance(answer: FaceSearchResponse) -> str:
    """What chance brings, as far as anything is known of it."""
    expected, most = answer.expected_false_matches, answer.expected_false_matches_max
    if most is None:
        return ""
    known = "" if expected is None else f"{expected:.2g} expected, "
    return f"false matches by chance: {known}at most {most:.2g} (95 %)"


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Replaying]:
    """A bar on stderr, while that is a terminal, of the log of faces that is read."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    is_hidden = hidden or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=is_hidden) as bars:
        task = bars.add_task("reading the log of faces", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
