"""Fit the 468-point mesh to detected faces: MediaPipe's face landmark crop and model."""

import math
from collections.abc import Sequence

from pipeline.evidence import Detection, Mesh, Pixels
from pipeline.face.batch import Buckets, run_batched
from pipeline.image.geometry import Transform, invert, rotated_square_crop, transform_points
from pipeline.ports import Model

SIDE_PX = 192
POINTS = 468
CROP_FACTOR = 1.5  # crop side over the longer box side

_RIGHT_EYE, _LEFT_EYE = 0, 1  # detector key points


def fit_meshes(
    model: Model, images: Sequence[Pixels], faces: Sequence[Detection], buckets: Buckets
) -> list[Mesh]:
    """The mesh of `faces[i]` in `images[i]`, `(H, W, 3)` uint8 RGB, in that image's pixels.

    The crop is turned so that the eyes are level: the model was trained on upright faces, and
    a head rolled by 30 degrees otherwise costs accuracy where alignment needs it most.
    Raises `device_error`.
    """
    crops = [upright_crop(*pair, CROP_FACTOR, SIDE_PX) for pair in zip(images, faces, strict=True)]
    outputs = run_batched(model, "image", [crop for crop, _ in crops], buckets)
    return [
        # Crop pixels to image pixels; depth is scaled alike and keeps the crop's axis.
        Mesh(transform_points(points, invert(transform)), float(presence))
        for points, presence, (_, transform) in zip(
            outputs["mesh"].reshape(-1, POINTS, 3), outputs["presence"][:, 0], crops, strict=True
        )
    ]


def upright_crop(
    pixels: Pixels, face: Detection, factor: float, side_px: int
) -> tuple[Pixels, Transform]:
    """The square around a face, its eyes level: `factor` times the longer side of its box.

    Returns `(side_px, side_px, 3)` uint8 RGB and the transform from image to crop.
    """
    box = face.box
    centre = ((box.left_px + box.right_px) / 2, (box.top_px + box.bottom_px) / 2)
    size_px = factor * max(box.width_px, box.height_px)
    return rotated_square_crop(pixels, centre, size_px, roll_rad(face), side_px)


def roll_rad(face: Detection) -> float:
    """The angle of the line through the eyes, clockwise positive, from the detector's points."""
    dx, dy = (face.keypoints[_LEFT_EYE] - face.keypoints[_RIGHT_EYE]).tolist()
    return math.atan2(dy, dx)
