"""What the pipeline finds in an image: frozen values, coordinates in full-size upright pixels.

"Upright" means after the EXIF orientation has been applied; x grows to the right and y
downwards; the subject's right eye is on the left of the picture. Every array is
`repr`-redacted, because templates and landmarks are biometric data and must not reach a log.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3) uint8 RGB
Points = NDArray[np.float32]  # (N, 2) or (N, 3) float32, x then y, pixels


class ImageFormat(StrEnum):
    """The encodings that pass the header gate."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"


@dataclass(frozen=True, slots=True)
class Image:
    """One decoded picture, possibly at a reduced scale.

    `pixels` is `(H, W, 3)` uint8 RGB, upright; `width_px` and `height_px` are the full upright
    size declared by the file; `scale` is decoded over full size, in (0, 1].
    """

    pixels: Pixels = field(repr=False)
    width_px: int
    height_px: int
    scale: float
    format: ImageFormat


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle; it may reach outside the image."""

    left_px: float
    top_px: float
    right_px: float
    bottom_px: float

    @property
    def width_px(self) -> float:
        """Horizontal extent, px."""
        return self.right_px - self.left_px

    @property
    def height_px(self) -> float:
        """Vertical extent, px."""
        return self.bottom_px - self.top_px

    def scaled(self, factor: float) -> "Box":
        """The same rectangle in an image resized by `factor`."""
        return Box(
            self.left_px * factor, self.top_px * factor,
            self.right_px * factor, self.bottom_px * factor,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found by the detector.

    `keypoints` is `(P, 2)` float32: the subject's right eye, left eye, nose tip, mouth centre;
    BlazeFace adds the right and the left ear. `confidence` is the detector's own, 0 to 1.
    """

    box: Box
    confidence: float
    keypoints: Points = field(repr=False)

    def scaled(self, factor: float) -> "Detection":
        """The same detection in an image resized by `factor`."""
        return Detection(
            self.box.scaled(factor), self.confidence, (self.keypoints * factor).astype(np.float32)
        )


@dataclass(frozen=True, slots=True)
class Mesh:
    """The 468-point face mesh: `points` `(468, 3)` float32, z in the scale of x.

    `presence` is the mesh model's own belief, 0 to 1, that its crop holds a face.
    """

    points: Points = field(repr=False)
    presence: float

    def scaled(self, factor: float) -> "Mesh":
        """The same mesh in an image resized by `factor`."""
        return Mesh((self.points * factor).astype(np.float32), self.presence)


@dataclass(frozen=True, slots=True)
class Template:
    """A biometric template: `vector` `(D,)` float32 of unit norm.

    Templates of different `model_id` are never compared.
    """

    model_id: str
    vector: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose. Yaw is positive when the subject turns to their left, pitch when they look up,
    roll when the head tips to their left (clockwise in the picture).
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


class Measure(StrEnum):
    """Quality components; names of ISO/IEC 29794-5 where it has one. Higher is always better."""

    SHARPNESS = "sharpness"
    UNDER_EXPOSURE_PREVENTION = "under_exposure_prevention"
    OVER_EXPOSURE_PREVENTION = "over_exposure_prevention"
    DYNAMIC_RANGE = "dynamic_range"
    HEAD_POSE_YAW = "head_pose_yaw"
    HEAD_POSE_PITCH = "head_pose_pitch"
    HEAD_POSE_ROLL = "head_pose_roll"
    EYES_OPEN = "eyes_open"
    MOUTH_CLOSED = "mouth_closed"
    INTER_EYE_DISTANCE = "inter_eye_distance"
    HEAD_SIZE = "head_size"
    CROP_OF_THE_FACE_IMAGE = "crop_of_the_face_image"
    FACE_OCCLUSION_PREVENTION = "face_occlusion_prevention"
    SINGLE_FACE_PRESENT = "single_face_present"
    LANDMARK_AGREEMENT = "landmark_agreement"  # ours: do detector and mesh see the same face?


@dataclass(frozen=True, slots=True)
class Quality:
    """One component: `value` 0 to 100, or None for a failure to assess; `native` is what was
    measured, in the unit the measure's docstring names.
    """

    measure: Measure
    value: int | None
    native: float | None


class Feedback(StrEnum):
    """The closed set of hints to the person, `AddImagesResponse.feedback` of the wire contract."""

    OK = "ok"
    OTHER = "other"
    DOCUMENT_NOT_FOUND = "document_not_found"
    FACE_NOT_FOUND = "face_not_found"
    DOCUMENT_FACE_NOT_FOUND = "document_face_not_found"
    OBSTRUCTED = "obstructed"
    BLUR = "blur"
    GLARE = "glare"
    DOCUMENT_NOT_SUPPORTED = "document_not_supported"
    DOCUMENT_NOT_MATCHING = "document_not_matching"
    WRONG_DOCUMENT_SIDE = "wrong_document_side"
    MULTI_FACE = "multi_face"
    FACE_ROTATED = "face_rotated"
    FACE_TOO_SMALL = "face_too_small"
    FACE_TOO_CLOSE = "face_too_close"
    CLOSED_EYES = "closed_eyes"
    FACE_ANGLE_TOO_LARGE = "face_angle_too_large"
    FACE_CLOSE_TO_BORDER = "face_close_to_border"
    FACE_OCCLUDED = "face_occluded"
    FACE_CROPPED = "face_cropped"
    BARCODE_NOT_FOUND = "barcode_not_found"
    GLARE_SELFIE = "glare_selfie"
    BLUR_SELFIE = "blur_selfie"
    RESTRICTED_CRITERIA = "restricted_criteria"


@dataclass(frozen=True, slots=True)
class Age:
    """Estimated age with a central interval of probability `coverage` of the model's own belief.

    The interval is the model's, not a calibrated promise about the person.
    """

    years: float
    low_years: float
    high_years: float
    coverage: float


@dataclass(frozen=True, slots=True)
class PassiveLiveness:
    """The outcome of presentation attack detection (ISO/IEC 30107-3) on one image.

    `score` 0 to 1 is the belief that the capture is bona fide; `threshold` is the pack's.
    """

    score: float
    threshold: float

    @property
    def is_bona_fide(self) -> bool:
        """True at or above the threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class Trace:
    """What a frame of a clip is remembered by, to tell it from others when the pixels are gone.

    `scene` is the whole picture squeezed into `(32, 32)` uint8 grey; `scene_luma` is its mean and
    `face_luma` that of the cheeks, 0 to 255 (without a face, that of the picture).
    """

    scene: NDArray[np.uint8] = field(repr=False)
    scene_luma: float
    face_luma: float


class Missing(StrEnum):
    """Why a piece of evidence is absent. Absence is stated, a number is never invented."""

    NO_FACE = "no_face"
    NOT_REQUESTED = "not_requested"
    MODEL_UNAVAILABLE = "model_unavailable"


@dataclass(frozen=True, slots=True)
class FaceEvidence:
    """Everything one image says about the face in it.

    `detections` holds every face, the main one (largest) first; the rest describes the main one.
    `chip` is its aligned `(150, 150, 3)` picture and `trace` what a clip remembers of the frame,
    both only where they were asked for.
    """

    width_px: int
    height_px: int
    format: ImageFormat
    detections: tuple[Detection, ...]
    feedback: tuple[Feedback, ...]  # ordered, most useful hint first; exactly (OK,) when fit
    mesh: Mesh | Missing
    pose: Pose | Missing
    quality: tuple[Quality, ...]
    template: Template | Missing
    age: Age | Missing
    passive_liveness: PassiveLiveness | Missing
    chip: Pixels | None = field(default=None, repr=False)
    trace: Trace | Missing = Missing.NOT_REQUESTED

    @property
    def is_fit(self) -> bool:
        """True when the image may be compared: one usable face, no hint to the person."""
        return self.feedback == (Feedback.OK,)
