"""Evidence in words: what the commands print, as JSON and as tables.

Templates never leave the process here: their model id does, their numbers do not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from pipeline.decision.comparison import Comparison
from pipeline.decision.verdict import Recapture, Verdict
from pipeline.evidence import Age, Detection, FaceEvidence, Missing, PassiveLiveness, Pose, Template
from serve.domain.verifications.told import told_score

Json = dict[str, Any]


def describe_evidence(found: FaceEvidence) -> Json:
    """One image's evidence as JSON-ready values."""
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
        "similarity": told_similarity(comparison, 4),
        "threshold": comparison.threshold,
        "native": round(comparison.native, 4),
        "is_match": comparison.is_match,
    }


def told_similarity(found: Comparison, digits: int) -> float:
    """The similarity to so many digits, on its own side of the threshold."""
    return told_score(found.similarity, found.threshold, is_passed=found.is_match, digits=digits)


def unavailable(missing: Missing) -> Json:
    """What stands in the place of evidence that is not there."""
    return {"available": False, "reason": missing.value}


def evidence_table(found: Mapping[str, FaceEvidence]) -> Table:
    """The same for a person to read: one column for each image, by its name."""
    described = {name: dict(_lines(evidence)) for name, evidence in found.items()}
    labels = dict.fromkeys(label for lines in described.values() for label in lines)
    table = Table("", *described)
    for label in labels:
        table.add_row(label, *(lines.get(label, "") for lines in described.values()))
    return table


def _lines(found: FaceEvidence) -> Iterator[tuple[str, str]]:
    """Label and text of everything that was found."""
    yield "image", f"{found.width_px} x {found.height_px} {found.format}"
    yield "feedback", ", ".join(found.feedback)
    for rank, detection in enumerate(found.detections, start=1):
        box = detection.box
        place = f"{box.width_px:.0f} px at ({box.left_px:.0f}, {box.top_px:.0f})"
        yield f"face {rank}", f"{place}, confidence {detection.confidence:.2f}"
    if isinstance(found.pose, Pose):
        pose = found.pose
        angles = f"yaw {pose.yaw_deg:+.0f}°, pitch {pose.pitch_deg:+.0f}°, "
        yield "pose", angles + f"roll {pose.roll_deg:+.0f}°"
    for part in found.quality:
        value = "failure to assess" if part.value is None else f"{part.value:3d}"
        yield part.measure.replace("_", " "), value
    if isinstance(found.age, Age):
        age = found.age
        yield "age", f"{age.years:.0f} years ({age.low_years:.0f} to {age.high_years:.0f})"
    yield "passive liveness", _liveness_text(found.passive_liveness)


def _liveness_text(found: PassiveLiveness | Missing) -> str:
    if isinstance(found, Missing):
        return f"unavailable ({found})"
    return f"{'bona fide' if found.is_bona_fide else 'attack'}, score {_belief(found, 3):.3f}"


def _belief(found: PassiveLiveness, digits: int) -> float:
    return told_score(found.score, found.threshold, is_passed=found.is_bona_fide, digits=digits)


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
        "score": _belief(found, 4),
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
