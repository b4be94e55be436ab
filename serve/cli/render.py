"""Evidence in words: what the commands print, as JSON and as tables.

Templates never leave the process here: their model id does, their numbers do not.
"""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipeline.decision.comparison import Comparison
from pipeline.decision.verdict import Recapture, Verdict
from pipeline.errors import Failure
from pipeline.evidence import Age, Detection, FaceEvidence, Missing, PassiveLiveness, Pose, Template
from serve.errors import SENTENCES

Json = dict[str, Any]


def describe_outcome(found: FaceEvidence | Failure) -> Json:
    """One image's evidence, or its error, as JSON-ready values."""
    if isinstance(found, Failure):
        return {"error": describe_failure(found)}
    return {
        "width_px": found.width_px,
        "height_px": found.height_px,
        "format": found.format.value,
        "feedback": [hint.value for hint in found.feedback],
        "faces": [_face(detection) for detection in found.detections],
        "pose": _rounded(found.pose),
        "quality": {
            part.measure.value: {"value": part.value, "native": _number(part.native)}
            for part in found.quality
        },
        "template": {"model_id": found.template.model_id}
        if isinstance(found.template, Template)
        else unavailable(found.template),
        "age": _rounded(found.age),
        "passive_liveness": _liveness(found.passive_liveness),
    }


def describe_failure(failure: Failure) -> Json:
    """A coded error with its sentence."""
    return {
        "code": failure.code.value,
        "message": f"{SENTENCES[failure.code].removesuffix('.')}: {failure.detail}",
    }


def describe_verdict(verdict: Verdict | Recapture) -> Json:
    """A verdict with described reasons; a capture to be repeated has its hints instead."""
    if isinstance(verdict, Recapture):
        return {"outcome": "recapture", "feedback": [hint.value for hint in verdict.feedback]}
    return {
        "outcome": verdict.outcome.value,
        "reasons": [
            {"code": reason.value, "description": reason.description} for reason in verdict.reasons
        ],
    }


def describe_comparison(comparison: Comparison | Missing) -> Json:
    """Similarity and threshold on the mapped scale, the native score beside them."""
    if isinstance(comparison, Missing):
        return unavailable(comparison)
    return {
        "available": True,
        "similarity": round(comparison.similarity, 4),
        "threshold": comparison.threshold,
        "native": round(comparison.native, 4),
        "is_match": comparison.is_match,
    }


def unavailable(missing: Missing) -> Json:
    """What stands in the place of evidence that is not there."""
    return {"available": False, "reason": missing.value}


def evidence_table(title: str, found: FaceEvidence | Failure) -> Table:
    """The same for a person to read."""
    table = Table("what", "found", title=title)
    if isinstance(found, Failure):
        table.add_row("error", describe_failure(found)["message"])
        return table
    table.add_row("image", f"{found.width_px} x {found.height_px} {found.format}")
    table.add_row("feedback", ", ".join(found.feedback))
    for detection in found.detections:
        box = detection.box
        table.add_row(
            "face",
            f"{box.width_px:.0f} px at ({box.left_px:.0f}, {box.top_px:.0f}), "
            f"confidence {detection.confidence:.2f}",
        )
    if isinstance(found.pose, Pose):
        pose = found.pose
        angles = (f"yaw {pose.yaw_deg:+.0f}°", f"pitch {pose.pitch_deg:+.0f}°")
        table.add_row("pose", ", ".join((*angles, f"roll {pose.roll_deg:+.0f}°")))
    for part in found.quality:
        value = "failure to assess" if part.value is None else f"{part.value:3d}"
        table.add_row(f"quality: {part.measure}", value)
    if isinstance(found.age, Age):
        age = found.age
        table.add_row("age", f"{age.years:.0f} years ({age.low_years:.0f} to {age.high_years:.0f})")
    liveness = found.passive_liveness
    table.add_row(
        "passive liveness",
        f"unavailable ({liveness})"
        if isinstance(liveness, Missing)
        else f"{'bona fide' if liveness.is_bona_fide else 'attack'}, score {liveness.score:.3f}",
    )
    return table


def _face(detection: Detection) -> Json:
    box = detection.box
    return {
        "box_px": [round(v, 1) for v in (box.left_px, box.top_px, box.right_px, box.bottom_px)],
        "confidence": round(detection.confidence, 4),
        "keypoints_px": detection.keypoints.round(1).tolist(),
    }


def _liveness(found: PassiveLiveness | Missing) -> Json:
    if isinstance(found, Missing):
        return unavailable(found)
    return {
        "available": True,
        "score": round(found.score, 4),
        "threshold": found.threshold,
        "is_bona_fide": found.is_bona_fide,
    }


def _rounded(found: Pose | Age | Missing) -> Json:
    if isinstance(found, Missing):
        return unavailable(found)
    values: Mapping[str, float] = {
        name: getattr(found, name) for name in found.__dataclass_fields__
    }
    return {"available": True, **{name: round(value, 2) for name, value in values.items()}}


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
