"""The report of `limen bench stream` in a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from serve.cli.bench_tables import described_machine, goals_table

PLACE = ("engine", "sockets", "frames/s each")


def print_streams(report: dict[str, Any]) -> None:
    """What is held at each pace, what a frame costs, what idle sockets cost, and the goals."""
    console = Console()
    console.print(described_machine(report))
    console.print(report["command"], markup=False)
    if report["points"]:
        console.print(_rates(report["points"]))
        console.print(_cost(report["points"]))
    for held in report["held"]:
        console.print(
            f"{held['engine']} holds {held['sockets']} sockets x {held['frames_per_s']:g}/s: "
            f"{held['examined_per_s']:.0f} frames/s looked at, every stream approved"
        )
    if report["idle"]:
        console.print(_idle(report["idle"]))
        console.print(goals_table(report["goals"]))
    console.print(
        f"frames of {report['frame']}; held means {report['held_min']:.0%} of frames looked at and "
        "every stream approved; the phones run on the same cores and are not counted"
    )


def _rates(points: Sequence[dict[str, Any]]) -> Table:
    """Hints are told a few times a second: `hint` is of the frames that one named, `any` of all
    frames to the first hint that covers them.
    """
    table = Table(
        *PLACE, "idle beside", "made/s", "sent/s", "examined/s", "dropped/s", "hint p50 / p99 ms",
        "any p50 / p99", "done p50 / p99", "batch", "streams", "others",
    )  # fmt: skip
    for point in points:
        errors = [f"{count} {name}" for name, count in point["errors"].items()]
        errors += [f"lost: {name}" for name in point["lost"]]
        approved = f"{point['approved']} of {point['streams']} approved"
        table.add_row(
            *_place(point),
            f"{point['idle_sockets']:,}" if point["idle_sockets"] else "",
            f"{point['made_per_s']:.0f}",
            f"{point['sent_per_s']:.0f}",
            f"{point['examined_per_s']:.0f}",
            f"{point['dropped_per_s']:.1f}",
            *(_pair(point[name]) for name in ("hint_ms", "covering_hint_ms", "done_ms")),
            _number(point["mean_batch"], ".1f"),
            ", ".join([approved, *errors]),
            f"{point['others_share_of_machine']:.0%}",
        )
    return table


def _cost(points: Sequence[dict[str, Any]]) -> Table:
    processes = list(dict.fromkeys(name for point in points for name in point["cpu_ms_per_frame"]))
    title = "CPU ms per examined frame, from hello to verdict, by process"
    table = Table(*PLACE, *processes, "all", "in models", title=title)
    for point in points:
        spent = point["cpu_ms_per_frame"]
        share = _number(point["share_in_decode_and_models"], ".1%")
        table.add_row(
            *_place(point),
            *(_number(spent.get(name), ".2f") for name in processes),
            f"{sum(spent.values()):.1f}" if spent else "",
            share or "unknown",
        )
    return table


def _idle(idles: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        "engine", "idle sockets", "opened in s", "KiB each", "KiB each, active ones counted in",
        "kept after closing", title="memory of the front door",
    )  # fmt: skip
    for idle in idles:
        refused = [f"{count} {name}" for name, count in idle["refused"].items()]
        table.add_row(
            idle["engine"],
            ", ".join([f"{idle['open']:,} of {idle['sockets']:,} {idle['state']}", *refused]),
            f"{idle['opened_in_s']:.1f}",
            f"{idle['kib_each']:.1f}",
            _number(idle["kib_each_beside_active"], ".1f"),
            f"{idle['kept_after_closing_kib'] / 1024:.1f} MiB",
        )
    return table


def _place(point: dict[str, Any]) -> tuple[str, str, str]:
    return point["engine"], str(point["sockets"]), f"{point['frames_per_s']:g}"


def _pair(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['p50']:.0f} / {found['p99']:.0f}"


def _number(value: float | None, shape: str) -> str:
    return "" if value is None else format(value, shape)
