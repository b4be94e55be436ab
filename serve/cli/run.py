"""`limen run`: the whole service on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from serve.cli.options import settings_of
from serve.observe import logs
from serve.processes.service import run_service
from serve.settings import EngineKind, replaced


def run(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of records, keys and metrics.")
    ] = None,
    engine: Annotated[EngineKind | None, typer.Option(help="Where the models run.")] = None,
    workers: Annotated[int | None, typer.Option(help="Front-door processes.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Make a demo tenant; callbacks may go to private addresses."),
    ] = False,
) -> None:
    """Start the service: exit 0 after SIGTERM or Ctrl-C, 1 when a part keeps dying."""
    settings = replaced(
        settings_of(context),
        {
            "server.host": host,
            "server.port": port,
            "state.data_dir": data_dir,
            "engine.kind": engine,
            "server.workers": workers,
            "server.tls_cert": tls_cert,
            "server.tls_key": tls_key,
            "callbacks.allow_private": True if demo else None,
        },
    )
    logs.set_up()
    raise typer.Exit(asyncio.run(run_service(settings, typer.echo, demo=demo)))
