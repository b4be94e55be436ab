"""Make a pack: obtain its sources, convert, verify, publish; only what is missing or damaged.

Every model is published as soon as it is verified (file first, then the manifest that vouches
for it), so a build that dies resumes at the model it died in, and a second process that
waited for the lock finds nothing left to do.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Code, PipelineError
from pipeline.models.archive import read_members
from pipeline.models.cache import ModelCache, write_atomically
from pipeline.models.catalog import ModelRecipe, Recipe, Source
from pipeline.models.convert.formats import convert
from pipeline.models.fetch import Progress, obtain
from pipeline.models.manifest import Manifest, ModelEntry
from pipeline.models.options import SessionOptions
from pipeline.models.session import OnnxModel
from pipeline.models.verify import check_known_answer


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did: the whole pack, and the models that had to be made."""

    manifest: Manifest
    made: tuple[str, ...]


def build_pack(recipe: Recipe, cache: ModelCache, mirror: Path | None, progress: Progress) -> Built:
    """Bring `recipe`'s pack into `cache`, whole and verified. Idempotent, safe under races.

    `progress(what, done, total)` counts bytes while downloading and models while converting.
    Raises `source_unavailable`, `source_hash_mismatch`, `format_*` or `pack_corrupt`.
    """
    with cache.building():
        manifest = _usable_manifest(recipe, cache)
        todo = [model for model in recipe.model if not _is_sound(model, manifest, cache)]
        sources = {source.id: source for source in recipe.source}
        files = {
            key: obtain(sources[key], cache, mirror, progress)
            for key in dict.fromkeys(model.source for model in todo)
        }
        for done, model in enumerate(todo):
            progress(f"convert {model.file}", done, len(todo))
            entry = _make(model, recipe, files[model.source], cache)
            manifest = manifest.with_entry(entry)
            cache.write_manifest(manifest)
        if todo:
            progress("convert", len(todo), len(todo))
    return Built(manifest, tuple(model.id for model in todo))


def check_pack(recipe: Recipe, cache: ModelCache) -> list[tuple[ModelEntry, float]]:
    """Hash, load and test every model of a pack: its entries and known-answer differences.

    Raises `pack_missing` or `pack_corrupt`.
    """
    manifest = cache.read_manifest(recipe.pack.name)
    if manifest.recipe_digest != recipe.digest:
        raise PipelineError(Code.PACK_CORRUPT, f"{recipe.pack.name} is from another recipe")
    checked = []
    for model in recipe.model:
        data = cache.read_model(manifest, model.id)
        entry = manifest.entry(model.id)
        assert entry is not None  # read_model found it
        difference = check_known_answer(OnnxModel(model.id, data, SessionOptions()), model)
        checked.append((entry, difference))
    return checked


def _usable_manifest(recipe: Recipe, cache: ModelCache) -> Manifest:
    planned = tuple(model.id for model in recipe.model)
    empty = Manifest(pack=recipe.pack, recipe_digest=recipe.digest, planned=planned)
    try:
        manifest = cache.read_manifest(recipe.pack.name)
    except PipelineError:
        return empty
    return manifest if manifest.recipe_digest == recipe.digest else empty


def _is_sound(model: ModelRecipe, manifest: Manifest, cache: ModelCache) -> bool:
    try:
        cache.read_model(manifest, model.id)
    except PipelineError:
        return False
    return True


def _make(model: ModelRecipe, recipe: Recipe, path: Path, cache: ModelCache) -> ModelEntry:
    source = recipe.source_of(model)
    data = convert(model.format, _source_bytes(model, source, path))
    loaded = OnnxModel(model.id, data, SessionOptions())
    check_known_answer(loaded, model)
    write_atomically(cache.pack_dir(recipe.pack.name) / model.file, data)
    return ModelEntry(
        id=model.id,
        task=model.task,
        file=model.file,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        origin=source.origin,
        origin_sha256=source.sha256,
        origin_integrity=source.integrity,
        licence=model.licence,
        preprocessing=model.preprocessing,
        inputs=loaded.inputs,
        outputs=loaded.outputs,
        score=model.score,
        crop_factor=model.crop_factor,
    )


def _source_bytes(model: ModelRecipe, source: Source, path: Path) -> list[bytes]:
    if model.members:
        return read_members(path, model.members)
    if source.kind != "url":
        raise PipelineError(Code.FORMAT_INVALID, f"{model.id}: an archive without members")
    return [path.read_bytes()]
