"""Replicas that need no models: their images are toys, and everything else is real."""

import os
import time
from collections.abc import Sequence

from pipeline.face.steps import Plan
from serve.inference.cluster.options import ReplicaOptions
from serve.inference.cluster.replica import Faces
from serve.inference.parcels import Outcome
from serve.inference.room import Runner
from tests.serve.inference import toy_runner

MODEL = "toy"
DEADLY, SLOW = "deadly", "slow"
SLOW_S = 0.25
BATCH_S, IMAGE_S = 0.02, 0.0005  # what a batch costs: a + b n


class ToyRunner(toy_runner.ToyRunner):
    """Takes its time, as a device does: more for a `slow` image, and dies of a `deadly` one."""

    def complete(self, prepared: Sequence[str], plans: Sequence[Plan]) -> list[Outcome]:
        time.sleep(BATCH_S + IMAGE_S * len(prepared) + SLOW_S * prepared.count(SLOW))
        if DEADLY in prepared:
            os._exit(1)
        return super().complete(["width 1" if text == SLOW else text for text in prepared], plans)


class ToyFaces(Faces):
    """The replica over toy images."""

    @staticmethod
    def load(options: ReplicaOptions) -> tuple[Runner, str]:
        del options
        return ToyRunner(), MODEL
