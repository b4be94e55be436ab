"""`limen demo`: the story of a session, played against a running server with real faces."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from serve.app import open_cache
from serve.cli.options import AsJson, print_json, settings_of
from serve.demo.credentials import FILE_NAME
from serve.demo.notebook import Kind, Line, Notebook
from serve.demo.stage import demonstrate, take_selfies

EXIT_FAILED = 1
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

    selfies = take_selfies(open_cache(settings), lambda *_: None)
    notes = Notebook(tell)
    asyncio.run(demonstrate(url, path, selfies, notes, wait))
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
