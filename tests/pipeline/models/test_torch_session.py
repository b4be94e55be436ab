"""torch gives the answers of ONNX Runtime, for every operator of the packs and for whole packs.

On a CPU, the half precision too: torch computes it there as a GPU does, only slowly.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.evidence import FaceEvidence, Pixels, Template
from pipeline.image.decode import encode_png
from pipeline.models.build import build_pack
from pipeline.models.cache import ModelCache
from pipeline.models.catalog import read_recipe
from pipeline.models.convert.onnx_graph import FLOAT, GraphWriter
from pipeline.models.load import Detector, load_faces
from pipeline.models.options import Device, Precision, Runtime, SessionOptions
from pipeline.models.session import OnnxModel
from tests.fixtures import SHARED, silent
from tests.pipeline.models.agreement import check_close

pytest.importorskip("torch", reason="torch is not installed")

from pipeline.models.torch_session import TorchModel

TORCH = SessionOptions(runtime=Runtime.TORCH)
HALF = replace(TORCH, precision=Precision.FP16)
SMALL = np.random.default_rng(7)


def graph(op: str, shape: tuple[int, ...], *constants: NDArray[Any], **attributes: Any) -> bytes:
    """One node over an input of `shape` and constants."""
    writer = GraphWriter("one")
    inputs = [writer.input("x", "float32", ["N", *shape[1:]])]
    inputs += [writer.constant(f"c{place}", value) for place, value in enumerate(constants)]
    node = writer.node(op, inputs, "node", **attributes)
    writer.output(node, "y", ["?"] * len(answer_shape(op, shape, attributes)))
    return writer.finish({})


def answer_shape(op: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> tuple[int, ...]:
    """Something with as many axes as the answer has."""
    return shape[:2] if op in {"Flatten", "Reshape"} else shape


def check_alike(data: bytes, x: NDArray[np.float32]) -> None:
    """torch and ONNX Runtime make the same of `x`."""
    expected = OnnxModel("one", data, SessionOptions()).run({"x": x})["y"]
    found = TorchModel("one", data, TORCH).run({"x": x})["y"]
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def drawn(*shape: int) -> NDArray[np.float32]:
    return SMALL.normal(size=shape).astype(np.float32)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    """How a kernel of 1 to 3 walks: by explicit padding, uneven too, or by the rule of `SAME`."""
    sides = st.tuples(st.integers(1, 3), st.integers(1, 3))
    found: dict[str, Any] = {"kernel_shape": draw(sides), "strides": draw(sides)}
    how = draw(st.sampled_from(["SAME_UPPER", "VALID", "pads"]))
    if how == "pads":
        limits = [side - 1 for side in found["kernel_shape"]] * 2
        found["pads"] = [draw(st.integers(0, limit)) for limit in limits]
    else:
        found["auto_pad"] = how
    return found


planes = st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9))


@settings(max_examples=60)
@given(planes, windows(), st.integers(1, 2), st.sampled_from([1, 4]), st.booleans())
def test_convolutions_agree(
    plane: tuple[int, int, int],
    window: dict[str, Any],
    dilation: int,
    groups: int,
    has_bias: bool,
) -> None:
    """Whatever the padding, the stride, the dilation and the groups."""
    batch, height, width = plane
    weight = drawn(8, 4 // groups, *window["kernel_shape"])
    constants = [weight, drawn(8)] if has_bias else [weight]
    shape = (batch, 4, height, width)
    spread = (
        {}
        if "pads" not in window and window["auto_pad"] != "VALID"
        else {"dilations": [dilation, dilation]}
    )
    check_alike(graph("Conv", shape, *constants, group=groups, **window, **spread), drawn(*shape))


@settings(max_examples=40)
@given(planes, windows())
def test_pooling_agrees(plane: tuple[int, int, int], window: dict[str, Any]) -> None:
    """The largest of a window, whatever its padding; the mean, where there is none."""
    batch, height, width = plane
    shape, kernel = (batch, 3, height, width), window["kernel_shape"]
    if all(step <= side for step, side in zip(window["strides"], kernel, strict=True)):
        # ONNX Runtime itself refuses windows that skip pixels, where it is to pad.
        check_alike(graph("MaxPool", shape, **window), drawn(*shape))
    bare = {"kernel_shape": kernel, "strides": window["strides"]}
    check_alike(graph("AveragePool", shape, **bare), drawn(*shape))


PICTURE = (2, 4, 6, 5)
ONE = np.float32
INT = np.int64


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Add", [drawn(4, 1, 1)], {}),
        ("BatchNormalization", [drawn(4), drawn(4), drawn(4), np.abs(drawn(4))], {}),
        ("Cast", [], {"to": FLOAT}),
        ("Clip", [ONE(-0.5), ONE(0.5)], {}),
        ("Concat", [], {"axis": 1}),
        ("Flatten", [], {"axis": 1}),
        ("GlobalAveragePool", [], {}),
        ("Identity", [], {}),
        ("MatMul", [drawn(5, 5)], {}),
        ("Mul", [drawn(1, 4, 1, 1)], {}),
        ("PRelu", [drawn(4, 1, 1)], {}),
        ("Pad", [np.array([0, 1, 2, 0, 0, 3, 0, 1], INT)], {}),
        ("Pad", [np.array([0, 0, 0, 0, 0, 4, 0, 0], INT), ONE(1.5)], {}),
        ("Relu", [], {}),
        ("Reshape", [np.array([0, -1], INT)], {}),
        ("Sigmoid", [], {}),
        ("Softmax", [], {"axis": 1}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ],
)
def test_operators_agree(op: str, constants: list[Any], attributes: dict[str, Any]) -> None:
    """Every other operator of the packs, on a picture of four channels."""
    check_alike(graph(op, PICTURE, *constants, **attributes), drawn(*PICTURE))


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Sin", [], {}),
        ("MaxPool", [], {"kernel_shape": [2, 2], "ceil_mode": 1}),
        ("AveragePool", [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        ("Pad", [np.zeros(8, INT)], {"mode": "reflect"}),
        ("Conv", [drawn(4, 4, 3, 3)], {"auto_pad": "SAME_LOWER"}),
        ("Resize", [np.array([], ONE), np.array([1, 1, 2, 2], ONE)], {"mode": "linear"}),
        ("PRelu", [drawn(4, 6, 5)], {}),
        ("Gather", [np.array([0, 1], INT)], {}),
    ],
)
def test_what_torch_would_guess_at_is_refused(
    op: str, constants: list[Any], attributes: dict[str, Any]
) -> None:
    """An unknown operator, or a known one in a way that no pack uses it, is refused at loading."""
    data = graph(op, PICTURE, *constants, **attributes)
    with pytest.raises(PipelineError) as refused:
        TorchModel("one", data, TORCH)
    assert refused.value.code is Code.FORMAT_UNSUPPORTED
    assert op in refused.value.detail


def test_only_what_the_model_takes_is_run() -> None:
    """Another shape or type is refused as such; any layout in memory and a read-only array fit."""
    model = TorchModel("one", graph("Relu", (1, 4, 3)), TORCH)
    rows = drawn(2, 3, 4).transpose(0, 2, 1)
    rows.setflags(write=False)
    assert (model.run({"x": rows})["y"] == np.maximum(rows, 0)).all()
    for wrong in (rows.astype(np.float64), rows[:, :2], rows[0]):
        with pytest.raises(PipelineError) as refused:
            model.run({"x": wrong})
        assert refused.value.code is Code.WRONG_SHAPE


def test_a_failing_run_is_a_device_error() -> None:
    """What torch itself refuses, such as sizes that do not fit, comes out under a code."""
    data = graph("Reshape", (1, 4, 3), np.array([5, -1], INT))
    with pytest.raises(PipelineError) as refused:
        TorchModel("one", data, TORCH).run({"x": drawn(1, 4, 3)})
    assert refused.value.code is Code.DEVICE_ERROR


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    """What was to run on a GPU never runs on a CPU in silence."""
    with pytest.raises(PipelineError) as refused:
        TorchModel("one", graph("Relu", PICTURE), replace(TORCH, device=Device.CUDA, device_id=99))
    assert refused.value.code is Code.DEVICE_UNAVAILABLE


def test_bytes_that_are_no_model_are_refused() -> None:
    """The error is that of ONNX Runtime's model."""
    with pytest.raises(PipelineError) as refused:
        TorchModel("noise", b"noise", TORCH)
    assert refused.value.code is Code.FORMAT_INVALID


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from pipeline.errors import PipelineError
try:
    import pipeline.models.torch_session
except PipelineError as error:
    assert error.code == "runtime_missing"
else:
    raise AssertionError("it was imported")
"""


@pytest.mark.parametrize(
    "program",
    ["import pipeline.models.load, sys; assert 'torch' not in sys.modules", WITHOUT_TORCH],
    ids=["not imported", "not installed"],
)
def test_torch_is_an_extra(program: str) -> None:
    """Loading models imports no torch, and where it is wanted but absent the error says so."""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.fixture(scope="module")
def photos(tiles: list[list[Pixels]], astronaut: Pixels) -> list[bytes]:
    """Six real faces, one of them small in a large picture."""
    small = np.zeros((1200, 1200, 3), np.uint8)
    small[300 : 300 + 512, 300 : 300 + 512] = astronaut
    faces = [tiles[row][column] for row in (0, 3) for column in (0, 7)]
    return [encode_png(each) for each in [*faces, astronaut, small]]


@pytest.fixture(scope="module")
def cache(model_cache: ModelCache, tmp_path_factory: pytest.TempPathFactory) -> ModelCache:
    """The default pack, and the optional ones where their weights are at hand."""
    own = ModelCache(tmp_path_factory.mktemp("cache"))
    (own.root / "packs").mkdir()
    own.pack_dir("default").symlink_to(model_cache.pack_dir("default"))
    if SHARED.is_dir():
        for name in ("minifasnet", "yunet"):
            build_pack(read_recipe(name), own, SHARED / "weights", silent)
    return own


@pytest.mark.models
def test_the_pack_gives_the_same_evidence(cache: ModelCache, photos: list[bytes]) -> None:
    """Templates, meshes, ages and liveness of real faces agree with ONNX Runtime's."""
    check_close(load_faces(cache), load_faces(cache, options=TORCH), photos, slack=1)


@pytest.mark.models
def test_half_precision_gives_the_same_evidence(cache: ModelCache, photos: list[bytes]) -> None:
    """So they do with weights and layers in float16, a little less closely."""
    photos = photos[::2]
    check_close(load_faces(cache), load_faces(cache, options=HALF), photos, slack=10)


@pytest.mark.shared
def test_the_other_detector_agrees_too(
    shared: object, cache: ModelCache, photos: list[bytes]
) -> None:
    """YuNet, whose graph computes shapes as it goes, finds the same faces in torch."""
    pack, other = (load_faces(cache, Detector.YUNET, options=each) for each in (None, TORCH))
    check_close(pack, other, photos, slack=1)


@pytest.mark.models
def test_threads_do_not_meet_in_a_model(cache: ModelCache, photos: list[bytes]) -> None:
    """The same model run from several threads at once gives each its own answer."""
    pack = load_faces(cache, options=TORCH)
    alone = [pack.faces.run([data])[0] for data in photos]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda data: pack.faces.run([data])[0], photos * 2))
    for before, after in zip(alone * 2, found, strict=True):
        assert isinstance(before, FaceEvidence)
        assert isinstance(after, FaceEvidence)
        assert isinstance(before.template, Template)
        assert isinstance(after.template, Template)
        assert before.template.vector.tobytes() == after.template.vector.tobytes()
