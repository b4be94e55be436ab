"""The whole path of a batch: bytes in, evidence out, one result per item in the same order.

Every stage takes the items that reached it and leaves the others alone. An item's error is a
value beside its neighbours' results and changes nothing for them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pipeline.errors import Failure, PipelineError
from pipeline.evidence import (
    Age,
    Box,
    Detection,
    FaceEvidence,
    Image,
    Mesh,
    Missing,
    PassiveLiveness,
    Pixels,
    Pose,
    Quality,
    Template,
)
from pipeline.face.age import estimate_ages
from pipeline.face.align import CHIP_SIDE_PX, FACE_SIDE_PX, cut_chip
from pipeline.face.batch import CPU, BatchSizes
from pipeline.face.detect import FaceDetector, detect_faces
from pipeline.face.embed import make_templates
from pipeline.face.liveness import CroppedModel, detect_attacks
from pipeline.face.mesh import POINTS, fit_meshes
from pipeline.face.pose import pose_of
from pipeline.image.decode import decode, decode_all
from pipeline.image.feedback import choose_feedback
from pipeline.image.header import Limits, read_header
from pipeline.image.imprint import trace_of
from pipeline.image.quality import assess
from pipeline.ports import Model

DECODE_SIDE_PX = 360  # shorter side at least: enough for both looks of the detector
WINDOW_MAX = 64  # decoded pictures held at once
PRESENCE_MIN = 0.5  # of the mesh model: below it the detector was wrong


@dataclass(frozen=True, slots=True)
class Plan:
    """Which optional evidence a caller pays for.

    Detection, mesh, pose and quality always run: evidence that nobody assessed must not look fit.
    """

    template: bool = True
    passive_liveness: bool = True
    age: bool = True
    chip: bool = False
    trace: bool = False


FULL = Plan()
SELFIE = Plan(age=False)
"""What a face is verified by."""
REFERENCE = Plan(age=False, chip=True)
"""What is kept of a face that is enrolled."""
FRAME = Plan(template=False, passive_liveness=False, age=False, trace=True)
"""What each frame of a clip is looked at for."""
AGE = Plan(template=False, passive_liveness=False)
"""Age alone."""


@dataclass(frozen=True, slots=True)
class FaceModels:
    """Loaded models by task; None or empty where the pack is absent."""

    detection: FaceDetector
    mesh: Model
    embedding: Model
    age: Model | None = None
    passive_liveness: tuple[CroppedModel, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """One decoded image, and the bytes it came from: a small face is decoded again, larger."""

    data: bytes = field(repr=False)
    image: Image = field(repr=False)


@dataclass(slots=True)
class _Item:
    """One image on its way; what no stage reaches keeps the reason it is missing."""

    data: bytes = field(repr=False)
    image: Image
    plan: Plan
    template: Template | Missing
    age: Age | Missing
    passive_liveness: PassiveLiveness | Missing
    detections: tuple[Detection, ...] = ()
    mesh: Mesh | Missing = Missing.NO_FACE
    pose: Pose | Missing = Missing.NO_FACE
    chip: Pixels | None = field(default=None, repr=False)
    quality: tuple[Quality, ...] = ()
    failure: Failure | None = None


class FacePipeline:
    """Detect, fit, align, embed and assess over loaded models. Safe to share between threads."""

    def __init__(
        self,
        models: FaceModels,
        limits: Limits | None = None,
        batches: BatchSizes | None = None,
    ) -> None:
        self._models = models
        self._limits = limits or Limits()
        self._batches = batches or CPU

    def run(self, images: Sequence[bytes], plan: Plan = FULL) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each encoded image, in order. Never raises for an item.

        However many there are, no more than WINDOW_MAX pictures are in memory at a time.
        """
        return [
            outcome
            for start in range(0, len(images), WINDOW_MAX)
            for outcome in self._complete_alike(images[start : start + WINDOW_MAX], plan)
        ]

    def prepare(self, images: Sequence[bytes]) -> list[Prepared | Failure]:
        """The first half of `run`, without any model: the header gate and the one decode.

        It holds every picture in memory, so callers mind how many they ask for. One thread may
        prepare the next batch while another completes the last.
        """
        decoded = decode_all(images, DECODE_SIDE_PX, self._limits)
        return [
            image if isinstance(image, Failure) else Prepared(data, image)
            for data, image in zip(images, decoded, strict=True)
        ]

    def complete(
        self, prepared: Sequence[Prepared | Failure], plans: Sequence[Plan]
    ) -> list[FaceEvidence | Failure]:
        """The second half of `run`: models and measures, in the length and order of `prepared`.

        What could not be prepared stays the failure that it is. Images of different plans share
        every run of a model that all of them need.
        """
        entries = [
            each if isinstance(each, Failure) else self._item(each, plan)
            for each, plan in zip(prepared, plans, strict=True)
        ]
        items = [entry for entry in entries if isinstance(entry, _Item)]
        for stage in (self._detect, self._look_closer, self._fit, self._cut):
            items = _run_stage(stage, items)
        _run_stage(self._embed, _unbroken(items, lambda plan: plan.template))
        if self._models.age is not None:
            _run_stage(self._estimate_age, _unbroken(items, lambda plan: plan.age))
        if self._models.passive_liveness:
            _run_stage(self._detect_attack, _unbroken(items, lambda plan: plan.passive_liveness))
        _run_stage(self._assess, _unbroken(items, lambda _plan: True))
        return [_outcome(entry) if isinstance(entry, _Item) else entry for entry in entries]

    def _complete_alike(self, images: Sequence[bytes], plan: Plan) -> list[FaceEvidence | Failure]:
        return self.complete(self.prepare(images), [plan] * len(images))

    def warm(self, progress: Callable[[str, int, int], None] | None = None) -> int:
        """Run every model at every size of batch worth it, and say how many runs that took.

        The first run of a shape is slower, on a GPU by far: call this before the first request.
        `progress(what, done, total)` hears of each run before it starts, and of the end.
        Raises `device_error`.
        """
        runs = list(self._warming_runs())
        tell = progress or (lambda *_told: None)
        for done, (task, run) in enumerate(runs):
            tell(f"warm {task}", done, len(runs))
            run()
        tell("warm", len(runs), len(runs))
        return len(runs)

    def _warming_runs(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Each task's own function on blank pictures, so that it meets the shapes of real ones."""
        models, batches = self._models, self._batches
        detector, options = models.detection, models.detection.options
        for model, side_px in (
            (detector.first, options.first_side_px),
            (detector.second, options.second_side_px),
        ):
            for size in batches.detection.sizes:
                seen = [_blank(side_px)] * size, options.confidence_min, batches.detection
                yield "detection", partial(detector.find_candidates, model, *seen)
        for size in batches.mesh.sizes:
            faces = [_blank(DECODE_SIDE_PX)] * size, [_WHERE] * size
            yield "mesh", partial(fit_meshes, models.mesh, *faces, batches.mesh)
        for size in batches.embedding.sizes:
            chips = [_blank(CHIP_SIDE_PX)] * size
            yield "embedding", partial(make_templates, models.embedding, chips, batches.embedding)
        if models.age is not None:
            for size in batches.age.sizes:
                faces = [_blank(DECODE_SIDE_PX)] * size, [_WHERE] * size
                yield "age", partial(estimate_ages, models.age, *faces, batches.age)
        for size in batches.passive_liveness.sizes if models.passive_liveness else ():
            heads = [_blank(DECODE_SIDE_PX)] * size, [_WHERE_IN_DETAIL] * size
            run = partial(detect_attacks, models.passive_liveness, *heads, batches.passive_liveness)
            yield "passive_liveness", run

    def _item(self, prepared: Prepared, plan: Plan) -> _Item:
        models = self._models
        return _Item(
            prepared.data,
            prepared.image,
            plan,
            template=_missing(plan.template, available=True),
            age=_missing(plan.age, available=models.age is not None),
            passive_liveness=_missing(
                plan.passive_liveness, available=bool(models.passive_liveness)
            ),
        )

    def _detect(self, batch: Sequence[_Item]) -> list[_Item]:
        pixels = [item.image.pixels for item in batch]
        found = detect_faces(self._models.detection, pixels, self._batches.detection)
        for item, faces in zip(batch, found, strict=True):
            item.detections = faces
        return [item for item in batch if item.detections]

    def _look_closer(self, batch: Sequence[_Item]) -> list[_Item]:
        """Decode again, larger, the images whose face would have to be enlarged for the chip."""
        for item in batch:
            face_px = item.detections[0].box.width_px
            if item.image.scale < 1 and face_px < FACE_SIDE_PX:
                side_px = min(item.image.pixels.shape[:2]) * FACE_SIDE_PX / max(face_px, 1.0)
                header = read_header(item.data, self._limits)
                before = item.image.scale
                item.image = decode(item.data, header, math.ceil(side_px))
                grown = item.image.scale / before
                item.detections = tuple(face.scaled(grown) for face in item.detections)
        return list(batch)

    def _fit(self, batch: Sequence[_Item]) -> list[_Item]:
        pixels = [item.image.pixels for item in batch]
        faces = [item.detections[0] for item in batch]
        meshes = fit_meshes(self._models.mesh, pixels, faces, self._batches.mesh)
        for item, mesh in zip(batch, meshes, strict=True):
            if mesh.presence >= PRESENCE_MIN:
                item.mesh, item.pose = mesh, pose_of(mesh)
            else:
                item.detections = ()
        return [item for item in batch if item.detections]

    def _cut(self, batch: Sequence[_Item]) -> list[_Item]:
        for item in batch:
            item.chip = cut_chip(item.image.pixels, _mesh(item))
        return list(batch)

    def _embed(self, batch: Sequence[_Item]) -> list[_Item]:
        templates = make_templates(
            self._models.embedding, [_chip(item) for item in batch], self._batches.embedding
        )
        for item, template in zip(batch, templates, strict=True):
            item.template = template
        return list(batch)

    def _estimate_age(self, batch: Sequence[_Item]) -> list[_Item]:
        assert self._models.age is not None
        pixels = [item.image.pixels for item in batch]
        faces = [item.detections[0] for item in batch]
        ages = estimate_ages(self._models.age, pixels, faces, self._batches.age)
        for item, age in zip(batch, ages, strict=True):
            item.age = age
        return list(batch)

    def _detect_attack(self, batch: Sequence[_Item]) -> list[_Item]:
        pixels = [item.image.pixels for item in batch]
        meshes = [_mesh(item) for item in batch]
        found = detect_attacks(
            self._models.passive_liveness, pixels, meshes, self._batches.passive_liveness
        )
        for item, liveness in zip(batch, found, strict=True):
            item.passive_liveness = liveness
        return list(batch)

    def _assess(self, batch: Sequence[_Item]) -> list[_Item]:
        for item in batch:
            assert isinstance(item.pose, Pose)
            item.quality = assess(item.image, item.detections, _mesh(item), item.pose, _chip(item))
        return list(batch)


def _blank(side_px: int) -> Pixels:
    return np.full((side_px, side_px, 3), 128, np.uint8)


# A face in the middle of a blank picture, for warming up: eyes level, a third of its width.
_THIRDS = np.linspace(DECODE_SIDE_PX / 3, DECODE_SIDE_PX * 2 / 3, POINTS, dtype=np.float32)
_EYES = np.array([[150.0, 160.0], [210.0, 160.0]], np.float32)
_WHERE = Detection(Box(120.0, 120.0, 240.0, 240.0), 1.0, _EYES)
_WHERE_IN_DETAIL = Mesh(np.stack([_THIRDS] * 3, axis=1), 1.0)


def _missing(requested: bool, *, available: bool) -> Missing:  # noqa: FBT001 (a plan's flag)
    """What stands for a piece of evidence until a stage provides it."""
    if not requested:
        return Missing.NOT_REQUESTED
    return Missing.NO_FACE if available else Missing.MODEL_UNAVAILABLE


def _unbroken(items: Sequence[_Item], wants: Callable[[Plan], bool]) -> list[_Item]:
    """The items without a failure whose plan wants something."""
    return [item for item in items if item.failure is None and wants(item.plan)]


def _run_stage(
    stage: Callable[[Sequence[_Item]], list[_Item]], items: Sequence[_Item]
) -> list[_Item]:
    """The items that go on. Where a batch fails it is halved until the bad item stands alone."""
    if not items:
        return []
    try:
        return stage(items)
    except PipelineError as error:
        if len(items) == 1:
            items[0].failure = Failure.of(error)
            return []
        half = len(items) // 2
        return _run_stage(stage, items[:half]) + _run_stage(stage, items[half:])


def _outcome(item: _Item) -> FaceEvidence | Failure:
    if item.failure is not None:
        return item.failure
    pixels = item.image.pixels
    full = 1.0 / item.image.scale
    return FaceEvidence(
        width_px=item.image.width_px,
        height_px=item.image.height_px,
        format=item.image.format,
        detections=tuple(face.scaled(full) for face in item.detections),
        feedback=choose_feedback(len(item.detections), item.quality),
        mesh=item.mesh.scaled(full) if isinstance(item.mesh, Mesh) else item.mesh,
        pose=item.pose,
        quality=item.quality,
        template=item.template,
        age=item.age,
        passive_liveness=item.passive_liveness,
        chip=item.chip if item.plan.chip else None,
        trace=trace_of(pixels, item.chip) if item.plan.trace else Missing.NOT_REQUESTED,
    )


def _mesh(item: _Item) -> Mesh:
    assert isinstance(item.mesh, Mesh)  # the stages before this one saw to it
    return item.mesh


def _chip(item: _Item) -> Pixels:
    assert item.chip is not None
    return item.chip
