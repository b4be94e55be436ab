"""A biometric system of toy faces: an image is text, a face is an angle on the unit circle."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence, Feedback, Missing, Template
from pipeline.face.compare import ScoreScale
from tests.helpers.builders import face_evidence

MODEL = "toy"
# Faces match within 20 degrees; at 60 degrees the search would no longer look.
SCALE = ScoreScale(
    MODEL, search_floor=0.5, verify_threshold=math.cos(math.radians(20.0)), dimension=2
)
FAILURES = {
    "broken": Failure(Code.IMAGE_CORRUPT, "ends early"),
    "text": Failure(Code.NOT_AN_IMAGE, "no magic"),
    "device": Failure(Code.DEVICE_ERROR, "out of memory"),
}
HINTS = {
    "nobody": (Feedback.FACE_NOT_FOUND,),
    "crowd": (Feedback.MULTI_FACE, Feedback.BLUR_SELFIE),
    "blurred": (Feedback.BLUR_SELFIE, Feedback.CLOSED_EYES),
}


class ToyFaces:
    """An image is text: a kind and, where it shows a face, the face's angle in degrees."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def run(self, images: Sequence[bytes], /) -> list[FaceEvidence | Failure]:
        texts = [image.decode() for image in images]
        self.batches.append(texts)
        return [self._look(text) for text in texts]

    def _look(self, text: str) -> FaceEvidence | Failure:
        kind, _, angle = text.partition(" ")
        if kind in FAILURES:
            return FAILURES[kind]
        template: Template | Missing
        if angle:
            radians = math.radians(float(angle))
            vector = np.array([math.cos(radians), math.sin(radians)], np.float32)
            template = Template(MODEL, vector)
        else:
            template = Missing.MODEL_UNAVAILABLE if kind == "modelless" else Missing.NO_FACE
        return face_evidence(feedback=HINTS.get(kind, (Feedback.OK,)), template=template)
