"""Packs are built whole, once, from what their recipe pins, and mended where they are damaged."""

import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Code, PipelineError
from pipeline.models.build import build_pack, check_pack
from pipeline.models.cache import MANIFEST_FILE, ModelCache
from pipeline.models.catalog import (
    Format,
    KnownAnswer,
    ModelRecipe,
    PackInfo,
    Recipe,
    Source,
    Task,
)
from pipeline.models.convert.onnx_graph import GraphWriter
from tests.fixtures import silent

NAMES = ("first", "second")


def tiny_graph(name: str) -> bytes:
    """A graph that adds 1 to a `(N, 4)` input."""
    writer = GraphWriter(name)
    writer.input("x", "float32", ["N", 4])
    writer.node("Add", ["x", writer.constant("one", np.ones(1, np.float32))], "y0")
    writer.output("y0", "y", ["N", 4])
    return writer.finish({})


def tiny_recipe(digest: str = "0" * 64, known: float = 1.0) -> Recipe:
    """Two models, each from its own file; `known` is the first value `y` is expected to hold."""
    graphs = {name: tiny_graph(name) for name in NAMES}
    return Recipe(
        pack=PackInfo(name="tiny", version=1, title="two small graphs"),
        source=tuple(
            Source(
                id=name,
                kind="url",
                url=f"https://example.invalid/{name}.onnx",
                file=f"{name}.onnx",
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                licence="CC0-1.0",
            )
            for name, data in graphs.items()
        ),
        model=tuple(
            ModelRecipe(
                id=f"{name}.1",
                task=Task.DETECTION,
                file=f"{name}-model.onnx",
                licence="CC0-1.0",
                source=name,
                format=Format.ONNX,
                preprocessing="none",
                known_answer=KnownAnswer(output="y", values=(known,)),
            )
            for name in NAMES
        ),
        digest=digest,
    )


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder that holds the recipe's files."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.onnx").write_bytes(tiny_graph(name))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    """An empty cache."""
    return ModelCache(tmp_path / "cache")


def test_first_build_makes_everything(mirror: Path, cache: ModelCache) -> None:
    """A build makes every model, vouches for each with its hash, and every one passes a check."""
    built = build_pack(tiny_recipe(), cache, mirror, silent)
    assert built.made == ("first.1", "second.1")
    checked = check_pack(tiny_recipe(), cache)
    assert [entry.id for entry, _ in checked] == ["first.1", "second.1"]
    assert [entry.inputs[0].shape for entry, _ in checked] == [("N", 4), ("N", 4)]


def test_second_build_makes_nothing(mirror: Path, cache: ModelCache) -> None:
    """A build of a sound pack touches no model file and needs no source."""
    build_pack(tiny_recipe(), cache, mirror, silent)
    before = [path.stat().st_mtime_ns for path in sorted(cache.pack_dir("tiny").iterdir())]
    empty = mirror / "empty"
    empty.mkdir()
    for path in cache.downloads.iterdir():
        path.unlink()
    assert build_pack(tiny_recipe(), cache, empty, silent).made == ()
    after = [path.stat().st_mtime_ns for path in sorted(cache.pack_dir("tiny").iterdir())]
    assert after == before


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_model_is_noticed_and_mended(damage: str, mirror: Path, cache: ModelCache) -> None:
    """A model file that differs from its manifest is refused, and only it is made again."""
    build_pack(tiny_recipe(), cache, mirror, silent)
    path = cache.pack_dir("tiny") / "second-model.onnx"
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PipelineError) as refused:
        check_pack(tiny_recipe(), cache)
    assert refused.value.code is Code.PACK_CORRUPT
    assert build_pack(tiny_recipe(), cache, mirror, silent).made == ("second.1",)
    assert path.read_bytes() == data


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\xff", b"[" * 5000])
def test_damaged_manifest_is_rebuilt(content: bytes, mirror: Path, cache: ModelCache) -> None:
    """A manifest that does not read is an error to a reader and a fresh start to a build."""
    build_pack(tiny_recipe(), cache, mirror, silent)
    (cache.pack_dir("tiny") / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(PipelineError) as refused:
        check_pack(tiny_recipe(), cache)
    assert refused.value.code is Code.PACK_CORRUPT
    assert len(build_pack(tiny_recipe(), cache, mirror, silent).made) == 2


def test_interrupted_build_resumes(mirror: Path, cache: ModelCache) -> None:
    """What was made before a build died is kept; the next build goes on from there."""
    second = mirror / "second.onnx"
    kept = second.read_bytes()

    def dies(what: str, done: int, total: int) -> None:
        if what.startswith("convert") and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pack(tiny_recipe(), cache, mirror, dies)
    assert not cache.read_manifest("tiny").is_complete
    second.write_bytes(kept)
    assert build_pack(tiny_recipe(), cache, mirror, silent).made == ("second.1",)


def test_another_recipe_is_built_anew(mirror: Path, cache: ModelCache) -> None:
    """A pack made by an older recipe is refused by a check and made again by a build."""
    build_pack(tiny_recipe(), cache, mirror, silent)
    newer = tiny_recipe(digest="1" * 64)
    with pytest.raises(PipelineError) as refused:
        check_pack(newer, cache)
    assert refused.value.code is Code.PACK_CORRUPT
    assert len(build_pack(newer, cache, mirror, silent).made) == 2


def test_wrong_bytes_are_refused(mirror: Path, cache: ModelCache) -> None:
    """A source that is not the pinned file is refused before anything reads it."""
    (mirror / "first.onnx").write_bytes(b"not the pinned bytes")
    with pytest.raises(PipelineError) as refused:
        build_pack(tiny_recipe(), cache, mirror, silent)
    assert refused.value.code is Code.SOURCE_HASH_MISMATCH
    assert not list(cache.downloads.glob("*first*"))


def test_damaged_download_is_fetched_again(mirror: Path, cache: ModelCache) -> None:
    """A cached source is hashed before use, and fetched again when it is damaged."""
    build_pack(tiny_recipe(), cache, mirror, silent)
    for path in cache.downloads.iterdir():
        path.write_bytes(b"damaged")
    (cache.pack_dir("tiny") / MANIFEST_FILE).unlink()
    assert len(build_pack(tiny_recipe(), cache, mirror, silent).made) == 2


def test_wrong_known_answer_is_refused(mirror: Path, cache: ModelCache) -> None:
    """A conversion that computes something else than its recipe says is never published."""
    with pytest.raises(PipelineError) as refused:
        build_pack(tiny_recipe(known=7.0), cache, mirror, silent)
    assert refused.value.code is Code.PACK_CORRUPT
    assert not (cache.pack_dir("tiny") / "first-model.onnx").exists()


def test_missing_mirror_file_is_unavailable(tmp_path: Path, cache: ModelCache) -> None:
    """With a mirror, a URL is never asked: what the mirror lacks is unavailable."""
    with pytest.raises(PipelineError) as refused:
        build_pack(tiny_recipe(), cache, tmp_path, silent)
    assert refused.value.code is Code.SOURCE_UNAVAILABLE


def _build_in_process(root: Path, mirror: Path, made: "multiprocessing.Queue[int]") -> None:
    made.put(len(build_pack(tiny_recipe(), ModelCache(root), mirror, silent).made))


def test_two_processes_build_once(mirror: Path, cache: ModelCache) -> None:
    """Of processes that build at once one does the work, and all of them end with the pack."""
    context = multiprocessing.get_context("spawn")
    made = context.Queue()
    builders = [
        context.Process(target=_build_in_process, args=(cache.root, mirror, made)) for _ in range(3)
    ]
    for builder in builders:
        builder.start()
    counts = sorted(made.get(timeout=60) for _ in builders)
    for builder in builders:
        builder.join(timeout=60)
    assert counts == [0, 0, 2]
    assert [builder.exitcode for builder in builders] == [0, 0, 0]
    check_pack(tiny_recipe(), cache)
