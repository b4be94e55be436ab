"""`limen backup` and `limen restore`: one file that holds every record and no key."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.api.answers import timestamp
from serve.app import open_deps
from serve.cli.models import progress_bars
from serve.cli.options import AsJson, DataDir, print_json, settings_in
from serve.domain.audit import Action
from serve.domain.upkeep.backup import Manifest
from serve.errors import Code, ServeError
from serve.flows.audit import operated
from serve.flows.upkeep.returns import erase_returned
from serve.settings import Settings
from serve.store.install import keys_folder
from serve.store.link import open_link
from serve.store.local.archive import Report
from serve.store.local.backup import take_backup
from serve.store.local.places import places
from serve.store.local.restore import check_backup, restoring
from serve.store.vault.keyring import open_keyring

BackupFile = Annotated[Path, typer.Argument(help="The file of the backup.")]


def backup(
    context: typer.Context, file: BackupFile, data_dir: DataDir = None, *, as_json: AsJson = False
) -> None:
    """Write all records to FILE as of one moment; the service may run. Keys are not in it."""
    settings = _embedded(settings_in(context, data_dir))
    with progress_bars() as report:
        manifest = asyncio.run(_take(settings, file, report))
    keys = keys_folder(settings.state)
    if as_json:
        print_json({"file": str(file), "keys_dir": str(keys), **described(manifest)})
        return
    _print(described(manifest))
    typer.echo(f"keep {keys} as well, and elsewhere: without it nobody can read the backup")


def restore(
    context: typer.Context,
    file: BackupFile,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Read and compare, write nothing.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty data folder; whoever was erased since is erased again."""
    settings = _embedded(settings_in(context, data_dir))
    with progress_bars() as report:
        if check:
            found = described(check_backup(settings.state, file, report))
            found["keys"] = "these" if keys_folder(settings.state).exists() else "not here"
        else:
            found = asyncio.run(_restore(settings, file, report))
    if as_json:
        print_json({"file": str(file), **found})
        return
    _print(found)


def described(manifest: Manifest) -> dict[str, Any]:
    """What is told of a backup."""
    return {
        "created_at": timestamp(manifest.created_at_ms),
        "bytes": manifest.rdb_bytes,
        "sha256": manifest.rdb_sha256,
        "epochs": list(manifest.epochs),
        **manifest.counts.model_dump(),
    }


async def _take(settings: Settings, file: Path, report: Report) -> Manifest:
    state = settings.state
    async with open_deps(settings, with_models=False) as deps:
        await operated(deps, Action.BACKUP_TAKEN)
        keyring = await asyncio.to_thread(open_keyring, keys_folder(state), 0, create=False)
        link = open_link(state)
        try:
            return await take_backup(link, keyring, places(state.data_dir), file, report)
        finally:
            await link.aclose()


async def _restore(settings: Settings, file: Path, report: Report) -> dict[str, Any]:
    async with restoring(settings.state, file, report) as done:
        staged = settings.model_copy(update={"state": done.state})
        async with open_deps(staged, with_models=False, supervised=True) as deps:
            await operated(deps, Action.BACKUP_RESTORED)
            erased = await erase_returned(deps)
    return {**described(done.manifest), **done.counts.model_dump(), "erased_again": erased}


def _embedded(settings: Settings) -> Settings:
    if settings.state.redis_url:
        why = "use its snapshots; the next start erases again whoever they bring back"
        raise ServeError(Code.BACKUP_UNSUPPORTED, why)
    return settings


def _print(document: dict[str, Any]) -> None:
    for name, value in document.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{name:14}{shown}")
