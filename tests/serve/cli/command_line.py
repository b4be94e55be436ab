"""The command line in this process: what it prints, how it ends, what it refuses."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pipeline.errors import CodedError
from serve.cli import app


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    exit_code: int
    output: str
    refusal: CodedError | None

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document it printed."""
        found = json.loads(self.output)
        assert isinstance(found, dict)
        return found


def limen(*arguments: str | Path, data_dir: Path | None = None) -> Ran:
    """Run `limen` with these arguments; a coded error is returned, any other is raised."""
    where = () if data_dir is None else ("--data-dir", data_dir)
    done = CliRunner().invoke(app, [*map(str, (*arguments, *where))])
    if done.exception is not None and not isinstance(done.exception, CodedError | SystemExit):
        raise done.exception
    refusal = done.exception if isinstance(done.exception, CodedError) else None
    return Ran(done.exit_code, done.stdout, refusal)
