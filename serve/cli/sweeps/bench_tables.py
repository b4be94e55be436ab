"""The report of `limen bench sweep` in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Column, Table

from serve.cli.bench_tables import described_machine, goals_table


def print_sweeps(report: dict[str, Any]) -> None:
    """Each gallery with all who compared it, searches beside a sweep, rings, and the goals."""
    console = Console()
    console.print(described_machine(report))
    console.print(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    console.print(report["command"], markup=False)
    for sweep in report["sweeps"]:
        console.print(_sweep(sweep))
        for whole in sweep["wholes"]:
            console.print(
                f"whole, {_threads(whole['threads'])}: {whole['wall_s']:.2f} s, "
                f"{_millions(whole['pairs_per_s'])} pairs/s, {whole['share_of_gemm']:.0%} of a "
                f"bare product; grew by {whole['grown_bytes'] / 2**20:.0f} MiB"
            )
        console.print(_found(sweep, report["threshold"]))
    if report["live"] is not None:
        console.print(_live(report["live"]))
    console.print(_gpu(report["gpu"]))
    if report["rings"] is not None:
        console.print(_rings(report["rings"]))
    console.print(goals_table(report["goals"]))


def _sweep(sweep: dict[str, Any]) -> Table:
    """By turns: tiles, products of their shape, and rivals over some rows."""
    title = (
        f"{sweep['faces']:,} x {sweep['dimension']} by {sweep['kernel']}: "
        f"{sweep['tiles']} tiles of {sweep['block']:,}, {sweep['found']:,} pairs found"
    )
    table = Table(
        Column("", no_wrap=True), "threads", "million pairs/s", "over a bare product, by CPU time",
        "missed",
        "wrong", title=title,
    )  # fmt: skip
    for each in sweep["tiles_by_turns"]:
        threads = each["threads"]
        share = ""
        if each["name"] == "limen":
            by_wall, by_cpu = (
                sweep[name][str(threads)]
                for name in ("shares_of_gemm", "shares_of_gemm_by_cpu_time")
            )
            share = f"{by_wall:.2f}, {by_cpu:.2f}"
        table.add_row(
            each["name"], str(threads), _millions(each["pairs_per_s"], ""),
            share, "", "",
        )  # fmt: skip
    for each in sweep["peers"]:
        table.add_row(
            each["name"], str(each["threads"]), _millions(each["pairs_per_s"], ""), "",
            str(each["missed_pairs"]), str(each["wrong_pairs"]),
        )  # fmt: skip
    return table


def _found(sweep: dict[str, Any], threshold: float) -> str:
    planted = sweep["planted"]
    text = (
        f"at {threshold}: {planted['mates']['found']} of {planted['mates']['planted']} second "
        f"photos, {planted['above']['found']} of {planted['above']['planted']} pairs a thousandth "
        f"above, {planted['below']['found']} of {planted['below']['planted']} a thousandth below"
    )
    if sweep["checked"]:
        different = sum(each["different"] for each in sweep["checked"])
        counts = {each["threshold"]: each["pairs"] for each in sweep["checked"]}
        told = ", ".join(f"{pairs:,} at {at}" for at, pairs in counts.items())
        text += f"; beside float64 ({told} pairs) {different} differ"
    return text


def _live(live: dict[str, Any]) -> Table:
    sweep = live["sweep"]
    table = Table(
        "", "p50 ms", "p99 ms", "probes",
        title=f"single probes among {live['faces']:,}, {live['probes_per_s']} a second",
    )  # fmt: skip
    beside = (
        f"beside a sweep: {sweep['share']:.0%} of the time, {_threads(sweep['threads'])}, "
        f"{_millions(sweep['pairs_per_s'])} pairs/s"
    )
    for name, found in (("alone", live["alone_ms"]), (beside, live["beside_ms"])):
        searches = str(found["searches"])
        table.add_row(name, f"{found['p50_ms']:.2f}", f"{found['p99_ms']:.2f}", searches)
    table.add_row("over alone", f"{live['p50_ratio']:.2f}", f"{live['p99_ratio']:.2f}", "")
    return table


def _gpu(gpu: dict[str, Any] | str) -> str:
    if isinstance(gpu, str):
        return gpu
    projected = gpu["projected"]
    return (
        f"{gpu['kernel']}: tiles of {gpu['block']:,} x {gpu['dimension']}, "
        f"{_millions(gpu['pairs_per_s'])} pairs/s; {projected['faces']:,} faces would take "
        f"{projected['wall_s_scaled']:.0f} s, if scaled up; the floor is {projected['floor_s']:g} s"
    )


def _rings(rings: dict[str, Any]) -> Table:
    """At each threshold the rings that are told, and what is connected there."""
    title = (
        f"rings among {rings['faces']:,} faces; the largest true one has "
        f"{rings['largest_true_ring']} accounts"
    )
    table = Table(
        "chance ties", "threshold", "rings: largest", "precision", "recall",
        "components: largest", "precision", "recall", title=title,
    )  # fmt: skip
    for each in rings["at"]:
        cells = [
            cell
            for found in (each["limen"], each["components"])
            for cell in (
                f"{found['largest']:,}", f"{found['precision']:.3f}", f"{found['recall']:.3f}"
            )
        ]  # fmt: skip
        table.add_row(f"{each['chance']:g}", f"{each['threshold']:.4f}", *cells)
    return table


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _millions(per_s: int, unit: str = " M") -> str:
    return f"{per_s / 1e6:,.0f}{unit}"
