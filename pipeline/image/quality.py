"""Quality components of one face, each by a pure function of what it needs.

Names, and formulas where they fit, are those of ISO/IEC 29794-5:2025; the docstring of each
measure says what its native number is and where it differs. `feedback` turns the numbers into
hints; nothing else depends on them.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.evidence import Detection, Image, Measure, Mesh, Pixels, Pose, Quality
from pipeline.image.features import (
    eyes_open,
    face_occlusion_prevention,
    mouth_closed,
    shows_colours,
)
from pipeline.image.framing import (
    Outline,
    crop_of_the_face_image,
    head_pose,
    head_size,
    inter_eye_distance,
    landmark_agreement,
    single_face_present,
)
from pipeline.image.light import (
    dynamic_range,
    histogram,
    inner_luma,
    over_exposure_prevention,
    sharpness,
    under_exposure_prevention,
)
from pipeline.image.rating import unassessed


def assess(
    image: Image, detections: Sequence[Detection], mesh: Mesh, pose: Pose, chip: Pixels
) -> tuple[Quality, ...]:
    """One component for each `Measure`, in a fixed order.

    `detections`, of which there is at least one, the main face first, and `mesh` are in pixels of
    `image.pixels`; `mesh` and `pose` are the main face's, and `chip` is its aligned
    `(150, 150, 3)` uint8 RGB. Numbers that are not finite come out as
    failures to assess; nothing is raised.
    """
    with np.errstate(all="ignore"):  # nonsense becomes NaN, and NaN a failure to assess
        return _assess(image, detections, mesh, pose, chip)


def _assess(
    image: Image, detections: Sequence[Detection], mesh: Mesh, pose: Pose, chip: Pixels
) -> tuple[Quality, ...]:
    outline = Outline.of(mesh)
    luma = inner_luma(chip)
    levels = histogram(luma)
    sharp, over = sharpness(luma), over_exposure_prevention(levels)
    distance = inter_eye_distance(outline, pose, image.scale)
    covers = (
        face_occlusion_prevention(chip)
        if shows_colours(sharp, over, distance)
        else unassessed(Measure.FACE_OCCLUSION_PREVENTION)
    )
    return (
        sharp,
        under_exposure_prevention(levels),
        over,
        dynamic_range(levels),
        *head_pose(pose),
        eyes_open(mesh, outline, luma),
        mouth_closed(mesh, outline),
        distance,
        head_size(outline, image),
        crop_of_the_face_image(outline, image),
        covers,
        single_face_present(detections),
        landmark_agreement(detections[0], mesh, outline),
    )
