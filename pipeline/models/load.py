"""Built packs to a running pipeline: the bridge from files to `pipeline.face`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.errors import Code, PipelineError
from pipeline.face import blazeface, yunet
from pipeline.face.batch import CPU, GPU, BatchSizes
from pipeline.face.compare import ScoreScale
from pipeline.face.detect import DetectorOptions, FaceDetector, FindCandidates
from pipeline.face.liveness import CroppedModel
from pipeline.face.steps import FaceModels, FacePipeline
from pipeline.image.header import Limits
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import Task, read_recipe
from pipeline.models.manifest import Manifest, ModelEntry
from pipeline.models.options import Device, Runtime, SessionOptions
from pipeline.models.session import OnnxModel
from pipeline.ports import Model

DEFAULT_PACK = "default"
LIVENESS_PACK = "minifasnet"
YUNET_PACK = "yunet"


class Detector(StrEnum):
    """The detectors there are; YuNet only where its pack was pulled."""

    BLAZEFACE = "blazeface"
    YUNET = "yunet"


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A pipeline, the scale its templates are compared on, and what it was loaded from.

    `batches` are the sizes in which it runs its models, as suits the device of `options`.
    """

    faces: FacePipeline
    models: FaceModels
    scale: ScoreScale
    manifests: tuple[Manifest, ...]
    options: SessionOptions
    batches: BatchSizes


def load_faces(
    cache: ModelCache,
    detector: Detector = Detector.BLAZEFACE,
    limits: Limits | None = None,
    options: SessionOptions | None = None,
) -> LoadedPack:
    """Load the default pack, the detector asked for, and passive liveness where it was pulled.

    A liveness pack that was never pulled is a capability the evidence calls unavailable; one
    that is damaged is an error. Raises `pack_missing` or `pack_corrupt`, `device_unavailable` for
    a GPU that cannot be used, and `runtime_missing` where torch is wanted but not installed.
    """
    default = _open_pack(cache, DEFAULT_PACK, options or SessionOptions())
    batches = GPU if default.options.device is Device.CUDA else CPU
    packs = [default]
    scale = default.read_scale()
    finder = default.load_detector(blazeface.find_candidates, DetectorOptions())
    if detector is Detector.YUNET:
        packs.append(_open_pack(cache, YUNET_PACK, default.options))
        finder = packs[-1].load_detector(yunet.find_candidates, yunet.OPTIONS)
    liveness = _liveness_pack(cache, default.options)
    models = FaceModels(
        detection=finder,
        mesh=default.load(Task.MESH),
        embedding=default.load(Task.EMBEDDING),
        age=default.load(Task.AGE),
        passive_liveness=() if liveness is None else liveness.load_cropped(),
    )
    return LoadedPack(
        FacePipeline(models, limits, batches),
        models,
        scale,
        tuple(pack.manifest for pack in (*packs, liveness) if pack is not None),
        default.options,
        batches,
    )


def read_scale(cache: ModelCache) -> ScoreScale:
    """The scale that templates of the default pack are compared on, and their model's id.

    It opens no model, for a process that compares but does not embed. Raises `pack_missing` or
    `pack_corrupt`, as `load_faces` does for the same manifest.
    """
    return _open_pack(cache, DEFAULT_PACK, SessionOptions()).read_scale()


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack in the cache, ready to load models from."""

    cache: ModelCache
    manifest: Manifest
    options: SessionOptions

    def entry(self, task: Task) -> ModelEntry:
        """The one model for `task`."""
        found = [entry for entry in self.manifest.models if entry.task is task]
        if len(found) != 1:
            raise PipelineError(
                Code.PACK_CORRUPT, f"{self.manifest.pack.name} has {len(found)} models for {task}"
            )
        return found[0]

    def read_scale(self) -> ScoreScale:
        """What the manifest says of the embedding's scores."""
        entry = self.entry(Task.EMBEDDING)
        if entry.score is None:
            raise PipelineError(Code.PACK_CORRUPT, f"{entry.id} states no score")
        (output,) = entry.outputs
        if not isinstance(dimension := output.shape[-1], int):
            raise PipelineError(Code.PACK_CORRUPT, f"{entry.id} states no dimension")
        score = entry.score
        return ScoreScale(entry.id, score.search_floor, score.verify_threshold, dimension)

    def load(self, task: Task) -> Model:
        """The one model for `task`, hashed and opened."""
        return self._open(self.entry(task), self.options)

    def load_detector(self, find: FindCandidates, options: DetectorOptions) -> FaceDetector:
        """The detector, opened once for each look: fixed sides are 6 to 11 % faster."""
        first, second = (
            self._open(
                self.entry(Task.DETECTION),
                replace(self.options, fixed_axes=(("height", side_px), ("width", side_px))),
            )
            for side_px in (options.first_side_px, options.second_side_px)
        )
        return FaceDetector(first, second, find, options)

    def load_cropped(self) -> tuple[CroppedModel, ...]:
        """Every model that looks at a crop of its own size."""
        return tuple(
            CroppedModel(self._open(entry, self.options), entry.crop_factor)
            for entry in self.manifest.models
            if entry.crop_factor is not None
        )

    def _open(self, entry: ModelEntry, options: SessionOptions) -> Model:
        data = self.cache.read_model(self.manifest, entry.id)
        return _opener(options.runtime)(entry.id, data, options)


def _opener(runtime: Runtime) -> Callable[[str, bytes, SessionOptions], Model]:
    if runtime is Runtime.ONNXRUNTIME:
        return OnnxModel
    # Not before it is asked for: torch is an extra, and takes a second to import.
    from pipeline.models.torch_session import TorchModel  # noqa: PLC0415

    return TorchModel


def _open_pack(cache: ModelCache, name: str, options: SessionOptions) -> _Pack:
    manifest = cache.read_manifest(name)
    if manifest.recipe_digest != read_recipe(name).digest:  # other weights or thresholds
        raise PipelineError(Code.PACK_CORRUPT, f"{name} is from another recipe; build it again")
    if not manifest.is_complete:  # half of a pack must not pass for the whole
        raise PipelineError(Code.PACK_CORRUPT, f"the build of {name} did not finish; run it again")
    return _Pack(cache, manifest, options)


def _liveness_pack(cache: ModelCache, options: SessionOptions) -> _Pack | None:
    try:
        return _open_pack(cache, LIVENESS_PACK, options)
    except PipelineError as error:
        if error.code is Code.PACK_MISSING:
            return None
        raise
