"""Verify 1:1: two photos to evidence, a comparison and a verdict."""

from dataclasses import dataclass

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import Policy
from pipeline.decision.verdict import NOBODY_ELSE, Challenge, Recapture, Verdict, decide
from pipeline.errors import Failure, PipelineError
from pipeline.evidence import FaceEvidence, Missing, Template
from serve.ports import Comparator, Engine


@dataclass(frozen=True, slots=True)
class Verification:
    """What two photos say, each and together."""

    reference: FaceEvidence
    probe: FaceEvidence
    comparison: Comparison | Missing
    verdict: Verdict | Recapture


def verify(
    engine: Engine, scale: Comparator, reference: bytes, probe: bytes, policy: Policy
) -> Verification:
    """Judge `probe` against `reference`, no liveness challenge having been taken.

    Raises what made either image unreadable.
    """
    known, taken = (_evidence(outcome) for outcome in engine.run([reference, probe]))
    comparison: Comparison | Missing = Missing.NO_FACE
    if isinstance(known.template, Template) and isinstance(taken.template, Template):
        comparison = scale.compare(known.template, taken.template)
    # A reference that is not fit may show somebody else: it is compared, but decides nothing.
    usable = comparison if known.is_fit else Missing.NO_FACE
    verdict = decide(taken, usable, Challenge.NOT_TAKEN, policy, NOBODY_ELSE)
    return Verification(known, taken, comparison, verdict)


def _evidence(outcome: FaceEvidence | Failure) -> FaceEvidence:
    if isinstance(outcome, Failure):
        raise PipelineError(outcome.code, outcome.detail)
    return outcome
