"""The reports of `limen bench` in a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from serve.bench.stages import Row

PLACE = ("engine", "frame", "load")


def print_stages(report: dict[str, Any], rows: Sequence[Row]) -> None:
    """What each stage takes, and the figures to remember."""
    console = Console()
    console.print(f"{described_machine(report)}, median of {report['rounds']} rounds")
    console.print("models on {runtime}, {device}, {precision}".format_map(report["engine"]))
    table = Table("what", "frame", "batch", "threads", "wall ms", "CPU ms", "images/s")
    for row in rows:
        timing = row.timing
        table.add_row(
            f"{row.group}: {row.name}",
            row.frame,
            str(row.batch),
            str(row.threads),
            f"{timing.wall_ms:.2f}",
            f"{timing.cpu_ms:.2f}",
            f"{timing.images_per_s:.0f}",
        )
    console.print(table)
    for name, value in report["summary"].items():
        console.print(f"{name.replace('_', ' ')}: {value}")


def print_front_door(report: dict[str, Any]) -> None:
    """How fast each engine answers at each load, who spends the processor, and the goals."""
    console = Console()
    console.print(described_machine(report))
    console.print(report["command"], markup=False)
    console.print(_speed(report["pooled"]))
    console.print(_cost(report["pooled"]))
    console.print(goals_table(report["goals"]))
    console.print(
        f"{report['rounds']} rounds together; the largest batch has {report['batch_max']} images; "
        "the generator runs on the same cores and is not counted"
    )


def _speed(points: Sequence[dict[str, Any]]) -> Table:
    """Images done in a second are those done while requests were arriving; `others` is the part
    of the machine that something else took.
    """
    table = Table(
        *PLACE, "offered/s", "done/s", "p50 / p95 / p99 ms", "batch", "envelope",
        "not approved", "refused, p99 ms", "others",
    )  # fmt: skip
    for point in points:
        latency = point["latency_ms"] or {}
        errors = [f"{count} {name}" for name, count in point["errors"].items()]
        errors += [f"lost: {name}" for name in point["lost"]]
        refused = point["refusals_p99_ms_at_most"]
        table.add_row(
            *_place(point),
            _number(point["offered_per_s"], ".1f"),
            f"{point['images_per_s']:.1f}",
            " / ".join(f"{latency[name]:.0f}" for name in latency if name != "max"),
            _number(point["mean_batch"], ".1f"),
            _number(point["mean_envelope"], ".1f"),
            ", ".join(errors) or "none",
            "" if refused is None else f"at most {refused:g}",
            f"{point['others_share_of_machine']:.0%}",
        )
    return table


def _cost(points: Sequence[dict[str, Any]]) -> Table:
    processes = list(dict.fromkeys(name for point in points for name in point["cpu_ms_per_image"]))
    table = Table(*PLACE, *processes, "in models", title="CPU ms per image, by process")
    for point in points:
        spent = (point["cpu_ms_per_image"].get(name) for name in processes)
        share = _number(point["share_in_decode_and_models"], ".1%")
        table.add_row(*_place(point), *(_number(ms, ".1f") for ms in spent), share or "unknown")
    return table


def goals_table(goals: Sequence[dict[str, Any]]) -> Table:
    """What was wanted, what was found."""
    table = Table("goal", "engine", "frame", "wanted", "median (range)", "", title="goals")
    for goal in goals:
        wanted = f"≤ {goal['at_most']:g}" if "at_most" in goal else f"≥ {goal['at_least']:g}"
        found = f"{goal['median']:.3g} ({goal['lowest']:.3g} to {goal['highest']:.3g})"
        is_met = "met" if goal["met"] else "missed"
        table.add_row(goal["goal"], goal["engine"], goal["frame"], wanted, found, is_met)
    return table


def _place(point: dict[str, Any]) -> tuple[str, str, str]:
    load = "saturated" if point["load"] is None else f"{point['load']:.0%}"
    return point["engine"], point["frame"], load


def _number(value: float | None, shape: str) -> str:
    return "" if value is None else format(value, shape)


def described_machine(report: dict[str, Any]) -> str:
    """Where it was measured, in a line."""
    machine = report["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, commit {machine['commit']}"
