"""`limen evaluate PAIRS.csv`: error rates on the user's own pairs of photos."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from pipeline.decision.error_rates import Proportion
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import Plan
from serve.app import OpenedPipeline, open_pipeline
from serve.cli.options import AsJson, print_json, settings_of, write_file
from serve.errors import Code, ServeError
from serve.flows.evaluation import evaluate as flow
from serve.flows.evaluation.pairs import PairsError, read_pairs
from serve.pictures.det import draw_det
from serve.settings import Settings

TEMPLATES_ONLY = Plan(template=True, passive_liveness=False, age=False)


def evaluate(  # noqa: PLR0913 (typer makes an option of each)
    context: typer.Context,
    pairs: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns path_a,path_b,same and, optionally, group. Paths are "
            "relative to the file; same is 1/0, true/false or yes/no."
        ),
    ],
    *,
    det: Annotated[Path | None, typer.Option(help="Write the DET plot here; .png or .svg.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Similarity to match at, instead of the usual one."),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of model packs, instead of the one in the settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure false matches, false non-matches and failures to enrol on your own photos."""
    picture_format = _picture_format(det)
    settings = _with_models(settings_of(context), models_dir)
    try:
        listed = read_pairs(pairs)
        opened = open_pipeline(settings)
        system = flow.System(
            _TemplatesOnly(opened),
            opened.scale,
            opened.model_id,
            settings.pipeline.image_bytes_max,
        )
        with _bars() as on_progress:
            report = flow.evaluate(listed, system, on_progress, threshold=threshold)
    except PairsError as error:
        raise ServeError(Code.PAIRS_INVALID, f"{pairs}: {error}") from error
    if det is not None:
        curves = {"all pairs": report.overall.rates}
        curves |= {group: subset.rates for group, subset in report.groups.items()}
        write_file(det, draw_det(curves, report.threshold, picture_format))
    if as_json:
        print_json(flow.as_json(report))
    else:
        _print(report)


@dataclass(frozen=True, slots=True)
class _TemplatesOnly:
    """The pipeline without the evidence that an evaluation does not read."""

    opened: OpenedPipeline

    def run(self, images: Sequence[bytes], /) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each image, in order."""
        return self.opened.run(images, TEMPLATES_ONLY)


def _picture_format(det: Path | None) -> Literal["png", "svg"]:
    """The format that the name asks for; refused now and not after minutes of work."""
    if det is None or det.suffix.lower() == ".png":
        return "png"
    if det.suffix.lower() == ".svg":
        return "svg"
    raise ServeError(Code.FILE_UNWRITABLE, f"{det}: the plot is a .png or a .svg")


def _with_models(settings: Settings, models_dir: Path | None) -> Settings:
    if models_dir is None:
        return settings
    models = settings.models.model_copy(update={"cache_dir": models_dir})
    return settings.model_copy(update={"models": models})


@contextmanager
def _bars() -> Iterator[flow.Progress]:
    """One bar for each stage, on stderr, while that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        stages = {stage: bars.add_task(stage, total=None) for stage in flow.STAGES}

        def report(stage: str, done: int, total: int, /) -> None:
            bars.update(stages[stage], completed=done, total=total)

        yield report


def _print(report: flow.Report) -> None:
    console = Console()
    console.print(_rates_table(report))
    rates = report.overall.rates
    console.print(f"EER {_percent(rates.eer)}   AUC {_plain_number(rates.auc)}")
    if report.groups:
        console.print(_groups_table(report))
    for title, counts in (
        ("Failures to enrol", report.fte.by_reason),
        ("Hints on images that enrolled", report.feedback),
    ):
        if counts:
            listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            console.print(f"{title}: {listed}")
    if report.identical_pairs > 0:
        console.print(
            f"Pairs of byte-identical files, which test nothing: {report.identical_pairs}"
        )
    for title, worst in (
        ("Genuine pairs least alike", report.worst_genuine),
        ("Impostor pairs most alike", report.worst_impostor),
    ):
        if worst:
            console.print(_worst_table(title, worst))
    console.print(flow.NOTE)


def _rates_table(report: flow.Report) -> Table:
    overall = report.overall
    chosen = "chosen on the command line" if report.is_threshold_overridden else "the usual one"
    table = Table(
        "",
        "rate",
        "95 % interval",
        "errors",
        "of",
        title=f"{overall.genuine} genuine and {overall.impostor} impostor pairs, "
        f"{report.model_id}, threshold {report.threshold:g} ({chosen})",
    )
    for name, proportion in (
        ("FMR, false matches", overall.rates.fmr),
        ("FNMR, false non-matches", overall.rates.fnmr),
        ("GFMR, with failures to enrol", overall.rates.gfmr),
        ("GFNMR, with failures to enrol", overall.rates.gfnmr),
        ("FTE, failures to enrol", report.fte.images),
    ):
        table.add_row(
            name,
            _percent(proportion.rate),
            _interval(proportion),
            str(proportion.errors),
            str(proportion.trials),
        )
    return table


def _groups_table(report: flow.Report) -> Table:
    table = Table(title="Groups")
    table.add_column("group", overflow="fold")
    for name in ("genuine", "impostor", "FMR", "FNMR", "EER", "AUC"):
        table.add_column(name)
    for group, subset in report.groups.items():
        rates = subset.rates
        table.add_row(
            escape(group),
            str(subset.genuine),
            str(subset.impostor),
            f"{_percent(rates.fmr.rate)}\n{_interval(rates.fmr)}",
            f"{_percent(rates.fnmr.rate)}\n{_interval(rates.fnmr)}",
            _percent(rates.eer),
            _plain_number(rates.auc),
        )
    return table


def _worst_table(title: str, worst: Sequence[flow.WorstPair]) -> Table:
    table = Table("line", "similarity", title=title)
    for _ in range(2):
        table.add_column("image", overflow="fold")
    for pair in worst:
        table.add_row(
            str(pair.line), f"{pair.similarity:.3f}", _path(pair.path_a), _path(pair.path_b)
        )
    return table


def _path(written: str) -> str:
    """A path as text: no markup, and no control codes for the terminal to obey."""
    return escape(written if written.isprintable() else repr(written))


def _interval(proportion: Proportion) -> str:
    return f"{100.0 * proportion.low:.3g} to {100.0 * proportion.high:.3g} %"


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{100.0 * rate:.3g} %"


def _plain_number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
