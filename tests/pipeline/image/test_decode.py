"""Decoding yields upright RGB at the right scale, the same in every format."""

import numpy as np
import pytest
from skimage.data import astronaut

from pipeline.errors import Code, Failure, PipelineError
from pipeline.evidence import Image, ImageFormat, Pixels
from pipeline.image.decode import decode, decode_all, encode_jpeg, encode_png
from pipeline.image.header import read_header
from tests.helpers import images

WHOLE = 10**6  # no picture has sides this long, so none is scaled down


def decoded(data: bytes, side_px_min: int = WHOLE) -> Image:
    return decode(data, read_header(data), side_px_min)


def mean_difference(first: Pixels, second: Pixels) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


@pytest.mark.parametrize(
    ("side_px_min", "width_px", "height_px", "scale"),
    [
        (WHOLE, 1281, 721, 1.0),
        (722, 1281, 721, 1.0),
        (721, 1281, 721, 1.0),
        (362, 1281, 721, 1.0),
        (361, 641, 361, 1 / 2),
        (181, 321, 181, 1 / 4),
        (91, 161, 91, 1 / 8),
        (1, 161, 91, 1 / 8),
    ],
)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_the_smallest_scale_that_keeps_the_shorter_side(
    name: str, side_px_min: int, width_px: int, height_px: int, scale: float
) -> None:
    """The scale follows one rule in every format, to the pixel; full sides are kept beside it."""
    image = decoded(images.encoded(images.picture(1281, 721), name), side_px_min)
    assert image.pixels.shape == (height_px, width_px, 3)
    assert (image.width_px, image.height_px, image.scale) == (1281, 721, scale)


def test_a_twelve_megapixel_photo_is_decoded_at_an_eighth() -> None:
    """A phone photo costs its detector 504 x 378 px."""
    photo = encode_jpeg(np.full((3024, 4032, 3), 128, np.uint8), quality=60)
    assert decoded(photo, side_px_min=360).pixels.shape == (378, 504, 3)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_scaled_picture_is_the_average_of_the_full_one(name: str) -> None:
    """Each pixel at 1/4 is the mean of its 4 x 4 square, up to what a lossy codec changes."""
    photo = astronaut()
    averaged = photo.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    data = images.encoded(photo, name, quality=95)
    assert mean_difference(decoded(data, 128).pixels, averaged) < (0.6 if name == "PNG" else 4.0)


@pytest.mark.parametrize("orientation", images.ORIENTATIONS)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_pixels_come_out_upright(name: str, orientation: int) -> None:
    """Whatever way the camera was held, the picture is the one that was seen."""
    upright = images.picture(96, 64)
    stored = images.turned(upright, orientation)
    block = images.exif(orientation)
    exif = block if name == "PNG" else b"Exif\0\0" + block
    image = decoded(images.encoded(stored, name, exif=exif, quality=95))
    assert (image.width_px, image.height_px) == (96, 64)
    assert mean_difference(image.pixels, upright) < 3.0
    # The picture differs from each of its turns by far more than compression does.
    assert orientation == 1 or stored.shape != upright.shape or mean_difference(stored, upright) > 9


def test_png_pixels_are_exact() -> None:
    """A lossless file decodes to the very pixels, read-only."""
    image = decoded(encode_png(images.picture()))
    assert np.array_equal(image.pixels, images.picture())
    assert image.pixels.dtype == np.uint8
    assert not image.pixels.flags.writeable


def test_pictures_taller_than_a_band_are_seamless() -> None:
    """PNGs are converted in bands of rows; neither whole nor reduced do they show."""
    tall = images.picture(64, 333)
    assert np.array_equal(decoded(encode_png(tall)).pixels, tall)
    halved = decoded(encode_png(tall), 32).pixels
    assert halved.shape == (167, 32, 3)
    averaged = tall[:332].reshape(166, 2, 32, 2, 3).mean(axis=(1, 3))
    assert mean_difference(halved[:166], averaged) < 0.6


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_grey_becomes_rgb(name: str) -> None:
    """A greyscale picture has three equal channels."""
    grey = images.picture()[:, :, 0]
    pixels = decoded(images.encoded(grey, name)).pixels
    assert pixels.shape == (64, 96, 3)
    assert np.ptp(pixels, axis=2).max() == 0
    assert mean_difference(pixels[:, :, 0], grey) < 2.0


def test_sixteen_bits_are_scaled_to_eight() -> None:
    """The high byte of a deep grey picture is kept; nothing is clipped."""
    values = np.linspace(0, 65_535, 64 * 48).astype(np.uint16).reshape(48, 64)
    pixels = decoded(images.deep_grey_png(values)).pixels
    assert np.array_equal(pixels[:, :, 1], values >> 8)


def test_sixteen_bit_colour_keys_are_ignored() -> None:
    """A transparent colour of 16 bits has no 8-bit meaning, and does not fail the picture."""
    key = images.png_chunk(b"tRNS", b"\x12\x34" * 3)
    rows = (b"\0" + b"\x34\x99" * 3 * 64) * 48
    data = images.png(64, 48, rows, bit_depth=16, extra=[key])
    assert np.unique(decoded(data).pixels).tolist() == [0x34]


def test_transparency_is_shown_on_white() -> None:
    """What lies under transparent pixels is not seen: neither by a reviewer nor by a model."""
    black = np.zeros((64, 96, 3), np.uint8)
    for name in ("PNG", "WEBP"):
        half = images.encoded(images.with_alpha(black, 128), name, lossless=True)
        assert np.unique(decoded(half).pixels).tolist() == [127]
    hidden = images.with_alpha(images.picture(), 0)
    for side_px_min in (WHOLE, 16):
        assert decoded(images.encoded(hidden, "PNG"), side_px_min).pixels.min() == 255


def test_a_palette_with_transparency_is_resolved() -> None:
    """Palette entries become their colours, the transparent ones white."""
    indices = np.repeat(np.array([[0, 1]], np.uint8), 16, axis=1).repeat(32, axis=0)
    data = images.palette_png(indices, b"\xc8\x14\x1e\x00\x00\xff", alphas=b"\xff\x00")
    pixels = decoded(data).pixels
    assert pixels[0, 0].tolist() == [200, 20, 30]
    assert pixels[-1, -1].tolist() == [255, 255, 255]


def test_a_header_that_lies_is_refused() -> None:
    """Pixels of another size than declared are corrupt, whichever way they differ."""
    for name in ("JPEG", "PNG", "WEBP"):
        data = images.encoded(images.picture(96, 64), name)
        for width_px, height_px in ((48, 32), (192, 128), (64, 96)):
            honest = read_header(images.encoded(images.picture(width_px, height_px), name))
            with pytest.raises(PipelineError) as caught:
                decode(data, honest, WHOLE)
            assert caught.value.code is Code.IMAGE_CORRUPT


def test_a_batch_keeps_its_order_and_its_neighbours() -> None:
    """A refused item is a value in its place, and the others are as if it were not there."""
    good = [images.jpeg(), images.encoded(images.picture(), "WEBP")]
    first, bad, last = decode_all([good[0], b"no picture", good[1]], side_px_min=32)
    assert isinstance(bad, Failure)
    assert bad.code is Code.NOT_AN_IMAGE
    alone = decode_all(good, side_px_min=32)
    for item, expected in zip((first, last), alone, strict=True):
        assert isinstance(item, Image)
        assert isinstance(expected, Image)
        assert np.array_equal(item.pixels, expected.pixels)
    assert decode_all([], side_px_min=32) == []


def test_encoded_pictures_decode_again() -> None:
    """PNG is exact, JPEG close, and both take views of larger arrays."""
    view = images.picture(200, 100)[10:90:2, 20:180:2]
    assert np.array_equal(decoded(encode_png(view)).pixels, view)
    image = decoded(encode_jpeg(view, quality=90))
    assert image.format is ImageFormat.JPEG
    assert mean_difference(image.pixels, view) < 4.0


@pytest.mark.parametrize("shape", [(64, 96), (64, 96, 4), (0, 96, 3)])
def test_only_rgb_pictures_are_encoded(shape: tuple[int, ...]) -> None:
    """Grey, transparent and empty arrays are refused with a code."""
    for encode in (encode_png, lambda pixels: encode_jpeg(pixels, 90)):
        with pytest.raises(PipelineError) as caught:
            encode(np.zeros(shape, np.uint8))
        assert caught.value.code is Code.WRONG_SHAPE
