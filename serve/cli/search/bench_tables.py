"""The report of `limen bench index` in a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from serve.cli.bench_tables import described_machine, goals_table


def print_index(report: dict[str, Any]) -> None:
    """Each gallery with all who searched it, the log, and the goals."""
    console = Console()
    console.print(described_machine(report))
    console.print(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    console.print(report["command"], markup=False)
    if (photos := report["photos"]) is not None:
        console.print(
            "{photos} photos of {people} people: two strangers {impostor_mean} "
            "(deviation {impostor_deviation}), one person twice {mate_mean} "
            "({mate_deviation})".format_map(photos)
        )
    for gallery in report["galleries"]:
        console.print(_gallery(gallery, report["writes_per_s"]))
    if report["log"] is not None:
        _print_log(console, report["log"])
    console.print(goals_table(report["goals"]))


def _gallery(gallery: dict[str, Any], writes_per_s: int) -> Table:
    """One thread each; ms of one probe after another, then ms per probe in batches."""
    sizes = [int(size) for size in gallery["probes_per_s_over_raw_faiss"]]
    title = (
        f"{gallery['faces']:,} x {gallery['dimension']}: {gallery['wrong_answers']} wrong of "
        f"{gallery['mates']:,}, {gallery['bytes_per_face_allocated']:.0f} bytes a face"
    )
    table = Table(
        Column("", no_wrap=True), "p50 / p99 ms", f"with {writes_per_s} + {writes_per_s} writes/s",
        *(f"CPU ms, by {size}" for size in sizes), "missed", "build s",
        title=title,
    )  # fmt: skip
    for each in gallery["contenders"]:
        batches = each["per_probe_ms_by_batch"]
        missed = each["missed_mates"]
        table.add_row(
            each["name"],
            _latency(each["single_ms"]) or (each["note"] or ""),
            _latency(each["with_writes_ms"]),
            *(f"{batches[size]['cpu_ms']:.3f}" if size in batches else "" for size in sizes),
            "" if missed is None else str(missed),
            "" if each["build_s"] is None else f"{each['build_s']:.1f}",
        )
    return table


def _latency(found: dict[str, float] | None) -> str:
    return "" if found is None else f"{found['p50_ms']:.2f} / {found['p99_ms']:.2f}"


def _print_log(console: Console, log: dict[str, Any]) -> None:
    console.print(
        f"log of {log['entries']:,} faces: replayed in {log['replay_s']:.2f} s, "
        f"{log['replay_s_per_million_scaled']:.0f} s for a million if scaled up"
    )
    names: Sequence[tuple[str, str]] = (
        ("commit_ms", "a commit, synced"),
        ("visible_ms", "from there to the answer that has the face"),
        ("visible_beside_enrolments_ms",
         f"the same beside {log['enrolments_beside_per_s']:.0f} enrolments/s"),
    )  # fmt: skip
    table = Table("ms", "p50", "p99", "faces")
    for key, name in names:
        found = log[key]
        table.add_row(name, f"{found['p50']:.1f}", f"{found['p99']:.1f}", str(found["faces"]))
    console.print(table)
