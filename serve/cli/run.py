"""`limen run`: the place of the service until it has a front door."""

import typer


def run() -> None:
    """Start the service (not yet: the HTTP front door is still to come)."""
    typer.echo("not yet: the HTTP front door is still to come; see README", err=True)
    raise typer.Exit(1)
