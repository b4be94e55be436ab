"""A pipeline of toy images that works in any process: an image is text, and says what it does.

width 7        evidence of an image 7 pixels wide; a chip of that value, if one was asked for;
               what follows does nothing
broken         the failure of a corrupt image
defect         breaks the pipeline, and with it the batch
hold FOLDER 7  tells the gate in that folder that it has begun, waits there, then as `width 7`
"""

import os
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.steps import Plan
from tests.helpers.builders import face_evidence

BROKEN = Failure(Code.IMAGE_CORRUPT, "ends early")
PATIENCE_S = 30.0  # of what would otherwise hang for ever
LET_GO = 1_000


class ToyRunner:
    """The pipeline in two halves."""

    def prepare(self, images: Sequence[bytes]) -> list[str]:
        return [image.decode() for image in images]

    def complete(
        self, prepared: Sequence[str], plans: Sequence[Plan]
    ) -> list[FaceEvidence | Failure]:
        if "defect" in prepared:
            raise RuntimeError("a defect")
        return [_look(*each) for each in zip(prepared, plans, strict=True)]


def _look(text: str, plan: Plan) -> FaceEvidence | Failure:
    kind, *words = text.split()
    if kind == "broken":
        return BROKEN
    if kind == "hold":
        _wait_at(Path(words[0]))
    width = int(words[kind == "hold"])
    chip = np.full((150, 150, 3), width % 256, np.uint8) if plan.chip else None
    return face_evidence(width_px=width, chip=chip)


def _wait_at(folder: Path) -> None:
    begun, gate = (os.open(folder / name, os.O_RDWR) for name in ("begun", "gate"))
    try:
        os.write(begun, b".")
        assert select.select([gate], [], [], PATIENCE_S)[0], "never let go"
        os.read(gate, 1)
    finally:
        os.close(begun)
        os.close(gate)


class Gate:
    """Where images wait until they are let go: two pipes with names, so in whatever process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("begun", "gate"):
            os.mkfifo(folder / name)
        self._begun = os.open(folder / "begun", os.O_RDWR)
        self._gate = os.open(folder / "gate", os.O_RDWR)

    def image(self, number: int) -> bytes:
        """One that waits here."""
        return f"hold {self.folder} {number}".encode()

    def await_begun(self) -> None:
        """Block until an image waits here that was not counted yet."""
        assert select.select([self._begun], [], [], PATIENCE_S)[0], "nothing came to the gate"
        os.read(self._begun, 1)

    @property
    def is_untouched(self) -> bool:
        """Whether no image came that was not counted yet."""
        return not select.select([self._begun], [], [], 0)[0]

    def let_go(self) -> None:
        """Whatever waits here, or will."""
        os.write(self._gate, b"." * LET_GO)

    def close(self) -> None:
        """Nothing is waited for any more: an image that comes later finds no gate to wait at."""
        for name in ("begun", "gate"):
            (self.folder / name).unlink()
        os.close(self._begun)
        os.close(self._gate)


@contextmanager
def a_gate(folder: Path) -> Iterator[Gate]:
    """A gate in a new folder, opened with the end of the block at the latest."""
    folder.mkdir()
    gate = Gate(folder)
    try:
        yield gate
    finally:
        gate.let_go()
        gate.close()
