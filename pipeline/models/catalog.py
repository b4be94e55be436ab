"""The packs Limen knows: recipes in `configs/models/*.toml`, read strictly.

A recipe pins every byte it starts from (package version and hash, or URL at a commit and hash)
and names the conversion. What a build makes of it is described by the manifest.
"""

import hashlib
import tomllib
from enum import StrEnum
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import Code, PipelineError

SHA256 = r"^[0-9a-f]{64}$"
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"  # one path component, never hidden
SOURCE_BYTES_MAX = 512 * 2**20
RECIPES = "configs.models"
CONVERTERS = 1  # raised when a converter writes other graphs: built packs are then made again


class Task(StrEnum):
    """What a model is for; the pipeline asks for models by task."""

    EMBEDDING = "embedding"
    DETECTION = "detection"
    MESH = "mesh"
    AGE = "age"
    PASSIVE_LIVENESS = "passive_liveness"


class Format(StrEnum):
    """How source bytes become ONNX; `convert.formats` holds one converter for each."""

    DLIB_RESNET = "dlib_resnet"
    TFJS_BLAZEFACE = "tfjs_blazeface"
    TFJS_FACEMESH = "tfjs_facemesh"
    TFJS_FACERES = "tfjs_faceres"
    ONNX = "onnx"


class Strict(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Source(Strict):
    """One pinned download. `integrity` is the registry's own hash, where it has one."""

    id: str
    kind: Literal["pypi", "npm", "url"]
    package: str | None = None
    version: str | None = None
    url: str | None = Field(default=None, pattern=r"^https://")
    file: str = Field(pattern=FILE_NAME)
    sha256: str = Field(pattern=SHA256)
    integrity: str | None = None
    size_bytes: int = Field(gt=0, le=SOURCE_BYTES_MAX)
    licence: str

    @property
    def origin(self) -> str:
        """Where the bytes come from, in one line."""
        return self.url or f"{self.kind}:{self.package}@{self.version}"


class ScoreSpec(Strict):
    """The native comparison score and its two operating points, on the native scale."""

    native: Literal["cosine"]
    search_floor: float = Field(gt=-1, lt=1)
    verify_threshold: float = Field(gt=-1, lt=1)


class KnownAnswer(Strict):
    """The first values of `output` for the model's fixed test input (`verify.known_input`)."""

    output: str
    values: tuple[float, ...] = Field(min_length=1, max_length=64)
    tolerance: float = Field(default=1e-3, gt=0, le=1e-2)


class ModelRecipe(Strict):
    """One ONNX file to make. `members` are paths inside an archive source, in reader order."""

    id: str
    task: Task
    file: str = Field(pattern=FILE_NAME)
    licence: str
    source: str
    members: tuple[str, ...] = ()
    format: Format
    preprocessing: str
    score: ScoreSpec | None = None
    crop_factor: float | None = Field(default=None, gt=1, le=8)
    known_answer: KnownAnswer | None = None


class PackInfo(Strict):
    """What a pack is. `gallery_size_max` is how many people its accuracy can tell apart."""

    name: str = Field(pattern=FILE_NAME)
    version: int = Field(ge=1)
    title: str
    gallery_size_max: int | None = None


class Recipe(Strict):
    """A whole pack: sources and models, plus the digest that ties a built pack to its recipe."""

    pack: PackInfo
    source: tuple[Source, ...] = Field(min_length=1)
    model: tuple[ModelRecipe, ...] = Field(min_length=1)
    digest: str = Field(pattern=SHA256)

    def source_of(self, model: ModelRecipe) -> Source:
        """The source `model` is made from."""
        return next(source for source in self.source if source.id == model.source)


def pack_names() -> list[str]:
    """Names of every recipe, sorted, the default pack first."""
    names = [p.name[:-5] for p in resources.files(RECIPES).iterdir() if p.name.endswith(".toml")]
    return sorted(names, key=lambda name: (name != "default", name))


def read_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises `pack_unknown`, or `format_invalid` for a bad file."""
    if name not in pack_names():
        raise PipelineError(Code.PACK_UNKNOWN, f"no pack {name!r}; known: {pack_names()}")
    text = resources.files(RECIPES).joinpath(f"{name}.toml").read_bytes()
    digest = hashlib.sha256(text + f"converters {CONVERTERS}".encode()).hexdigest()
    try:
        recipe = Recipe.model_validate({**tomllib.loads(text.decode()), "digest": digest})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise PipelineError(Code.FORMAT_INVALID, f"recipe {name}: {error}") from error
    _check_references(recipe)
    return recipe


def _check_references(recipe: Recipe) -> None:
    sources = {source.id for source in recipe.source}
    for model in recipe.model:
        if model.source not in sources:
            raise PipelineError(Code.FORMAT_INVALID, f"{model.id}: no source {model.source!r}")
    for label, names in (
        ("model id", [model.id for model in recipe.model]),
        ("file", [model.file for model in recipe.model]),
        ("source id", [source.id for source in recipe.source]),
    ):
        if len(names) != len(set(names)):
            raise PipelineError(Code.FORMAT_INVALID, f"{recipe.pack.name}: repeated {label}")
