"""The report of `limen bench liveness` in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Column, Table

from serve.bench.liveness.figures import RATES
from serve.bench.liveness.species import Class
from serve.cli.bench_tables import described_machine, goals_table

TITLES = {
    Class.BONA_FIDE: "rendered bona fides",
    Class.ATTACK: "attacks, by species",
    Class.RECORDING: "recordings of the right steps: expected to pass",
}
HEADINGS = {
    Class.BONA_FIDE: "BPCER (rendered)",
    Class.ATTACK: "APCER",
    Class.RECORDING: "passing",
}


def print_liveness(report: dict[str, Any]) -> None:
    """A table for each class of presentations, then the goals that were missed."""
    console = Console()
    console.print(described_machine(report))
    console.print(report["command"], markup=False)
    console.print(
        f"{report['people']} people, {report['performances_each']} performances each, "
        f"{report['draws_each']} presentations of each attack; threshold {report['threshold']}, "
        f"{report['seconds']:.0f} s"
    )
    console.print(report["note"])
    for kind in Class:
        console.print(_species(report, kind))
    if report["passive"] is not None:
        console.print(_passive(report["passive"]))
    console.print(goals_table(report["goals"]))


def _species(report: dict[str, Any], kind: Class) -> Table:
    table = Table(
        Column("species", no_wrap=True), "presented", "passed", HEADINGS[kind],
        Column("95 % interval", no_wrap=True), "median score", "most frequent doubt",
        title=TITLES[kind],
    )  # fmt: skip
    for each in report["species"]:
        if each["class"] is not kind:
            continue
        low, high = each["interval_95"]
        doubt = next((f"{name} {count:,}" for name, count in each["doubts"].items()), "")
        table.add_row(
            each["species"], f"{each['presented']:,}", f"{each['passed']:,}",
            f"{each[RATES[kind]]:.3f}", f"{low:.3f}-{high:.3f}", f"{each['median_score']:.2f}",
            doubt,
        )  # fmt: skip
    return table


def _passive(found: list[dict[str, Any]] | str) -> Table | str:
    """Real pictures before passive detection, where there is any."""
    if isinstance(found, str):
        return found
    table = Table("picture", "score", "passed", title="passive detection of real pictures")
    for each in found:
        score = "" if each["score"] is None else f"{each['score']:.3f}"
        table.add_row(each["picture"], score, "" if each["passed"] is None else str(each["passed"]))
    return table
