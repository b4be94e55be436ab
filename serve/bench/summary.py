"""What a benchmark's rows amount to: the few ratios worth quoting."""

from collections.abc import Sequence
from typing import Any

from serve.bench.stages import Row


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Ratios of figures from one run, and the best layout by frame; None where not measured."""
    embedding = _best([row for row in rows if row.group == "embedding" and row.name == "limen"])
    dlib = _best([row for row in rows if row.group == "embedding" and row.name == "dlib"])
    summary: dict[str, Any] = {
        "embedding_cpu_ms": _cpu_ms(embedding),
        "dlib_cpu_ms": _cpu_ms(dlib),
        "dlib_over_embedding_cpu": _ratio(dlib, embedding),
    }
    for frame in dict.fromkeys(row.frame for row in rows if row.group == "whole"):
        whole = [row for row in rows if row.group == "whole" and row.frame == frame]
        cheapest = min(whole, key=lambda row: row.timing.cpu_ms)
        fastest = max(whole, key=lambda row: row.timing.images_per_s)
        summary[f"whole_{frame}"] = {
            "cpu_ms": _cpu_ms(cheapest),
            "over_embedding_cpu": _ratio(cheapest, embedding),
            "images_per_s": round(fastest.timing.images_per_s),
            "best_batch": fastest.batch,
            "best_threads": fastest.threads,
        }
    return summary


def _best(rows: Sequence[Row]) -> Row | None:
    return min(rows, key=lambda row: row.timing.cpu_ms, default=None)


def _ratio(above: Row | None, below: Row | None) -> float | None:
    if above is None or below is None:
        return None
    return round(above.timing.cpu_ms / below.timing.cpu_ms, 2)


def _cpu_ms(row: Row | None) -> float | None:
    return None if row is None else round(row.timing.cpu_ms, 3)
