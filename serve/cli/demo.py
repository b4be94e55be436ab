"""`limen demo`: the story of a session, played against a running server with real faces."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from pipeline.models.cache import write_atomically
from serve.api.sweeps.answers import EdgeResponse, PairResponse, RingResponse, SweepResponse
from serve.app import open_cache, open_pipeline
from serve.cli.options import AsJson, print_json, settings_of
from serve.demo.credentials import FILE_NAME
from serve.demo.crowd import Found
from serve.demo.notebook import Kind, Line, Notebook
from serve.demo.stage import demonstrate, take_troupe
from serve.domain.ids import Mode
from serve.errors import Code, ServeError
from serve.pictures.sweeps.content import Report, bars_of, loose_of
from serve.pictures.sweeps.report import render_report

EXIT_FAILED = 1
REPORT = "demo-report.html"
STYLES = {
    Kind.STEP: "[bold]{text}[/]",
    Kind.NOTE: "[yellow]{text}[/]",
    Kind.MET: "[green]ok[/]      {text}",
    Kind.FAILED: "[bold red]FAILED[/]  {text}: {detail}",
}
SPACE_ABOVE, INDENTED = (1, 0, 0, 0), (0, 0, 0, 2)


def demo(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    *,
    url: Annotated[str, typer.Option(help="Where Limen listens.")] = "http://127.0.0.1:8080",
    data_dir: Annotated[
        Path | None, typer.Option(help=f"The server's data directory, where {FILE_NAME} lies.")
    ] = None,
    credentials: Annotated[
        Path | None, typer.Option(help="Another file of credentials than that one.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help=f"Where to write it; else {REPORT} beside the credentials.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(min=0.1, max=600, help="Seconds to wait for the server, and a callback."),
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Play a customer's and a stranger's sessions; exit 1 if anything is not as expected."""
    settings = settings_of(context)
    path = credentials or (data_dir or settings.state.data_dir) / FILE_NAME
    console = Console(stderr=as_json, highlight=False)
    lines: list[Line] = []

    def tell(line: Line) -> None:
        lines.append(line)
        text = STYLES[line.kind].format(text=escape(line.text), detail=escape(line.detail))
        console.print(Padding(text, SPACE_ABOVE if line.kind is Kind.STEP else INDENTED))

    faces = open_pipeline(settings).pack.faces
    troupe = take_troupe(open_cache(settings), faces, lambda *_: None)
    notes = Notebook(tell)
    found = asyncio.run(demonstrate(url, path, troupe, notes, wait_s=wait))
    if found is not None:
        _write(found, report or path.with_name(REPORT), notes)
    if as_json:
        print_json(
            {
                "met": notes.met,
                "failed": notes.failed,
                "lines": [
                    {"kind": line.kind, "text": line.text, "detail": line.detail} for line in lines
                ],
            }
        )
    else:
        console.print(f"\n{notes.met} expectations met, {notes.failed} failed")
    if notes.failed:
        raise typer.Exit(EXIT_FAILED)


def _write(found: Found, path: Path, notes: Notebook) -> None:
    """The report, of what the API told; scores below the threshold are not among it."""
    pairs = tuple(map(PairResponse.model_validate, found.pairs))
    sweep = SweepResponse.model_validate(found.sweep)
    rings = tuple(map(RingResponse.model_validate, found.rings))
    page = render_report(
        Report(
            tenant="Demonstration",
            mode=Mode.TEST,
            made_at=sweep.ended_at or sweep.created_at,
            sweep=sweep,
            pairs=pairs,
            rings=rings,
            links={ring.id: _links(ring, pairs) for ring in rings},
            loose=loose_of(((pair.customer_a, pair.customer_b) for pair in pairs), rings),
            bars=bars_of((pair.score for pair in pairs), np.empty(0), float),
        )
    )
    try:
        write_atomically(path, page.encode())
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error
    notes.note(f"the report of the sweep is in {path}")


def _links(ring: RingResponse, pairs: Sequence[PairResponse]) -> tuple[EdgeResponse, ...]:
    """The pairs of a ring's members, best first, as many as are its edges."""
    members = set(ring.members)
    best: dict[tuple[str, str], EdgeResponse] = {}
    for pair in pairs:
        one, other = sorted((pair.customer_a, pair.customer_b))
        if {one, other} <= members and (one, other) not in best:
            best[one, other] = EdgeResponse(customer_a=one, customer_b=other, score=pair.score)
    return tuple(best.values())[: ring.strong_edges + ring.weak_edges]
