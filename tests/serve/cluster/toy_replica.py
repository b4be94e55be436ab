"""Replicas that need no models: an image is text, as `width 7`, and everything else is real."""

import os
import time
from collections.abc import Sequence

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import Plan
from serve.inference.cluster.options import ReplicaOptions
from serve.inference.cluster.replica import Faces
from serve.inference.room import Runner
from tests.helpers.builders import face_evidence

MODEL = "toy"
BROKEN, DEFECT, DEADLY, SLOW = b"broken", b"defect", b"deadly", b"slow"
SLOW_S = 0.25
BATCH_S, IMAGE_S = 0.02, 0.0005  # what a batch costs: a + b n


class ToyRunner:
    """`b"7 anything"` is an image 7 px wide; the words above are trouble."""

    def prepare(self, images: Sequence[bytes], /) -> list[bytes]:
        """The images themselves."""
        return list(images)

    def complete(self, prepared: Sequence[bytes], plan: Plan, /) -> list[FaceEvidence | Failure]:
        """After a while, evidence of each."""
        time.sleep(BATCH_S + IMAGE_S * len(prepared) + SLOW_S * prepared.count(SLOW))
        if DEADLY in prepared:
            os._exit(1)
        if DEFECT in prepared:
            raise RuntimeError("a defect")
        del plan
        return [
            Failure(Code.IMAGE_CORRUPT, "ends early")
            if image == BROKEN
            else face_evidence(width_px=1 if image == SLOW else int(image.split()[0]))
            for image in prepared
        ]


class ToyFaces(Faces):
    """The replica over toy images."""

    @staticmethod
    def load(options: ReplicaOptions) -> tuple[Runner, str]:
        del options
        return ToyRunner(), MODEL
