"""What the reader of dlib's serialisation accepts, and that nothing else gets past it."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.dlib_bytes import TENSOR_ELEMENTS_MAX, TEXT_BYTES_MAX
from pipeline.models.convert.dlib_format import (
    FILE_BYTES_MAX,
    LAYERS_MAX,
    SIDE_PX_MAX,
    WINDOW_MAX,
    read_network,
    read_resnet,
)
from pipeline.models.convert.dlib_net import (
    PUBLISHED,
    Affine,
    AveragePool,
    Convolution,
    Dense,
    DlibNet,
    InputImage,
    Layer,
    MaxPool,
    Relu,
    Residual,
    outline,
)
from tests.pipeline.models.dlib_files import (
    ADD,
    IMAGE,
    MARK,
    affine,
    con,
    details,
    drawn,
    integer,
    integers,
    number,
    pieces,
    published_net,
    small_net,
    text,
    tokens,
    written,
)

PEAK_BYTES_MAX = 1 << 20  # what reading a few kB may allocate, whatever they claim
READER_CODES = {Code.FORMAT_INVALID, Code.FORMAT_TOO_LARGE, Code.FORMAT_UNSUPPORTED}
FORGED = [-(2**63), -1, 0, 255, 2**16, TENSOR_ELEMENTS_MAX, 2**31 - 1, 2**40, 2**64 - 1]

SMALL_PIECES = pieces(IMAGE, tokens(small_net().layers))
SMALL = b"".join(SMALL_PIECES)

many_examples = settings(deadline=None, max_examples=300)


def refusal(data: bytes, read: Callable[[bytes], DlibNet] = read_network) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read(data)
    return caught.value


def read_or_refused(data: bytes) -> None:
    """Ends with a network or one of the reader's codes; anything else is raised."""
    try:
        read_network(data)
    except PipelineError as error:
        if error.code not in READER_CODES:
            raise


def assert_same(found: Layer, expected: Layer) -> None:
    assert str(found) == str(expected)
    if isinstance(found, Residual) and isinstance(expected, Residual):
        for layers in zip(
            found.body + found.shortcut, expected.body + expected.shortcut, strict=True
        ):
            assert_same(*layers)
    for name in ("filters", "biases", "gamma", "beta", "weights"):
        if hasattr(found, name):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


# --- What is read -----------------------------------------------------------------------------

widths = st.integers(1, 5)
windows = st.integers(1, 4)
plain_layers = st.one_of(
    st.builds(con, widths, widths, windows, st.integers(1, 3)),
    st.builds(affine, widths),
    st.builds(Relu),
    st.builds(MaxPool, windows, windows, st.just(0)),
    st.builds(AveragePool, st.integers(0, 4), windows, st.just(0)),
    st.builds(Dense, st.builds(drawn, widths, widths)),
)
runs = st.lists(plain_layers, max_size=4).map(tuple)
layers = st.one_of(plain_layers, st.builds(Residual, runs, runs))
images = st.builds(
    InputImage,
    st.integers(1, SIDE_PX_MAX),
    st.tuples(*(st.floats(0, 255, width=32, allow_subnormal=False) for _ in "rgb")),
)


@many_examples
@given(images, plain_layers, st.lists(layers, max_size=6))
def test_round_trip(image: InputImage, first: Layer, others: list[Layer]) -> None:
    """Any network of known layers is read as it was written, every weight in its place."""
    net = read_network(written(DlibNet(image, (first, *others))))
    assert net.image == image
    for found, expected in zip(net.layers, (first, *others), strict=True):
        assert_same(found, expected)


def test_published_type_is_accepted() -> None:
    """A file of the type in dlib's C++ example passes, whatever its weights."""
    net = read_resnet(written(published_net()))
    assert outline(net) == PUBLISHED
    assert len(net.layers) == 34


def test_weights_are_views() -> None:
    """Reading copies no weights: what comes back is a read-only view of the file."""
    layer = read_network(SMALL).layers[0]
    assert isinstance(layer, Convolution)
    assert not layer.filters.flags.owndata
    assert not layer.filters.flags.writeable


@pytest.mark.parametrize(
    ("image", "change"),
    [
        (InputImage(151, IMAGE.mean_rgb), slice(0, 0)),
        (InputImage(150, IMAGE.mean_rgb[::-1]), slice(0, 0)),
        (IMAGE, slice(1, 2)),
        (IMAGE, slice(4, 6)),
        (IMAGE, slice(-1, None)),
    ],
    ids=["side", "BGR mean", "an affine layer", "a residual", "the last layer"],
)
def test_other_topologies_are_refused(image: InputImage, change: slice) -> None:
    """A readable network that differs from the published type in input or layers is refused."""
    kept = list(published_net().layers)
    del kept[change]
    data = written(DlibNet(image, tuple(kept)))
    read_network(data)
    assert refusal(data, read_resnet).code is Code.FORMAT_UNSUPPORTED


@pytest.mark.models
def test_real_file_is_read_in_full(dlib_dat: Path) -> None:
    """Written again from what was read, the file that dlib publishes is the same to the byte."""
    data = dlib_dat.read_bytes()
    is_same = written(read_resnet(data)) == data
    assert is_same, "the bytes differ"  # never compared by pytest, which would print 22 MB


# --- What is refused --------------------------------------------------------------------------


def test_every_truncation_is_invalid() -> None:
    """Cut anywhere, at every boundary and inside every primitive, a file is refused as invalid."""
    assert {refusal(SMALL[:size]).code for size in range(len(SMALL))} == {Code.FORMAT_INVALID}


def test_trailing_bytes_are_invalid() -> None:
    """Nothing may follow the network."""
    assert refusal(SMALL + b"\0").code is Code.FORMAT_INVALID


@many_examples
@given(st.lists(st.integers(0, 8 * len(SMALL) - 1), min_size=1, max_size=8))
def test_bit_flips(bits: list[int]) -> None:
    """Flipped bits give another network or a coded refusal, never another exception."""
    forged = bytearray(SMALL)
    for bit in bits:
        forged[bit // 8] ^= 1 << bit % 8
    read_or_refused(bytes(forged))


@many_examples
@given(st.integers(0, len(SMALL)), st.binary(max_size=200))
def test_random_bytes(kept: int, tail: bytes) -> None:
    """Random bytes after any valid beginning end in a network or a coded refusal."""
    read_or_refused(SMALL[:kept] + tail)
    read_or_refused(SMALL[:kept] + tail + SMALL[kept:])


@pytest.mark.parametrize("value", FORGED)
def test_forged_numbers_allocate_nothing(value: int) -> None:
    """Any primitive replaced by any number ends coded, within a fixed amount of memory."""
    body, shortcut = (Affine(drawn(3), drawn(3)),), (MaxPool(1, 1, 0),)
    net = (con(3, 3, 1, 1), Residual(body, shortcut), Dense(drawn(3, 2)))
    honest = pieces(IMAGE, tokens(net))
    tracemalloc.start()
    try:
        for place in range(len(honest)):
            read_or_refused(b"".join([*honest[:place], integer(value), *honest[place + 1 :]]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < PEAK_BYTES_MAX


def test_depth_is_bounded() -> None:
    """A file that nests beyond the bound is refused before its layers are looked for."""
    loss = b"".join([integer(1), *text("loss_metric_2"), *number(0.04, 24), *number(0.6, 24)])
    assert refusal(loss + integer(2) * LAYERS_MAX).code is Code.FORMAT_TOO_LARGE
    assert refusal(loss + integer(2) * (LAYERS_MAX - 1)).code is Code.FORMAT_INVALID


def test_size_is_bounded() -> None:
    """A file beyond the bound is refused before a byte of it is read."""
    assert refusal(bytes(FILE_BYTES_MAX + 1)).code is Code.FORMAT_TOO_LARGE


@pytest.mark.parametrize(
    ("found", "forged", "code"),
    [
        (text("loss_metric_2"), text("loss_metric_"), Code.FORMAT_UNSUPPORTED),
        (text("input_rgb_image_sized"), text("input_rgb_image"), Code.FORMAT_UNSUPPORTED),
        (text("con_4"), text("con_5"), Code.FORMAT_UNSUPPORTED),
        (text("relu_"), text("r\xe9lu_"), Code.FORMAT_INVALID),
        (text("relu_"), [integer(-5), b"relu_"], Code.FORMAT_INVALID),
        (text("relu_"), text("r" * (TEXT_BYTES_MAX + 1)), Code.FORMAT_TOO_LARGE),
        (integers(150, 150), integers(150, 151), Code.FORMAT_UNSUPPORTED),
        (integers(150, 150), integers(0, 0), Code.FORMAT_INVALID),
        (integers(150, 150), [b"\x11\x96", integer(150)], Code.FORMAT_INVALID),
        (integers(150, 150), integers(SIDE_PX_MAX + 1, 1), Code.FORMAT_TOO_LARGE),
        (number(122.782, 24), number(255.5, 24), Code.FORMAT_INVALID),
        (number(122.782, 24), integers(0, 32000), Code.FORMAT_INVALID),
        (number(122.782, 24), integers(1, 1024), Code.FORMAT_INVALID),
        (number(122.782, 24), [b"1", b"2"], Code.FORMAT_INVALID),
        ([b"1", b"1", b"0"], [b"1", b"1", b"2"], Code.FORMAT_INVALID),
        (
            [*text("max_pool_2"), *integers(3, 3)],
            [*text("max_pool_2"), *integers(WINDOW_MAX + 1, 3)],
            Code.FORMAT_TOO_LARGE,
        ),
        ([drawn(2, 3, 3, 3).tobytes()[:4]], [np.float32(np.nan).tobytes()], Code.FORMAT_INVALID),
    ],
)
def test_forged_parts_are_named(found: list[bytes], forged: list[bytes], code: Code) -> None:
    """Each kind of forged primitive is refused with the code that says what is wrong."""
    assert b"".join(found) in SMALL
    assert refusal(SMALL.replace(b"".join(found), b"".join(forged), 1)).code is code


AFFINE, CON, DENSE = affine(3), con(2, 3, 3, 2), Dense(drawn(3, 2))


@pytest.mark.parametrize(
    ("layer", "forged", "code"),
    [
        (AFFINE, {2: 1}, Code.FORMAT_UNSUPPORTED),
        (AFFINE, {3: -6, 4: -1}, Code.FORMAT_INVALID),
        (AFFINE, {3: TENSOR_ELEMENTS_MAX + 1}, Code.FORMAT_TOO_LARGE),
        (AFFINE, {3: 2**12, 4: 2**12}, Code.FORMAT_TOO_LARGE),
        (AFFINE, {3: 0, 4: 2**62}, Code.FORMAT_TOO_LARGE),
        (AFFINE, {8: 2}, Code.FORMAT_UNSUPPORTED),
        (AFFINE, {15: 4}, Code.FORMAT_INVALID),
        (AFFINE, {10: 1, 11: 3, 15: 1, 16: 3}, Code.FORMAT_UNSUPPORTED),
        (AFFINE, {18: 1}, Code.FORMAT_UNSUPPORTED),
        (CON, {8: 3}, Code.FORMAT_INVALID),
        (CON, {9: 2, 10: 2}, Code.FORMAT_INVALID),
        (CON, {9: 2}, Code.FORMAT_UNSUPPORTED),
        (CON, {11: 0, 12: 0}, Code.FORMAT_INVALID),
        (CON, {13: 3, 14: 3}, Code.FORMAT_TOO_LARGE),
        (CON, {22: 3}, Code.FORMAT_INVALID),
        (DENSE, {2: 3, 3: 2}, Code.FORMAT_INVALID),
        (DENSE, {16: 1}, Code.FORMAT_UNSUPPORTED),
        (DENSE, {20: 0}, Code.FORMAT_UNSUPPORTED),
    ],
)
def test_forged_settings_are_named(layer: Layer, forged: dict[int, int], code: Code) -> None:
    """A layer whose settings contradict its weights, or are of another kind, is refused coded."""
    own = details(layer)
    data = b"".join(pieces(IMAGE, [layer]))
    read_network(data)
    honest = b"".join(own)
    for place, value in forged.items():
        own[place] = integer(value)
    assert refusal(data.replace(honest, b"".join(own))).code is code


def test_one_sample_per_image() -> None:
    """A network that makes several samples of one image is refused."""
    honest = pieces(IMAGE, [Relu()])
    assert refusal(b"".join([*honest[:-1], integer(2)])).code is Code.FORMAT_UNSUPPORTED


@pytest.mark.parametrize(
    "flat",
    [
        [Relu(), ADD],
        [Relu(), MARK, Relu()],
        [Relu(), MARK, Relu(), MARK, ADD],
        [Relu(), MARK, Relu(), MARK, Relu(), MARK, ADD],
        [Relu(), MARK, Relu(), MARK, MARK, Relu()],
        [Relu(), MARK, Relu(), MARK, MARK, MARK, ADD],
    ],
)
def test_other_uses_of_tags_are_refused(flat: list[Layer | str]) -> None:
    """Tags and sums in any but the two published forms are refused, for they are ambiguous."""
    assert refusal(b"".join(pieces(IMAGE, flat))).code is Code.FORMAT_UNSUPPORTED


@pytest.mark.parametrize(
    "layer",
    [
        Convolution(drawn(2, 3, 1, 1), drawn(3), 1, 0),
        Convolution(drawn(2, 0, 1, 1), drawn(2), 1, 0),
        Affine(drawn(2), drawn(3)),
        Dense(drawn(0, 2)),
    ],
    ids=["too many biases", "no channels", "gamma and beta differ", "no inputs"],
)
def test_weights_must_fit_their_shapes(layer: Layer) -> None:
    """Weights that do not fill the declared shapes, or fill none, are refused as invalid."""
    assert refusal(written(DlibNet(IMAGE, (layer,)))).code is Code.FORMAT_INVALID
