"""`limen enroll`: reference faces of many customers at once, from a folder or an NDJSON file.

The same photo of the same customer again is the same face: an enrolment that was
cut short is simply started again. What fails is listed with its code and keeps nothing else back.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.errors import PipelineError
from serve.app import open_deps
from serve.cli.options import AsJson, DataDir, print_json, settings_in
from serve.cli.photos import NotEnrolled, Photo, Photos, photos_in
from serve.cli.tenants import find_tenant
from serve.deps import Deps
from serve.domain.audit import OPERATOR
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.verifications.verification import VerificationStatus
from serve.errors import CaptureUnfit, Code, ServeError
from serve.flows.customers import EnrolRequest, enrol
from serve.flows.transact import new_operation

AT_ONCE_MAX = 16
FAILURES_LISTED_MAX = 1_000
FAILURES_SHOWN_MAX = 50

# What makes every further photo fail as well; anything else is one photo's own affair.
ENDS_ALL = frozenset(
    {Code.STATE_UNAVAILABLE, Code.DURABILITY_UNAVAILABLE, Code.KEYS_MISMATCH, Code.KEY_INVALID}
)


class Outcome(StrEnum):
    """What became of a photo."""

    ENROLLED = "enrolled"
    REPEATED = "repeated"  # it had been before
    FAILED = "failed"
    HELD = "held"  # kept and searched for, and not compared with: held for a reviewer, or refused


@dataclass(slots=True)
class Tally:
    """How many photos became what, and the first failures by the number of their photo."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    failures: dict[int, NotEnrolled] = field(default_factory=dict)

    def count(self, number: int, done: Outcome | NotEnrolled) -> None:
        """Photo `number` is done."""
        if isinstance(done, Outcome):
            self.counts[done] += 1
            return
        self.counts[Outcome.FAILED] += 1
        if len(self.failures) < FAILURES_LISTED_MAX:
            self.failures[number] = done

    @property
    def listed(self) -> list[NotEnrolled]:
        """The failures in the order of their photos."""
        return [failure for _, failure in sorted(self.failures.items())]


def enroll(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(metavar="DIR|FILE.ndjson", help="A folder of photos, or NDJSON.")
    ],
    *,
    tenant: Annotated[str, typer.Option(help="Id of the tenant, or its name if unique.")],
    mode: Annotated[Mode, typer.Option(help="The world to enrol in.")] = Mode.LIVE,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Enrol reference faces of many customers; exit code 1 if any photo failed."""
    settings = settings_in(context, data_dir)
    photos, total = photos_in(path, settings.pipeline.image_bytes_max)
    if not total:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: there is nothing in it")

    async def run() -> Tally:
        async with open_deps(settings) as deps:
            found = await find_tenant(deps, tenant)
            principal = Principal(found.id, mode, frozenset({Scope.CUSTOMERS}), OPERATOR)
            at_once = min(AT_ONCE_MAX, settings.engine.queue_max)
            with _progress(total, hidden=as_json) as advance:
                one = partial(_enrol_one, deps, principal)
                return await enrol_all(one, photos, at_once, advance)

    tally = asyncio.run(run())
    _print_tally(tally, as_json=as_json)
    raise typer.Exit(1 if tally.counts[Outcome.FAILED] else 0)


async def enrol_all(
    one: Callable[[Photo], Awaitable[Outcome | NotEnrolled]],
    photos: Photos,
    at_once: int,
    advance: Callable[[], None],
) -> Tally:
    """Enrol every photo with `one`, `at_once` at a time; `advance` is called after each.

    Raises what `one` raises, once those under way have been given up.
    """
    tally, turn = Tally(), asyncio.Lock()
    numbered = enumerate(photos, start=1)

    async def worker() -> None:
        while True:
            async with turn:  # the disk is read in a thread, by one worker at a time
                number, photo = await asyncio.to_thread(next, numbered, (0, None))
            if photo is None:
                return
            tally.count(number, photo if isinstance(photo, NotEnrolled) else await one(photo))
            advance()

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(worker())
    except* ServeError as several:
        raise several.exceptions[0] from None
    return tally


async def _enrol_one(deps: Deps, principal: Principal, photo: Photo) -> Outcome | NotEnrolled:
    try:
        image = await asyncio.to_thread(photo.read)
        request = EnrolRequest(photo.customer_id, image, photo.consent_id, photo.signals)
        answer = await enrol(deps, principal, request, new_operation(deps))
    except (ServeError, PipelineError) as error:
        if error.code in ENDS_ALL:
            raise
        hints = error.feedback if isinstance(error, CaptureUnfit) else ()
        return NotEnrolled(photo.place, error.code, error.detail, hints)
    if answer.is_repeat:
        return Outcome.REPEATED
    is_approved = answer.status is VerificationStatus.APPROVED
    return Outcome.ENROLLED if is_approved else Outcome.HELD


@contextmanager
def _progress(total: int, *, hidden: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr, while that is a terminal; what it yields advances it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
    ) as bar:
        task = bar.add_task("enrolling", total=total)
        yield lambda: bar.advance(task)


def _print_tally(tally: Tally, *, as_json: bool) -> None:
    failed = tally.counts[Outcome.FAILED]
    if as_json:
        counts = {outcome.value: tally.counts[outcome] for outcome in Outcome}
        failures = [asdict(failure) for failure in tally.listed]
        left_out = failed - len(failures)
        print_json({**counts, "failures": failures, "failures_left_out": left_out})
        return
    typer.echo(", ".join(f"{tally.counts[outcome]} {outcome}" for outcome in Outcome))
    if not failed:
        return
    table = Table("photo", "code", "detail", "hints")
    for failure in tally.listed[:FAILURES_SHOWN_MAX]:
        hints = ", ".join(failure.feedback)
        table.add_row(escape(failure.place), failure.code, escape(failure.detail), hints)
    Console().print(table)
    if failed > FAILURES_SHOWN_MAX:
        typer.echo(f"and {failed - FAILURES_SHOWN_MAX} more")
