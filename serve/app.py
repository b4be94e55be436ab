"""Composition root: settings to adapters. Nothing else decides which adapter is used."""

import os
from dataclasses import dataclass

from pipeline.face.compare import ScoreScale
from pipeline.face.steps import FacePipeline
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
    return OpenedPipeline(load_faces(open_cache(settings), limits=limits), limits, threads)
