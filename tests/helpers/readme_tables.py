"""The tables of README.md, written from the code they describe.

    python -m tests.helpers.readme_tables            print every table
    python -m tests.helpers.readme_tables --update   write them into README.md

A table lives between `<!-- name -->` and `<!-- /name -->`; `tests/house/test_docs.py` fails
while README.md and the code disagree.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator

import typer.main

from serve.api.openapi import STREAM_SUMMARY
from serve.api.routes import ROUTES
from serve.cli import app
from serve.domain.liveness.wire import STREAM_PATH
from serve.errors import SENTENCES, STATUSES
from serve.observe.metrics import CATALOG
from serve.settings import fields, variable
from tests.helpers.tree import ROOT

README = ROOT / "README.md"
NOTHING = (None, "", ())  # defaults that read as none
_TARGET = re.compile(r"^(?P<name>[a-z]+):[^#=\n]*## (?P<meaning>.+)$", re.MULTILINE)


def settings() -> str:
    """Variable, default and meaning of every setting."""
    rows = []
    for section, key, field in fields():
        extra = field.json_schema_extra
        words = extra.get("default_in_words") if isinstance(extra, dict) else None
        default = words or ("none" if field.default in NOTHING else f"`{field.default}`")
        rows.append((f"`{variable(section, key)}`", str(default), str(field.description)))
    return _table(("variable", "default", "meaning"), rows)


def errors() -> str:
    """Every code of every package with its sentence, and its status where HTTP answers it."""
    rows = ((f"`{code}`", text, str(STATUSES.get(code, ""))) for code, text in SENTENCES.items())
    return _table(("code", "meaning", "HTTP"), rows)


def routes() -> str:
    """Every route of the front door, with the scope its key needs; streams are the last."""
    rows = [
        (f"`{route.method} {route.path}`", str(route.scope or "session token"), route.summary)
        for route in ROUTES
    ]
    stream = (f"`GET {STREAM_PATH}`", "session token", STREAM_SUMMARY)
    return _table(("route", "scope", "what it does"), [*rows, stream])


def metrics() -> str:
    """Every metric with its labels."""
    rows = (
        (f"`{metric.name}`", metric.kind, ", ".join(metric.labels), metric.meaning)
        for metric in CATALOG
    )
    return _table(("metric", "kind", "labels", "meaning"), rows)


def commands() -> str:
    """Every command of `limen` with the first sentence of its help."""
    rows = ((f"`{name}`", meaning) for name, meaning in _walk("limen", typer.main.get_command(app)))
    return _table(("command", "what it does"), rows)


def targets() -> str:
    """Every target of the Makefile that says what it is for."""
    found = _TARGET.finditer((ROOT / "Makefile").read_text())
    return _table(("target", "what it does"), ((f"`make {m[1]}`", m[2]) for m in found))


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "errors": errors,
    "routes": routes,
    "metrics": metrics,
    "commands": commands,
    "targets": targets,
}


def updated(text: str) -> str:
    """`text` with every marked table rewritten. Fails on a table without its marks."""
    for name, table in TABLES.items():
        opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(opening)
        _, ended, after = rest.partition(closing)
        assert found, f"README.md has no {opening}"
        assert ended, f"README.md has no {closing}"
        text = f"{before}{opening}\n{table()}\n{closing}{after}"
    return text


def _walk(name: str, command: object) -> Iterator[tuple[str, str]]:
    below = getattr(command, "commands", None)  # typer carries its own copy of click's groups
    if below is None:
        yield name, str(getattr(command, "help", "")).strip().split("\n\n")[0].replace("\n", " ")
        return
    for key, child in below.items():
        if not getattr(child, "hidden", False):
            yield from _walk(f"{name} {key}", child)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str]) -> None:
    """Print the tables, or write them into README.md."""
    if arguments == ["--update"]:
        README.write_text(updated(README.read_text()))
    else:
        for name, table in TABLES.items():
            sys.stdout.write(f"## {name}\n\n{table()}\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
