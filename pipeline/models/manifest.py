"""What a built pack contains: one JSON file beside the ONNX files it vouches for."""

from pydantic import Field, ValidationError

from pipeline.errors import Code, PipelineError
from pipeline.models.catalog import FILE_NAME, SHA256, PackInfo, ScoreSpec, Strict, Task

MANIFEST_BYTES_MAX = 2**20
MANIFEST_VERSION = 1


class TensorSpec(Strict):
    """A graph input or output; a string in `shape` is a symbolic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class ModelEntry(Strict):
    """One ONNX file: what it is, what it was made from, and what to feed it."""

    id: str
    task: Task
    file: str = Field(pattern=FILE_NAME)
    sha256: str = Field(pattern=SHA256)
    size_bytes: int = Field(gt=0)
    origin: str
    origin_sha256: str = Field(pattern=SHA256)
    origin_integrity: str | None = None
    licence: str
    preprocessing: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    score: ScoreSpec | None = None
    crop_factor: float | None = None


class Manifest(Strict):
    """A pack in the cache. `recipe_digest` tells whether it still matches its recipe.

    `planned` are the ids of all the pack's models; while a build runs, or after one that died,
    `models` has fewer.
    """

    manifest_version: int = Field(default=MANIFEST_VERSION, ge=1, le=MANIFEST_VERSION)
    pack: PackInfo
    recipe_digest: str = Field(pattern=SHA256)
    planned: tuple[str, ...] = Field(min_length=1)
    models: tuple[ModelEntry, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every planned model is there."""
        return {entry.id for entry in self.models} == set(self.planned)

    def entry(self, model_id: str) -> ModelEntry | None:
        """The entry of `model_id`, or None."""
        return next((entry for entry in self.models if entry.id == model_id), None)

    def with_entry(self, entry: ModelEntry) -> "Manifest":
        """The same manifest with `entry` added, or put in place of its namesake."""
        entries = {**{other.id: other for other in self.models}, entry.id: entry}
        ordered = tuple(entries[name] for name in self.planned if name in entries)
        return self.model_copy(update={"models": ordered})

    def encode(self) -> bytes:
        """The JSON file's bytes."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest strictly. Raises `pack_corrupt`."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise PipelineError(Code.PACK_CORRUPT, f"manifest of {len(data)} bytes")
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise PipelineError(Code.PACK_CORRUPT, f"manifest: {error.error_count()} errors") from error
