"""`limen verify REFERENCE PROBE`: do these two photos show one person."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import LivenessPolicy, Policy
from pipeline.decision.verdict import Outcome, Recapture
from serve.app import open_pipeline
from serve.cli.options import AsJson, print_json, read_image, settings_of
from serve.cli.render import (
    describe_comparison,
    describe_evidence,
    describe_verdict,
    evidence_table,
    told_similarity,
)
from serve.flows import verify as flow

EXIT_NOT_APPROVED = 1


def verify(
    context: typer.Context,
    reference: Annotated[Path, typer.Argument(help="Photo of the customer verified before.")],
    probe: Annotated[Path, typer.Argument(help="Photo taken now.")],
    *,
    match_only: Annotated[
        bool, typer.Option("--match-only", help="Approve on the match alone, without liveness.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two photos and judge: exit 0 approved, 1 not approved, 2 refused."""
    opened = open_pipeline(settings_of(context))
    images = (read_image(context, reference), read_image(context, probe))
    policy = Policy(LivenessPolicy.MATCH_ONLY if match_only else LivenessPolicy.REQUIRED)
    found = flow.verify(opened.faces, opened.scale, *images, policy)
    if as_json:
        print_json(
            {
                "reference": describe_evidence(found.reference),
                "probe": describe_evidence(found.probe),
                "comparison": describe_comparison(found.comparison),
                "verdict": describe_verdict(found.verdict),
            }
        )
    else:
        _print(found)
    if isinstance(found.verdict, Recapture) or found.verdict.outcome is not Outcome.APPROVED:
        raise typer.Exit(EXIT_NOT_APPROVED)


def _print(found: flow.Verification) -> None:
    console = Console()
    console.print(evidence_table({"reference": found.reference, "probe": found.probe}))
    comparison, verdict = found.comparison, found.verdict
    if isinstance(comparison, Comparison):
        console.print(
            f"similarity {told_similarity(comparison, 3):.3f}, "
            f"threshold {comparison.threshold:.2f}: "
            f"{'match' if comparison.is_match else 'no match'}"
        )
    if not found.reference.is_fit:
        console.print(f"the reference is not fit: {', '.join(found.reference.feedback)}")
    if isinstance(verdict, Recapture):
        console.print(f"take the photo again: {', '.join(verdict.feedback)}")
        return
    console.print(verdict.outcome.value)
    for reason in verdict.reasons:
        console.print(f"  {reason}: {reason.description}")
