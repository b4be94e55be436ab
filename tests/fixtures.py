"""Real weights and real photos, as session fixtures.

The default pack is built into the user's cache on first use, from the package registries alone.
What lies in `../shared` is data for tests that is never committed; without it those tests skip.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence import Pixels
from pipeline.face.liveness import CroppedModel
from pipeline.models.archive import read_members
from pipeline.models.build import build_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.fetch import obtain
from pipeline.models.load import LoadedPack, load_faces
from pipeline.models.options import SessionOptions
from pipeline.models.session import OnnxModel
from serve.demo.tiles import COLUMNS, ROWS, cut_tile, read_screenshot
from serve.settings import load

SHARED = Path(__file__).resolve().parents[2] / "shared"


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photos and weights beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def model_cache() -> ModelCache:
    """The user's cache with the default pack in it, built if need be."""
    cache = ModelCache(load().models.cache_dir)
    build_pack(read_recipe("default"), cache, None, silent)
    return cache


@pytest.fixture(scope="session")
def source_file(model_cache: ModelCache) -> Callable[[str], Path]:
    """The verified archive of one of the default pack's sources, by its id."""
    sources = {source.id: source for source in read_recipe("default").source}
    return lambda name: obtain(sources[name], model_cache, None, silent)


@pytest.fixture(scope="session")
def dlib_dat(source_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dlib's own serialised embedder."""
    member = read_recipe("default").model[0].members[0]
    path = tmp_path_factory.mktemp("dlib") / Path(member).name
    path.write_bytes(read_members(source_file("dlib"), [member])[0])
    return path


@pytest.fixture(scope="session")
def human_package(
    source_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the npm package, with the members that tests read."""
    members = [f"models/{name}.{end}" for name in ("blazeface", "facemesh", "faceres")
               for end in ("json", "bin")]  # fmt: skip
    folder = tmp_path_factory.mktemp("human")
    data = read_members(source_file("human"), [f"package/{member}" for member in members])
    for member, content in zip(members, data, strict=True):
        path = folder / member
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def pack(model_cache: ModelCache, tmp_path_factory: pytest.TempPathFactory) -> LoadedPack:
    """The default pack alone, loaded: no passive liveness, whatever the user has pulled."""
    alone = ModelCache(tmp_path_factory.mktemp("cache"))
    (alone.root / "packs").mkdir()
    alone.pack_dir("default").symlink_to(model_cache.pack_dir("default"))
    return load_faces(alone)


@pytest.fixture(scope="session")
def liveness_models(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CroppedModel, ...]:
    """MiniFASNet, pulled from the mirror in `../shared`."""
    cache = ModelCache(tmp_path_factory.mktemp("liveness"))
    manifest = build_pack(read_recipe("minifasnet"), cache, shared / "weights", silent).manifest
    return tuple(
        CroppedModel(
            OnnxModel(entry.id, cache.read_model(manifest, entry.id), SessionOptions()),
            entry.crop_factor or 1.0,
        )
        for entry in manifest.models
    )


@pytest.fixture(scope="session")
def johns(shared: Path) -> list[tuple[str, bytes]]:
    """Person and photo bytes: 5 people, 11 photos of 150 px each."""
    return [
        (path.parent.name, path.read_bytes())
        for path in sorted((shared / "faces" / "johns").glob("*/*.jpg"))
    ]


@pytest.fixture(scope="session")
def astronaut() -> Pixels:
    """A public-domain portrait, `(512, 512, 3)` uint8 RGB."""
    import skimage.data  # noqa: PLC0415 (only tests that ask for it pay for the import)

    return np.asarray(skimage.data.astronaut(), np.uint8)


@pytest.fixture(scope="session")
def tiles(model_cache: ModelCache) -> list[list[Pixels]]:
    """The 6 x 18 grid of real face tiles in the npm package's screenshot, row by row."""
    screenshot = read_screenshot(model_cache, silent)
    return [[cut_tile(screenshot, (row, column)) for column in range(COLUMNS)]
            for row in range(ROWS)]  # fmt: skip
