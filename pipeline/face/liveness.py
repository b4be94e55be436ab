"""Passive presentation attack detection (ISO/IEC 30107-3) on one image: MiniFASNet.

Two networks look at the face with different amounts of its surroundings (a screen's bezel, a
print's edge) and their soft-maxes are averaged. Source of crops and averaging:
minivision-ai/Silent-Face-Anti-Spoofing, `src/generate_patches.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Box, Mesh, PassiveLiveness, Pixels
from pipeline.face.batch import Buckets, run_batched
from pipeline.image.geometry import warp
from pipeline.ports import Model

SIDE_PX = 80
BONA_FIDE_CLASS = 1  # of three: print attack, bona fide, replay attack
BONA_FIDE_MIN = 0.5  # above it no other class can be the most likely


@dataclass(frozen=True, slots=True)
class CroppedModel:
    """One network and the factor by which its crop exceeds the face box."""

    model: Model
    crop_factor: float


def detect_attacks(
    models: Sequence[CroppedModel],
    images: Sequence[Pixels],
    meshes: Sequence[Mesh],
    buckets: Buckets,
) -> list[PassiveLiveness]:
    """The belief that each `(H, W, 3)` uint8 RGB image shows a person, not a presentation of one.

    The face box is the mesh's: the networks were trained on tight boxes, which BlazeFace's
    are not. Raises `device_error`.
    """
    pairs = list(zip(images, meshes, strict=True))
    beliefs = np.mean([_beliefs(cropped, pairs, buckets) for cropped in models], axis=0)
    return [PassiveLiveness(float(row[BONA_FIDE_CLASS]), BONA_FIDE_MIN) for row in beliefs]


def _beliefs(
    cropped: CroppedModel, pairs: Sequence[tuple[Pixels, Mesh]], buckets: Buckets
) -> NDArray[np.float64]:
    """`(N, 3)` class probabilities of one network."""
    crops = [
        # RGB to BGR, HWC to CHW, 0 to 255: what the published weights take.
        cut_context(pixels, mesh, cropped.crop_factor)[..., ::-1].transpose(2, 0, 1)
        for pixels, mesh in pairs
    ]
    batch = [crop.astype(np.float32) for crop in crops]
    logits = run_batched(cropped.model, "input", batch, buckets)["output"].astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def cut_context(pixels: Pixels, mesh: Mesh, factor: float) -> Pixels:
    """The `(80, 80, 3)` crop around the face, `factor` times its box, moved inside the image.

    A box too large for the image is shrunk, not padded: black borders look like an attack.
    """
    box = context_box(mesh_box(mesh), factor, pixels.shape[1], pixels.shape[0])
    scale_x, scale_y = SIDE_PX / box.width_px, SIDE_PX / box.height_px
    transform = np.array(
        [[scale_x, 0.0, -box.left_px * scale_x], [0.0, scale_y, -box.top_px * scale_y]]
    )
    return warp(pixels, transform, (SIDE_PX, SIDE_PX))


def mesh_box(mesh: Mesh) -> Box:
    """The tight box around the mesh: forehead to chin, cheek to cheek."""
    left, top = mesh.points[:, :2].min(axis=0).tolist()
    right, bottom = mesh.points[:, :2].max(axis=0).tolist()
    return Box(left, top, right, bottom)


def context_box(box: Box, factor: float, image_width_px: int, image_height_px: int) -> Box:
    """`box` grown by `factor` about its centre, then shrunk and moved to lie in the image."""
    factor = min(factor, (image_width_px - 1) / box.width_px, (image_height_px - 1) / box.height_px)
    width_px, height_px = box.width_px * factor, box.height_px * factor
    left = (box.left_px + box.right_px - width_px) / 2
    top = (box.top_px + box.bottom_px - height_px) / 2
    left = min(max(left, 0.0), image_width_px - 1 - width_px)
    top = min(max(top, 0.0), image_height_px - 1 - height_px)
    return Box(left, top, left + width_px, top + height_px)
