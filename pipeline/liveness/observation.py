"""One frame of a clip as the rules of liveness see it: numbers and points, no picture."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import FaceEvidence, Feedback, Measure, Mesh, Pose, Trace

Points3 = NDArray[np.float32]  # (468, 3) float32, pixels of the full-size upright frame

_EYE_CORNERS = (33, 133, 362, 263)  # right outer, right inner, left inner, left outer


@dataclass(frozen=True, slots=True)
class Seen:
    """The face in a frame, the largest if there are several.

    `eyes_open` and `mouth_open` are the native numbers of the quality measures of that name
    (`pipeline.image.features`), None where they could not be assessed. `points` are the mesh,
    `(468, 3)` float32 in pixels of the full-size upright frame, depth in the scale of x;
    `eye_distance_px` lies between the centres of the eyes. `luma` is the mean brightness of the
    cheeks, 0 to 255.
    """

    pose: Pose
    eyes_open: float | None
    mouth_open: float | None
    eye_distance_px: float
    luma: float
    points: Points3 = field(repr=False)


@dataclass(frozen=True, slots=True)
class Observation:
    """A frame: when it was taken, when it came, and what is in it.

    `captured_ms` is by the phone's monotone clock, whose zero means nothing; `received_ms` by the
    clock of whoever received it; None where frames came without times. `digest` is the SHA-256 of
    the encoded frame. `scene` is the whole picture as `(32, 32)` uint8 grey, `scene_luma` its mean.
    `feedback` are the hints for the person, `(OK,)` when the frame is fit to compare.
    """

    number: int
    captured_ms: float | None
    received_ms: float | None
    digest: bytes = field(repr=False)
    faces: int
    seen: Seen | None
    scene: NDArray[np.uint8] = field(repr=False)
    scene_luma: float
    feedback: tuple[Feedback, ...]


def is_usable(observation: Observation) -> bool:
    """Whether the frame shows one face alone, in numbers that can be reckoned with.

    A face far behind does not count as another.
    """
    seen = observation.seen
    if seen is None or Feedback.MULTI_FACE in observation.feedback:
        return False
    angles = seen.pose.yaw_deg + seen.pose.pitch_deg + seen.pose.roll_deg
    return math.isfinite(angles + float(seen.points.sum())) and seen.eye_distance_px >= 1.0


def observe(
    evidence: FaceEvidence,
    number: int,
    digest: bytes,
    captured_ms: float | None = None,
    received_ms: float | None = None,
) -> Observation:
    """What the rules need of a frame that was examined with `Plan.trace`."""
    trace = evidence.trace
    assert isinstance(trace, Trace), "the frame was examined without a trace"
    return Observation(
        number=number,
        captured_ms=captured_ms,
        received_ms=received_ms,
        digest=digest,
        faces=len(evidence.detections),
        seen=_seen(evidence, trace),
        scene=trace.scene,
        scene_luma=trace.scene_luma,
        feedback=evidence.feedback,
    )


def _seen(evidence: FaceEvidence, trace: Trace) -> Seen | None:
    mesh, pose = evidence.mesh, evidence.pose
    if not isinstance(mesh, Mesh) or not isinstance(pose, Pose):
        return None
    native = {quality.measure: quality.native for quality in evidence.quality}
    points = mesh.points
    right, left = points[list(_EYE_CORNERS), :2].reshape(2, 2, 2).mean(axis=1)
    return Seen(
        pose=pose,
        eyes_open=native.get(Measure.EYES_OPEN),
        mouth_open=native.get(Measure.MOUTH_CLOSED),
        eye_distance_px=float(np.hypot(*(left - right))),
        luma=trace.face_luma,
        points=points,
    )
