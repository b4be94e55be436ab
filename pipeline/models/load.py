"""Built packs to a running pipeline: the bridge from files to `pipeline.face`."""

from dataclasses import dataclass

from pipeline.errors import Code, PipelineError
from pipeline.face.compare import ScoreScale
from pipeline.face.detect import DetectorOptions
from pipeline.face.liveness import CroppedModel
from pipeline.face.steps import FaceModels, FacePipeline
from pipeline.image.header import Limits
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import Task
from pipeline.models.manifest import Manifest, ModelEntry
from pipeline.models.session import OnnxModel, SessionOptions

DEFAULT_PACK = "default"
LIVENESS_PACK = "minifasnet"


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A pipeline, the scale its templates are compared on, and what it was loaded from."""

    faces: FacePipeline
    models: FaceModels
    scale: ScoreScale
    manifests: tuple[Manifest, ...]


def load_faces(
    cache: ModelCache,
    options: SessionOptions | None = None,
    limits: Limits | None = None,
    detector: DetectorOptions | None = None,
) -> LoadedPack:
    """Load the default pack, and passive liveness where its pack was pulled.

    A pack that was never pulled is a capability the evidence calls unavailable; one that is
    damaged is an error. Raises `pack_missing` (default pack only) or `pack_corrupt`.
    """
    options = options or SessionOptions()
    manifest = cache.read_manifest(DEFAULT_PACK)
    embedding = _entry(manifest, Task.EMBEDDING)
    if embedding.score is None:
        raise PipelineError(Code.PACK_CORRUPT, f"{embedding.id} states no score")
    liveness = _optional_manifest(cache, LIVENESS_PACK)

    def load(entry: ModelEntry, owner: Manifest = manifest) -> OnnxModel:
        return OnnxModel(entry.id, cache.read_model(owner, entry.id), options)

    models = FaceModels(
        detection=load(_entry(manifest, Task.DETECTION)),
        mesh=load(_entry(manifest, Task.MESH)),
        embedding=load(embedding),
        age=load(_entry(manifest, Task.AGE)),
        passive_liveness=()
        if liveness is None
        else tuple(
            CroppedModel(load(entry, liveness), entry.crop_factor or 1.0)
            for entry in liveness.models
        ),
    )
    return LoadedPack(
        FacePipeline(models, limits, detector),
        models,
        ScoreScale(embedding.id, embedding.score.search_floor, embedding.score.verify_threshold),
        (manifest,) if liveness is None else (manifest, liveness),
    )


def _entry(manifest: Manifest, task: Task) -> ModelEntry:
    found = [entry for entry in manifest.models if entry.task is task]
    if len(found) != 1:
        raise PipelineError(
            Code.PACK_CORRUPT, f"{manifest.pack.name} has {len(found)} models for {task}"
        )
    return found[0]


def _optional_manifest(cache: ModelCache, pack: str) -> Manifest | None:
    try:
        return cache.read_manifest(pack)
    except PipelineError as error:
        if error.code is Code.PACK_MISSING:
            return None
        raise
