"""`limen verify REFERENCE PROBE`: do these two photos show one person."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import LivenessPolicy, Policy
from pipeline.decision.verdict import Challenge, Outcome, Recapture, Verdict, decide
from pipeline.errors import Failure, PipelineError
from pipeline.evidence import FaceEvidence, Missing, Template
from pipeline.face.compare import ScoreScale
from serve.app import open_pipeline
from serve.cli.options import AsJson, print_json, read_image, settings_of
from serve.cli.render import (
    describe_comparison,
    describe_outcome,
    describe_verdict,
    evidence_table,
)

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
    images = [read_image(context, path) for path in (reference, probe)]
    found = opened.faces.run(images)
    for outcome in found:
        if isinstance(outcome, Failure):
            raise PipelineError(outcome.code, outcome.detail)
    first, second = (outcome for outcome in found if isinstance(outcome, FaceEvidence))
    comparison = _compare(opened.scale, first, second)
    policy = Policy(LivenessPolicy.MATCH_ONLY if match_only else LivenessPolicy.REQUIRED)
    verdict = decide(second, comparison, Challenge.NOT_TAKEN, policy)
    if as_json:
        print_json(
            {
                "reference": describe_outcome(first),
                "probe": describe_outcome(second),
                "comparison": describe_comparison(comparison),
                "verdict": describe_verdict(verdict),
            }
        )
    else:
        console = Console()
        console.print(evidence_table(str(reference), first))
        console.print(evidence_table(str(probe), second))
        _print(console, comparison, verdict)
    if isinstance(verdict, Recapture) or verdict.outcome is not Outcome.APPROVED:
        raise typer.Exit(EXIT_NOT_APPROVED)


def _compare(
    scale: ScoreScale, reference: FaceEvidence, probe: FaceEvidence
) -> Comparison | Missing:
    if isinstance(reference.template, Template) and isinstance(probe.template, Template):
        return scale.compare(reference.template, probe.template)
    return Missing.NO_FACE


def _print(
    console: Console, comparison: Comparison | Missing, verdict: Verdict | Recapture
) -> None:
    if isinstance(comparison, Comparison):
        console.print(
            f"similarity {comparison.similarity:.3f}, threshold {comparison.threshold:.2f}: "
            f"{'match' if comparison.is_match else 'no match'}"
        )
    if isinstance(verdict, Recapture):
        console.print(f"take the photo again: {', '.join(verdict.feedback)}")
        return
    console.print(verdict.outcome.value)
    for reason in verdict.reasons:
        console.print(f"  {reason}: {reason.description}")
