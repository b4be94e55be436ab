"""What the tenant's last sweep says of thresholds, over HTTP."""

from typing import Self

from aiohttp import web

from serve.api.answers import Timestamp, answered, timestamp
from serve.api.call import Call
from serve.api.sweeps.answers import rounded_up
from serve.api.wire import Empty, SweepId, Wire
from serve.deps import Deps
from serve.domain.sweeps.calibration import CalibratedThreshold
from serve.flows.sweeps import calibrate


class CalibratedResponse(Wire):
    """The threshold for one target. All but the target are null where there is not enough evidence
    for any.
    """

    target_fpir: float
    """The share of searches that may show a wrong person."""
    threshold: float | None
    """The lowest similarity at which they are, with 95 % confidence, no more; rounded up."""
    fpir: float | None
    """The share of this tenant's own faces that a stranger is so like."""
    fpir_min: float | None
    """The interval of it, of 95 %."""
    fpir_max: float | None
    errors: int | None
    """Faces that a stranger is so like."""
    probes: int | None
    """Faces that were looked at."""

    @classmethod
    def of(cls, deps: Deps, target_fpir: float, found: CalibratedThreshold | None) -> Self:
        """`found` on the wire, with the threshold on the mapped scale."""
        if found is None:
            return cls(
                target_fpir=target_fpir, threshold=None, fpir=None, fpir_min=None, fpir_max=None,
                errors=None, probes=None,
            )  # fmt: skip
        return cls(
            target_fpir=target_fpir,
            threshold=rounded_up(deps.scale.similarity(found.threshold)),
            fpir=found.fpir,
            fpir_min=found.low,
            fpir_max=found.high,
            errors=found.errors,
            probes=found.probes,
        )


class CalibrationResponse(Wire):
    """Thresholds by the tenant's own faces: its last done sweep of everybody is the sample of
    strangers.
    """

    sweep_id: SweepId
    model: str
    created_at: Timestamp
    gallery_size: int
    """Faces that were compared with each other."""
    expires_at_size: int
    """From so many faces on the thresholds hold no more: sweep again."""
    pairs: int
    """Pairs of faces of different people, pairs of one person taken off."""
    confirmed_pairs: int
    """Taken off as a reviewer confirmed them."""
    presumed_pairs: int
    """Taken off as a third face, or a second signal, ties both."""
    unreviewed_pairs: int
    """Counted as strangers though they match, as nobody has looked at them."""
    duplicate_target_fpir: float | None
    """The target that the tenant's duplicate gate follows; null where it follows the model's
    threshold.
    """
    thresholds: tuple[CalibratedResponse, ...]
    """For the usual targets, the largest first."""

    @classmethod
    def of(cls, deps: Deps, report: calibrate.Report) -> Self:
        """`report` on the wire."""
        found = report.calibration
        return cls(
            sweep_id=found.sweep_id,
            model=found.model_id,
            created_at=timestamp(found.made_at_ms),
            gallery_size=found.gallery_size,
            expires_at_size=found.expires_at_size,
            pairs=found.pairs,
            confirmed_pairs=found.confirmed,
            presumed_pairs=found.presumed,
            unreviewed_pairs=found.unreviewed,
            duplicate_target_fpir=report.tenant.duplicate_target_fpir,
            thresholds=tuple(
                CalibratedResponse.of(deps, target, threshold)
                for target, threshold in report.thresholds.items()
            ),
        )


async def read_calibration(call: Call[Empty, Empty]) -> web.Response:
    """Tells thresholds by the tenant's own faces."""
    report = await calibrate.read_report(call.deps, call.tenant)
    return answered(CalibrationResponse.of(call.deps, report))
