"""Valid values by default; a test overrides the one field it is about."""

from typing import Any

import numpy as np

from pipeline.evidence import FaceEvidence, Feedback, ImageFormat, Missing, Trace


def face_evidence(**overrides: Any) -> FaceEvidence:
    """Evidence of a fit image of which nothing optional was asked."""
    fields: dict[str, Any] = {
        "width_px": 640,
        "height_px": 480,
        "format": ImageFormat.JPEG,
        "detections": (),
        "feedback": (Feedback.OK,),
        "mesh": Missing.NOT_REQUESTED,
        "pose": Missing.NOT_REQUESTED,
        "quality": (),
        "template": Missing.NOT_REQUESTED,
        "age": Missing.NOT_REQUESTED,
        "passive_liveness": Missing.NOT_REQUESTED,
    }
    return FaceEvidence(**{**fields, **overrides})


def a_trace(luma: int = 128) -> Trace:
    """What is remembered of a frame of one grey."""
    return Trace(np.full((32, 32), luma, np.uint8), luma, luma)
