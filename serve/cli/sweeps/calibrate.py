"""`limen calibrate`: the thresholds that a tenant's own last sweep supports, and following one."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from serve.api.answers import timestamp
from serve.app import open_deps
from serve.cli.options import AsJson, DataDir, print_json, settings_in, write_file
from serve.cli.tenants import find_tenant
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import CalibratedThreshold, faces_needed
from serve.domain.sweeps.sweep import TARGET_FPIR_MAX, TARGET_FPIR_MIN
from serve.errors import Code, ServeError
from serve.flows.sweeps.calibrate import TARGETS, Report, report, set_target
from serve.pictures.calibration import draw_calibration
from serve.ports import Comparator


def calibrate(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    *,
    tenant: Annotated[str, typer.Option(help="Id of the tenant, or its name if unique.")],
    mode: Annotated[Mode, typer.Option(help="The world whose sweep is meant.")] = Mode.LIVE,
    target_fpir: Annotated[
        list[float] | None,
        typer.Option(
            min=TARGET_FPIR_MIN, max=TARGET_FPIR_MAX,
            help="Share of searches that may show a wrong person; repeat it for several.",
        ),
    ] = None,
    follow: Annotated[
        float | None,
        typer.Option(
            "--set", min=TARGET_FPIR_MIN, max=TARGET_FPIR_MAX,
            help="Have the duplicate gate follow this target from now on.",
        ),
    ] = None,
    unset: Annotated[
        bool, typer.Option("--unset", help="Have it keep to the pack's threshold.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of it here, PNG.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Which thresholds a tenant's last sweep supports, by how many searches may be wrong."""
    if follow is not None and unset:
        raise ServeError(Code.FIELD_INVALID, "--set and --unset exclude each other")
    targets = sorted({*(target_fpir or TARGETS), *(() if follow is None else (follow,))})

    async def run() -> tuple[Report, Comparator]:
        settings = settings_in(context, data_dir)
        async with open_deps(settings, with_models=False, with_scale=True) as deps:
            found = await find_tenant(deps, tenant)
            shown = await report(deps, found, mode, targets[::-1])  # before anything is set
            if follow is not None or unset:
                found = await set_target(deps, found.id, mode, follow)
                shown = await report(deps, found, mode, targets[::-1])
            return shown, deps.scale

    shown, scale = asyncio.run(run())
    if plot is not None:
        known = [each for each in shown.thresholds.values() if each is not None]
        picture = draw_calibration(shown.calibration, known, targets, scale.similarity)
        write_file(plot, picture)
    if as_json:
        print_json(_described(shown, scale))
        return
    _print(shown, scale)


def _print(shown: Report, scale: Comparator) -> None:
    table = Table("wrong searches", "similarity", "native", "faces that err", "95 % interval")
    for target, found in shown.thresholds.items():
        if found is not None:
            table.add_row(
                f"{target:g}",
                f"{scale.similarity(found.threshold):.4f}",
                f"{found.threshold:.5f}",
                f"{found.errors:,} of {found.probes:,}",
                f"{found.low:.2g} to {found.high:.2g}",
            )
    if table.row_count:
        Console().print(table)
    for target, found in shown.thresholds.items():
        if found is None:
            typer.echo(f"{target:g}: not enough evidence, {_wanting(shown, target)}")
    made = shown.calibration
    typer.echo(
        f"by sweep {made.sweep_id} of {timestamp(made.made_at_ms)}: {made.probes:,} faces, "
        f"{made.pairs:,} pairs of strangers; it holds below {made.expires_at_size:,} faces"
    )
    typer.echo(
        f"left out as one person: {made.confirmed:,} pairs confirmed, {made.presumed:,} presumed; "
        f"counted as errors though nobody has reviewed them: {made.unreviewed:,}"
    )
    typer.echo(f"duplicates: {_followed(shown, scale)}")


def _wanting(shown: Report, target: float) -> str:
    """What there would have to be."""
    needed = faces_needed(target)
    if needed > shown.calibration.probes:
        return f"{needed:,} faces are needed"
    return "too many are as alike as can be: review them"


def _followed(shown: Report, scale: Comparator) -> str:
    """What the duplicate gate goes by."""
    target = shown.tenant.duplicate_target_fpir
    if target is None:
        return f"from the pack's threshold on, similarity {VERIFY_THRESHOLD_SIMILARITY:g}"
    if shown.followed is None:
        return f"a target of {target:g} is set, without evidence yet: the pack's threshold holds"
    similarity = scale.similarity(shown.followed.threshold)
    return f"from similarity {similarity:.4f} on, for a target of {target:g}"


def _described(shown: Report, scale: Comparator) -> dict[str, Any]:
    made = shown.calibration
    return {
        "tenant_id": made.tenant_id,
        "mode": made.mode.value,
        "model": made.model_id,
        "sweep_id": made.sweep_id,
        "made_at": timestamp(made.made_at_ms),
        "gallery_size": made.gallery_size,
        "expires_at_size": made.expires_at_size,
        "pairs": made.pairs,
        "confirmed": made.confirmed,
        "presumed": made.presumed,
        "unreviewed": made.unreviewed,
        "duplicate_target_fpir": shown.tenant.duplicate_target_fpir,
        "duplicate_threshold": None
        if shown.followed is None
        else scale.similarity(shown.followed.threshold),
        "thresholds": [
            {"target_fpir": target, **_evidence(found, scale)}
            for target, found in shown.thresholds.items()
        ],
    }


def _evidence(found: CalibratedThreshold | None, scale: Comparator) -> dict[str, Any]:
    if found is None:
        return {"threshold": None, "native": None}
    return {
        "threshold": scale.similarity(found.threshold),
        "native": found.threshold,
        "fpir": found.fpir,
        "fpir_low": found.low,
        "fpir_high": found.high,
        "errors": found.errors,
        "probes": found.probes,
    }
