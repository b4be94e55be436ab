"""How the head is placed before the camera: pose, size, distance from the borders, company.

Everything here is geometry of the mesh and the detections, in pixels of the decoded image. Names
and formulas are those of ISO/IEC 29794-5 where it has the measure; each docstring says where a
selfie needs another one than the passport photo the standard has in mind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evidence import Detection, Image, Measure, Mesh, Pose, Quality
from pipeline.image.rating import rated, share, sigmoid, unassessed

_EYE_CORNERS = (33, 133, 362, 263)  # right outer, right inner, left inner, left outer
_CHIN = 152
_NOSE_TIP, _LIPS = 1, (13, 14)
_SECOND_CONFIDENCE_MIN = 0.6
_DISAGREEMENT_MAX, _DOUBT_MAX = 0.15, 0.005
_AGREEMENT_MAX = 10.0  # of a native value: more says nothing more
PASSPORT_HEIGHT = 1.25  # height over width of the frame that head sizes are defined for


@dataclass(frozen=True, slots=True)
class Outline:
    """The few lengths of a face that measures are built on, in pixels of the decoded image.

    `eye_to_chin_px` runs from the midpoint between the eyes to the chin: the standard's ruler
    (T), because a yaw leaves it alone. The four sides are those of the box around the mesh, from
    forehead to chin and from cheek to cheek, without the hair.
    """

    eye_distance_px: float
    eye_to_chin_px: float
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float

    @classmethod
    def of(cls, mesh: Mesh) -> "Outline":
        """The outline of a fitted mesh."""
        flat = mesh.points[:, :2]
        (rox, roy), (rix, riy), (lix, liy), (lox, loy) = flat[list(_EYE_CORNERS)].tolist()
        chin_x, chin_y = flat[_CHIN].tolist()
        right_x, right_y, left_x, left_y = rox + rix, roy + riy, lix + lox, liy + loy
        xs, ys = flat[:, 0], flat[:, 1]
        return cls(
            math.hypot(left_x - right_x, left_y - right_y) / 2,
            math.hypot((right_x + left_x) / 4 - chin_x, (right_y + left_y) / 4 - chin_y),
            float(xs.min()),
            float(ys.min()),
            float(xs.max()),
            float(ys.max()),
        )


def head_pose(pose: Pose) -> tuple[Quality, Quality, Quality]:
    """Yaw, pitch and roll: 100 x the squared cosine, 0 from a right angle on. Native: degrees."""
    return (
        _frontality(Measure.HEAD_POSE_YAW, pose.yaw_deg),
        _frontality(Measure.HEAD_POSE_PITCH, pose.pitch_deg),
        _frontality(Measure.HEAD_POSE_ROLL, pose.roll_deg),
    )


def _frontality(measure: Measure, angle_deg: float) -> Quality:
    if not math.isfinite(angle_deg):
        return unassessed(measure)
    return rated(measure, angle_deg, 100.0 * max(math.cos(math.radians(angle_deg)), 0.0) ** 2)


def inter_eye_distance(outline: Outline, pose: Pose, scale: float) -> Quality:
    """Sigmoid about 70, width 20. Native: pixels of the full-size image, as if seen from the front.

    The distance between the eye centres over the cosine of the yaw; `scale` is the image's. At a
    right angle no eye distance can be told: a failure to assess.
    """
    cosine = math.cos(math.radians(pose.yaw_deg)) if math.isfinite(pose.yaw_deg) else 0.0
    distance_px = share(share(outline.eye_distance_px, cosine), scale)
    return rated(Measure.INTER_EYE_DISTANCE, distance_px, 100.0 * sigmoid(distance_px, 70.0, 20.0))


def head_size(outline: Outline, image: Image) -> Quality:
    """Falls off below 0.12 and above 0.62. Native: eye-to-chin distance over the frame's height.

    Phones take pictures much taller than the frame of 5 to 4 that the standard knows, so at most
    5/4 of the width counts as height: a face that fills the width is large in any frame. The
    standard wants 0.45 exactly; a selfie at arm's length has 0.2 and lacks nothing.
    """
    height_px, width_px = image.pixels.shape[:2]
    native = share(outline.eye_to_chin_px, min(height_px, PASSPORT_HEIGHT * width_px))
    value = 100.0 * sigmoid(native, 0.12, 0.02) * sigmoid(native, 0.62, -0.03)
    return rated(Measure.HEAD_SIZE, native, value)


def crop_of_the_face_image(outline: Outline, image: Image) -> Quality:
    """Half at the border. Native: smallest clearance of the outline, in eye-to-chin distances.

    Negative where the outline leaves the picture. The standard has four components, from the
    eyes to each border, that demand a passport's margins of hair and shoulders; here it is one,
    the worst, and it asks whether any of the face itself is cut off.
    """
    height_px, width_px = image.pixels.shape[:2]
    clearance_px = min(
        outline.left_px,
        outline.top_px,
        width_px - outline.right_px,
        height_px - outline.bottom_px,
    )
    native = share(clearance_px, outline.eye_to_chin_px)
    return rated(Measure.CROP_OF_THE_FACE_IMAGE, native, 100.0 * sigmoid(native, 0.0, 0.04))


def single_face_present(detections: Sequence[Detection]) -> Quality:
    """100 x (1 - native). Native: area of the second largest face over that of the largest.

    The main face comes first in `detections`; without any, a failure to assess. Others count
    from a confidence of 0.6: of 163 small and large, blurred and turned faces the least certain
    has 0.61, and what the detector mistakes for one, as in a space suit, 0.54 to 0.56.
    """
    if not detections:
        return unassessed(Measure.SINGLE_FACE_PRESENT)
    others = [face for face in detections[1:] if face.confidence >= _SECOND_CONFIDENCE_MIN]
    native = share(max(map(_area_px, others), default=0.0), _area_px(detections[0]))
    return rated(Measure.SINGLE_FACE_PRESENT, native, 100.0 * (1.0 - native))


def _area_px(face: Detection) -> float:
    return face.box.width_px * face.box.height_px


def landmark_agreement(face: Detection, mesh: Mesh, outline: Outline) -> Quality:
    """Sigmoid about 1, width 0.1. Native: the weaker of two signs, its bar over it, at most 10.

    The signs are the mean distance between the detector's eyes, nose and mouth and the mesh's, in
    eye distances, with a bar of 0.15, and the mesh's doubt that it sees a face (1 - presence),
    with a bar of 0.005. The standard has no such component, but where two models disagree there
    is no face to describe: a head that hangs upside down is often found as if it stood upright,
    and its template is worthless (cosine to the upright one 0.78 to 0.90). Of 165 such photos 57
    pass every other gate and 1 passes this one too; of 275 upright ones, leaning by up to 30
    degrees, none fails it.
    """
    points = mesh.points[:, :2].astype(np.float64)
    right_outer, right_inner, left_inner, left_outer = points[list(_EYE_CORNERS)]
    fitted = np.stack(
        [
            (right_outer + right_inner) / 2,
            (left_outer + left_inner) / 2,
            points[_NOSE_TIP],
            points[list(_LIPS)].mean(axis=0),
        ]
    )
    apart_px = float(np.hypot(*(face.keypoints[:4] - fitted).T).mean())
    disagreement = share(apart_px, outline.eye_distance_px) / _DISAGREEMENT_MAX
    worse = max(disagreement, (1.0 - mesh.presence) / _DOUBT_MAX, 1.0 / _AGREEMENT_MAX)
    native = 1.0 / worse if math.isfinite(disagreement) else math.nan
    return rated(Measure.LANDMARK_AGREEMENT, native, 100.0 * sigmoid(native, 1.0, 0.1))
