"""The `limen` command: parse, load the settings, call one verb, render.

Exit codes: 0 done, 1 done with a negative outcome, 2 refused with a coded error.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import serve
from pipeline.errors import PipelineError
from serve.cli import bench, check, demo, enrol, evaluate, inspection, models, run, tenants, verify
from serve.cli.options import JSON_SWITCH
from serve.cli.search import find, index
from serve.cli.sweeps import calibrate, sweep
from serve.cli.upkeep import backup, keys
from serve.errors import SENTENCES, ServeError
from serve.settings import load

EXIT_REFUSED = 2

app = typer.Typer(
    name="limen",
    help="Self-hosted identity verification.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a defect shows Python's own traceback, whole
)

# Every verb, in the order that `limen --help` shows: one line for each module of this folder,
# `app.command()(module.verb)` for one verb, `app.add_typer(module.app, name="noun")` for several.
app.command()(run.run)
app.command()(check.check)
app.add_typer(tenants.app, name="tenant")
app.add_typer(tenants.keys, name="key")
app.add_typer(tenants.secrets, name="secret")
app.command()(tenants.audit)
app.add_typer(keys.app, name="keys")
app.command()(backup.backup)
app.command()(backup.restore)
app.command(name="enroll")(enrol.enroll)
app.command()(find.search)
app.add_typer(index.app, name="index")
app.command()(sweep.sweep)
app.command()(calibrate.calibrate)
app.add_typer(models.app, name="models")
app.command()(verify.verify)
app.command(name="inspect")(inspection.inspect)
app.command()(evaluate.evaluate)
app.add_typer(bench.app, name="bench")
app.command()(demo.demo)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it with the switch)
    if wanted:
        typer.echo(f"limen {serve.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings; else the one LIMEN_CONFIG names.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it, exit."),
    ] = False,
) -> None:
    """Self-hosted identity verification."""
    assert not version  # its callback has left by now
    context.obj = load(config)


def main() -> None:
    """Run the command line; a coded error becomes one line on stderr and exit code 2.

    With `--json` among the arguments the error is a JSON document on stdout instead, where a
    program is already reading. The switch is looked for in the raw arguments, because the
    error may come from before they are parsed.
    """
    try:
        app(prog_name="limen")
    except (PipelineError, ServeError) as error:
        message = f"{SENTENCES[error.code].removesuffix('.')}: {error.detail}"
        if JSON_SWITCH in sys.argv[1:]:
            typer.echo(json.dumps({"error": {"code": error.code, "message": message}}))
        else:
            typer.echo(f"limen: {error.code}: {message}", err=True)
        sys.exit(EXIT_REFUSED)
