"""`limen keys`: the master keys and epoch keys of the install, and their rotation while it runs."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from serve.api.answers import timestamp
from serve.cli.options import AsJson, DataDir, print_json, settings_in, with_deps
from serve.deps import Deps
from serve.flows.upkeep.keys import rotate_keys
from serve.settings import Settings
from serve.store.install import keys_folder
from serve.store.vault.keyring import open_keyring
from serve.store.vault.series import DAY_MS, HOUR_MS, Generation

app = typer.Typer(help="Keys of the install: what seals its records and its secrets.")
NOTHING_ASKED = "say which: --master, --epoch, or both"


@app.command(name="list")
def list_keys(context: typer.Context, data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """Every key that exists: since when it seals, and when it is destroyed."""
    _show(settings_in(context, data_dir), as_json=as_json)


@app.command()
def rotate(
    context: typer.Context,
    *,
    master: Annotated[
        bool, typer.Option("--master", help="The key that seals the tenants' signing secrets.")
    ] = False,
    epoch: Annotated[
        bool, typer.Option("--epoch", help="The key that wraps the customers' data keys.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Have new keys take over at once, while the service runs; nothing becomes unreadable."""
    if not (master or epoch):
        raise typer.BadParameter(NOTHING_ASKED)
    settings = settings_in(context, data_dir)

    async def carry_out(deps: Deps) -> None:
        await rotate_keys(deps, master=master, epoch=epoch)

    with_deps(settings, carry_out)
    _show(settings, as_json=as_json)


def _show(settings: Settings, *, as_json: bool) -> None:
    days = settings.state.backup_retention_days
    keyring = open_keyring(keys_folder(settings.state), 0, create=False)
    rows = [_described("master", each, days) for each in keyring.masters]
    rows += [_described("epoch", each, days) for each in keyring.epochs]
    if as_json:
        print_json({"keys": rows})
        return
    table = Table("key", "number", "since", "replaced", "destroyed by")
    for row in rows:
        table.add_row(*(str(value) if value is not None else "" for value in row.values()))
    Console().print(table)


def _described(kind: str, each: Generation, retention_days: int) -> dict[str, Any]:
    replaced_ms = each.replaced_at_ms
    gone_ms = None if replaced_ms is None else replaced_ms + retention_days * DAY_MS + HOUR_MS
    return {
        "kind": kind,
        "number": each.number,
        "began_at": timestamp(each.began_at_ms) if each.began_at_ms else None,
        "replaced_at": None if replaced_ms is None else timestamp(replaced_ms),
        "destroyed_by": None if gone_ms is None else timestamp(gone_ms),
    }
