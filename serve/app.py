"""Composition root: settings to adapters. Nothing else decides which adapter is used."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.compare import ScoreScale
from pipeline.face.steps import FacePipeline, Plan
from pipeline.image.header import Limits
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack, load_faces
from serve.settings import Settings


@dataclass(frozen=True, slots=True)
class OpenedPipeline:
    """A pipeline ready to run in-process on `threads` worker threads."""

    pack: LoadedPack
    limits: Limits
    threads: int

    def run(self, images: Sequence[bytes], plan: Plan) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each image, in order, on every worker thread."""
        share = -(-len(images) // self.threads) or 1
        parts = [images[start : start + share] for start in range(0, len(images), share)]
        with ThreadPoolExecutor(self.threads) as workers:
            done = list(workers.map(partial(self.faces.run, plan=plan), parts))
        return [outcome for part in done for outcome in part]

    @property
    def faces(self) -> FacePipeline:
        """Bytes in, evidence out."""
        return self.pack.faces

    @property
    def scale(self) -> ScoreScale:
        """The scale its templates are compared on."""
        return self.pack.scale

    @property
    def model_id(self) -> str:
        """The id every template of this pipeline carries."""
        return self.pack.scale.model_id


def open_cache(settings: Settings) -> ModelCache:
    """The model cache of these settings."""
    return ModelCache(settings.models.cache_dir)


def open_pipeline(settings: Settings) -> OpenedPipeline:
    """Load the packs in the cache. Raises `pack_missing` or `pack_corrupt`."""
    limits = Limits(
        size_bytes_max=settings.pipeline.image_bytes_max,
        pixels_max=settings.pipeline.image_pixels_max,
    )
    threads = settings.pipeline.threads or os.cpu_count() or 1
    return OpenedPipeline(
        load_faces(open_cache(settings), settings.pipeline.detector, limits), limits, threads
    )
