"""`limen sweep`: everybody compared with everybody, here and now, and what came of it as files."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from index.sweep.choose import blas_threads
from serve.api.intake.body import parse
from serve.api.problem import InputInvalid
from serve.api.sweeps.answers import SweepResponse
from serve.api.sweeps.wire import CreateSweepBody
from serve.app import open_deps
from serve.cli.options import AsJson, DataDir, faults_of, print_json, settings_in
from serve.cli.sweeps.files import check_folder, described, write_results
from serve.cli.tenants import find_tenant
from serve.deps import Deps
from serve.domain.audit import OPERATOR
from serve.domain.ids import Mode
from serve.domain.sweeps.sweep import Sweep, SweepRequest, SweepScope, SweepStatus
from serve.domain.tenancy.api_key import Principal, Scope
from serve.errors import Code, ServeError
from serve.flows.sweeps.ask import create_sweep
from serve.flows.sweeps.ask import sweep as one_sweep
from serve.flows.sweeps.work import Sweeper
from serve.flows.transact import new_operation
from serve.processes.sweep import sweeper_kernel, sweeper_options
from serve.sections import SweepDevice
from serve.settings import Settings, replaced

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
SCOPES = frozenset({Scope.SWEEPS})
Tell = Callable[[Sweep], None]


@dataclass(frozen=True, slots=True)
class _Errand:
    """What the options say: whose sweep, a new one or an older, and where its results go."""

    tenant: str
    mode: Mode
    request: SweepRequest
    resume: str | None
    out: Path
    chips: bool
    is_quiet: bool


def sweep(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    *,
    tenant: Annotated[str, typer.Option(help="Id of the tenant, or its name if unique.")],
    out: Annotated[Path, typer.Option(help="Folder for pairs, rings, summary and report.")],
    mode: Annotated[Mode, typer.Option(help="The world whose customers are meant.")] = Mode.LIVE,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least similarity of a pair.")
    ] = None,
    target_fpir: Annotated[
        float | None, typer.Option(help="Share of searches that may show a stranger, instead.")
    ] = None,
    scope: Annotated[
        SweepScope, typer.Option(help="Compare customers with each other, or the blocklist.")
    ] = SweepScope.ENROLLED,
    since: Annotated[
        str | None, typer.Option(help="A done sweep's id or a date-time: only what came later.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="Id of a sweep to go on with, or to write down again.")
    ] = None,
    device: Annotated[
        SweepDevice | None, typer.Option(help="What multiplies; else as the settings say.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Else as the settings say.")
    ] = None,
    chips: Annotated[
        bool, typer.Option("--chips", help="Show the faces of rings in the report, if kept.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find every pair of a tenant's customers who are alike, and the rings they make."""
    given = {"threshold": threshold, "target_fpir": target_fpir, "scope": scope, "since": since}
    asked = {name: value for name, value in given.items() if value is not None}
    if resume is not None and asked != {"scope": SweepScope.ENROLLED}:
        raise ServeError(Code.FIELD_INVALID, "--resume goes on with what was asked for before")
    request = _request(asked)
    settings = replaced(
        settings_in(context, data_dir), {"sweeps.device": device, "sweeps.threads": threads}
    )
    check_folder(out)
    errand = _Errand(tenant, mode, request, resume, out, chips=chips, is_quiet=as_json)
    summary = asyncio.run(_summary(settings, errand))
    if as_json:
        print_json(summary)
    else:
        _print(summary, out)
    raise typer.Exit(0 if summary["sweep"]["status"] == SweepStatus.DONE else EXIT_FAILED)


async def _summary(settings: Settings, errand: _Errand) -> dict[str, Any]:
    """Carry it out, write down what it comes to, and say so."""
    async with open_deps(settings, with_models=False, with_scale=True) as deps:
        found = await find_tenant(deps, errand.tenant)
        principal = Principal(found.id, errand.mode, SCOPES, OPERATOR)
        if errand.resume is None:
            begun = await create_sweep(deps, principal, errand.request, new_operation(deps))
        else:
            begun = await one_sweep(deps, principal, errand.resume)
        ended = await _carried_out(deps, settings, begun, hidden=errand.is_quiet)
        if ended.status is not SweepStatus.DONE:
            return await described(deps, found, ended)
        return await write_results(deps, principal, found, ended.id, errand.out, chips=errand.chips)


def _request(asked: dict[str, Any]) -> SweepRequest:
    """What the options ask for. Raises `field_invalid`."""
    try:
        return parse(json.dumps(asked).encode(), CreateSweepBody).request
    except InputInvalid as error:
        raise ServeError(Code.FIELD_INVALID, faults_of(error)) from error


async def _carried_out(deps: Deps, settings: Settings, begun: Sweep, *, hidden: bool) -> Sweep:
    """The sweep as it ended, worked on here. Cut off, it says how to go on."""
    if begun.status.is_over:
        return begun
    kernel = await asyncio.to_thread(sweeper_kernel, settings)
    sweeper = Sweeper(deps, kernel, sweeper_options(settings))
    try:
        with blas_threads(1), _bar(hidden=hidden) as tell:
            return await sweeper.carry_out(begun, tell)
    except asyncio.CancelledError:
        typer.echo(f"\ninterrupted; go on with --resume {begun.id}", err=True)
        raise


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Tell]:
    """A bar on stderr, while that is a terminal: parts done, pace, time left, pairs found."""
    console = Console(stderr=True)
    columns = (
        TextColumn("sweeping"), BarColumn(), TextColumn("{task.completed}/{task.total} tiles"),
        TextColumn("{task.fields[pace]}"), TimeRemainingColumn(),
        TextColumn("{task.fields[found]:,} found"),
    )  # fmt: skip
    is_hidden = hidden or not console.is_terminal
    with Progress(*columns, console=console, disable=is_hidden) as bar:
        task = bar.add_task("", total=None, pace="", found=0)

        def tell(sweep: Sweep) -> None:
            pace = ""
            if sweep.busy_ms:
                pace = f"{sweep.compared * 1_000 / sweep.busy_ms:,.0f} pairs/s and thread"
            total = sweep.tiles or None
            bar.update(task, completed=sweep.tiles_done, total=total, pace=pace, found=sweep.found)

        yield tell


def _print(summary: dict[str, Any], out: Path) -> None:
    told = SweepResponse.model_validate(summary["sweep"])
    table = Table(show_header=False, box=None)
    rows = {
        "sweep": told.id, "status": told.status.value, "faces": f"{told.faces:,}",
        "customers": f"{told.customers:,}", "pairs compared": f"{told.compared:,}",
        "threshold": "" if told.threshold is None else f"{told.threshold:.4g}",
        "from": "" if told.threshold_source is None else told.threshold_source.value,
        "pairs found": f"{told.found:,}", "rings": f"{told.rings:,}",
        "largest ring": f"{summary['largest_ring']:,}",
    }  # fmt: skip
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    if told.status is SweepStatus.DONE:
        typer.echo(f"written to {out}: {', '.join(summary['files'])}")
    else:
        typer.echo(f"{told.failure or told.status}: {told.detail or 'it came to nothing'}")
