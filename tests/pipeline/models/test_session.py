"""ONNX Runtime by I/O binding, in half precision, and where the GPU that was asked for is not."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.models.build import build_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.convert.onnx_graph import GraphWriter, read_graph, with_half_floats
from pipeline.models.load import load_faces
from pipeline.models.options import Device, Precision, SessionOptions
from pipeline.models.session import OnnxModel, providers
from pipeline.models.verify import known_input
from tests.fixtures import SHARED, silent

ABSENT_GPU = SessionOptions(device=Device.CUDA, device_id=99)


def doubling() -> bytes:
    """A graph that doubles its three numbers."""
    writer = GraphWriter("doubling")
    rows = writer.input("rows", "float32", ("N", 3))
    two = writer.constant("two", np.array(2, np.float32))
    writer.output(writer.node("Mul", [rows, two], "twice"), "doubled", ("N", 3))
    return writer.finish({})


def packs(cache: ModelCache) -> dict[str, bytes]:
    """Every model of the default pack."""
    manifest = cache.read_manifest("default")
    return {entry.id: cache.read_model(manifest, entry.id) for entry in manifest.models}


def batch(model: OnnxModel, items: int) -> dict[str, NDArray[Any]]:
    """Different picture-like items for each input of `model`."""
    single = {spec.name: known_input(spec) for spec in model.inputs}
    return {
        name: np.concatenate([np.roll(array, 7 * place, axis=1) for place in range(items)])
        for name, array in single.items()
    }


@pytest.mark.models
@pytest.mark.parametrize("items", [1, 3])
def test_binding_changes_no_byte(model_cache: ModelCache, items: int) -> None:
    """Inputs and outputs that are bound to the device are those of the plain call, bit for bit."""
    for name, data in packs(model_cache).items():
        plain = OnnxModel(name, data, SessionOptions())
        bound = OnnxModel(name, data, SessionOptions(is_bound=True))
        inputs = batch(plain, items)
        expected, found = plain.run(inputs), bound.run(inputs)
        assert found.keys() == expected.keys()
        assert all(found[key].tobytes() == expected[key].tobytes() for key in expected)


@pytest.mark.parametrize("is_bound", [False, True], ids=["plain", "bound"])
def test_only_what_the_model_takes_is_run(is_bound: bool) -> None:
    """Another shape or type is refused as such; any layout in memory and a read-only array fit."""
    model = OnnxModel("doubling", doubling(), SessionOptions(is_bound=is_bound))
    rows = np.arange(12, dtype=np.float32).reshape(3, 4).T
    rows.setflags(write=False)
    assert (model.run({"rows": rows})["doubled"] == rows * 2).all()
    for wrong in (rows.astype(np.float64), rows[:, :2], rows[0]):
        with pytest.raises(PipelineError) as refused:
            model.run({"rows": wrong})
        assert refused.value.code is Code.WRONG_SHAPE


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    """What was to run on a GPU never runs on a CPU in silence."""
    with pytest.raises(PipelineError) as refused:
        OnnxModel("doubling", doubling(), ABSENT_GPU)
    assert refused.value.code is Code.DEVICE_UNAVAILABLE


@pytest.mark.models
def test_a_pack_is_not_loaded_without_its_gpu(model_cache: ModelCache) -> None:
    """The same holds for a whole pipeline."""
    with pytest.raises(PipelineError) as refused:
        load_faces(model_cache, options=ABSENT_GPU)
    assert refused.value.code is Code.DEVICE_UNAVAILABLE


def test_a_gpu_is_asked_for_by_name() -> None:
    """The GPU comes before the CPU, with its number, and with a limit where one was set."""
    (name, settings), (last, _) = providers(SessionOptions(device=Device.CUDA, device_id=2))
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert settings["device_id"] == "2"
    assert "gpu_mem_limit" not in settings
    limited = SessionOptions(device=Device.CUDA, memory_bytes_max=2**30)
    assert providers(limited)[0][1]["gpu_mem_limit"] == str(2**30)
    assert providers(SessionOptions()) == [("CPUExecutionProvider", {})]


def test_bytes_that_are_no_model_are_refused() -> None:
    """Neither executing, reading nor halving takes what is not a graph."""
    halved = SessionOptions(precision=Precision.FP16)
    for attempt in (
        lambda: OnnxModel("noise", b"noise", SessionOptions()),
        lambda: OnnxModel("noise", b"noise", halved),
        lambda: read_graph(b"noise"),
    ):
        with pytest.raises(PipelineError) as refused:
            attempt()
        assert refused.value.code is Code.FORMAT_INVALID


@pytest.mark.models
def test_a_graph_is_read_as_onnx_runtime_reads_it(model_cache: ModelCache) -> None:
    """Inputs and outputs have the names, types and shapes that ONNX Runtime reports."""
    for name, data in packs(model_cache).items():
        graph, model = read_graph(data), OnnxModel(name, data, SessionOptions())
        assert graph.inputs == model.inputs
        assert graph.outputs == model.outputs
        made = {spec.name for spec in graph.inputs} | graph.constants.keys()
        for node in graph.nodes:
            assert {each for each in node.inputs if each} <= made
            made |= set(node.outputs)


@pytest.mark.models
def test_half_the_bits_keep_the_answers(model_cache: ModelCache) -> None:
    """In float16 a model takes and gives what it did, and points in the same direction."""
    for name, data in packs(model_cache).items():
        whole = OnnxModel(name, data, SessionOptions())
        half = OnnxModel(name, data, SessionOptions(precision=Precision.FP16))
        assert half.inputs == whole.inputs
        assert half.outputs == whole.outputs
        assert len(with_half_floats(data)) < 0.6 * len(data)
        inputs = batch(whole, 2)
        expected, found = whole.run(inputs), half.run(inputs)
        for key, rows in expected.items():
            assert found[key].dtype == np.float32
            assert found[key] == pytest.approx(rows, abs=1e-2 * float(np.abs(rows).max()))


@pytest.mark.shared
def test_half_the_bits_keep_an_older_graph(
    model_cache: ModelCache, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A published graph of an older opset, with a Resize in it, is halved as well."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout")
    cache = ModelCache(tmp_path_factory.mktemp("yunet"))
    manifest = build_pack(read_recipe("yunet"), cache, SHARED / "weights", silent).manifest
    (entry,) = manifest.models
    data = cache.read_model(manifest, entry.id)
    whole = OnnxModel(entry.id, data, SessionOptions())
    half = OnnxModel(entry.id, data, SessionOptions(precision=Precision.FP16))
    inputs = batch(whole, 2)
    for key, rows in whole.run(inputs).items():
        assert half.run(inputs)[key] == pytest.approx(rows, abs=2e-2)
