"""`limen index`: who holds the index, whether it says what the log says, and having it rebuilt."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from serve.api.answers import timestamp
from serve.cli.options import AsJson, DataDir, print_json, settings_in, with_deps
from serve.deps import Deps
from serve.domain.ids import PARTITIONS
from serve.flows.search import upkeep
from serve.flows.search.upkeep import Held, Verified

app = typer.Typer(help="The index that faces are searched in; it is made from the log of faces.")
WAIT_S = 15.0  # longer than one that is gone stays on the board
NOBODY = "nobody holds the index: no service runs"
WRONG = {
    upkeep.Fault.TAIL: "the log ends elsewhere than it says",
    upkeep.Fault.MISSING: "faces of customers are not in the log",
    upkeep.Fault.UNKNOWN: "faces in the log are no customer's",
    upkeep.Fault.DIGEST: "a holder has other faces than the log",
    upkeep.Fault.BEHIND: "a holder did not come to the end of the log in time",
}


@app.command()
def status(context: typer.Context, data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """Who holds which part of the index, and how far behind the log."""
    held = with_deps(settings_in(context, data_dir), upkeep.holders)
    if as_json:
        print_json({"holders": [_described(each) for each in held]})
        return
    if not held:
        typer.echo(NOBODY)
        return
    table = Table(Column("holder", overflow="fold"), "parts", "faces", "dead", "MiB", "behind", "")
    for each in held:
        told = each.status
        table.add_row(
            told.name,
            str(len(told.applied)),
            f"{told.live:,}",
            f"{told.dead:,}",
            f"{told.size_bytes / 2**20:.1f}",
            _lag(each),
            "ready" if told.is_ready else f"replayed {told.replayed:,}",
        )
    Console().print(table)


@app.command()
def verify(
    context: typer.Context,
    *,
    wait: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds to wait for holders that are behind.")
    ] = WAIT_S,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Replay the log and compare it with the customers and with every holder of the index; exit
    code 1 on a difference. The service may run.
    """
    with _bar("partitions", PARTITIONS, hidden=as_json) as bar:

        async def carry_out(deps: Deps) -> Verified:
            return await upkeep.verify(deps, wait, bar)

        found = with_deps(settings_in(context, data_dir), carry_out)
    if as_json:
        print_json(_told(found))
    else:
        _print(found)
    raise typer.Exit(1 if found.differences else 0)


@app.command()
def rebuild(
    context: typer.Context,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until every holder has done it.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Have every holder replay the log into a new shard; the old one answers until then."""

    async def carry_out(deps: Deps) -> int:
        wish, names = await upkeep.ask_rebuild(deps)
        if wait:
            with _bar("rebuilt", len(names), hidden=as_json) as bar:
                async for waiting in upkeep.rebuilt(deps, wish, names):
                    bar(len(names) - len(waiting))
        return len(names)

    asked = with_deps(settings_in(context, data_dir), carry_out)
    if as_json:
        print_json({"holders": asked, "rebuilt": wait})
        return
    done = "rebuilt" if wait else "asked to rebuild"
    typer.echo(f"holders {done}: {asked}" if asked else NOBODY)


@app.command()
def scale(
    context: typer.Context,
    shards: Annotated[
        int, typer.Argument(min=0, max=PARTITIONS, help="Shards; 0 for as many as index.shards.")
    ],
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Have a Ray engine cut the index into so many shards; searches go on meanwhile. It holds over
    restarts.
    """
    with_deps(settings_in(context, data_dir), lambda deps: deps.shard_board.ask_shards(shards))
    if as_json:
        print_json({"shards": shards})
        return
    typer.echo(f"asked for {shards} shards" if shards else "as many shards as the settings say")


def _described(held: Held) -> dict[str, Any]:
    told = held.status
    return {
        "name": told.name,
        "host": told.host,
        "pid": told.pid,
        "partitions": sorted(told.applied),
        "faces": told.live,
        "dead": told.dead,
        "bytes": told.size_bytes,
        "galleries": told.galleries,
        "replayed": told.replayed,
        "ready": told.is_ready,
        "partitions_behind": held.behind,
        "behind_ms": held.behind_ms,
        "told_at": timestamp(told.at_ms),
    }


def _lag(held: Held) -> str:
    if not held.behind:
        return "nothing"
    far = "" if held.behind_ms is None else f", {held.behind_ms:,} ms"
    return f"{held.behind} partitions{far}"


def _told(found: Verified) -> dict[str, Any]:
    return {
        "faces": found.faces,
        "customers": found.customers,
        "holders": [{"name": name, "compared": n} for name, n in sorted(found.holders.items())],
        "differences": [
            {
                "partition": each.partition,
                "fault": each.fault.value,
                "faces": each.faces or None,
                "holder": each.holder or None,
            }
            for each in found.differences
        ],
    }


def _print(found: Verified) -> None:
    typer.echo(f"{found.faces:,} faces of {found.customers:,} customers in the log")
    for name, compared in sorted(found.holders.items()):
        typer.echo(f"{name}: {compared} partitions compared")
    if not found.holders:
        typer.echo(NOBODY)
    if not found.differences:
        typer.echo("no difference")
        return
    table = Table("partition", "what is wrong", "faces", "holder")
    for each in found.differences:
        faces = str(each.faces) if each.faces else ""
        table.add_row(f"{each.partition:02d}", WRONG[each.fault], faces, each.holder)
    Console().print(table)


@contextmanager
def _bar(what: str, total: int, *, hidden: bool) -> Iterator[upkeep.Progress]:
    """A bar on stderr, while that is a terminal; what it yields sets it."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    is_hidden = hidden or not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=is_hidden) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
