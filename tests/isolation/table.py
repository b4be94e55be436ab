"""What a run has tried, as a table."""

from tests.isolation.oracle import Oracle

COLUMNS = ("own", "across", "apart", "scope", "nobody")
HEADS = ("own 2xx", "across refused", "2xx, apart", "scope 403", "no key or token")


def table(oracle: Oracle) -> str:
    """Counts by route, then in all."""
    rows = [f"{'route':<56}" + "".join(f"{head:>16}" for head in HEADS)]
    for label, cells in sorted(oracle.cells.items()):
        rows.append(f"{label:<56}" + "".join(f"{cells[name] or '-':>16}" for name in COLUMNS))
    steps = ", ".join(
        f"{before} -> {after} {number}"
        for (before, after), number in sorted(oracle.watch.steps.items())
    )
    counts = ", ".join(f"{name} {number}" for name, number in sorted(oracle.counts.items()))
    zeros = ", ".join(
        f"{name} {oracle.counts[name]}" for name in ("across 2xx", "leaks", "undocumented", "5xx")
    )
    looked = f"{oracle.watch.looked} looks at {len(oracle.watch.last)} sessions"
    return "\n".join([*rows, counts, zeros, f"{looked}: {steps}"])
