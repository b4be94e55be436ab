"""Untrusted bytes to upright RGB pixels: the only place that imports the image codecs.

One decode serves every step, at the smallest of the scales 1, 1/2, 1/4, 1/8 that still leaves the
shorter side `side_px_min` pixels. A JPEG is scaled inside its inverse DCT, which costs less than
decoding it whole; the scales in between (7/8, 3/4, 5/8, 3/8) exist too, but measured slower than
the next larger power of two. PNG and WebP are decoded whole and averaged down to the same scale,
so a picture yields the same geometry in every format.

Colour profiles are ignored: values are taken as sRGB. Transparent pixels are shown on white, as a
reviewer would see them. Arrays are read-only, because the steps of a batch share them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import PIL.WebPImagePlugin
import simplejpeg

from pipeline.errors import Code, Failure, PipelineError
from pipeline.evidence import Image, ImageFormat, Pixels
from pipeline.image.header import DEFAULT_LIMITS, Header, Limits, read_header

REDUCTIONS = (8, 4, 2, 1)
BAND_PX = 128  # rows converted at once; a multiple of every reduction


def decode_all(
    items: Sequence[bytes], side_px_min: int, limits: Limits = DEFAULT_LIMITS
) -> list[Image | Failure]:
    """Gate and decode each item; the answer has the length and order of `items`.

    A refused item is a `Failure` and changes nothing for its neighbours.
    """
    return [_decode_one(item, side_px_min, limits) for item in items]


def _decode_one(data: bytes, side_px_min: int, limits: Limits) -> Image | Failure:
    try:
        return decode(data, read_header(data, limits), side_px_min)
    except PipelineError as error:
        return Failure.of(error)


def decode(data: bytes, header: Header, side_px_min: int) -> Image:
    """The upright picture that `header` describes, its shorter side at least `side_px_min` px.

    A picture smaller than that is decoded whole. `Image.scale` is exactly 1, 1/2, 1/4 or 1/8;
    sides are rounded up, so the last row and column may stand for fewer pixels of the file (the
    first ones, where the orientation turns the picture round).

    Raises `image_corrupt` for data that do not decode to what the header declares,
    `image_unsupported` for a chroma layout libjpeg-turbo does not know, and `device_error` when
    memory runs out.
    """
    shorter_px = min(header.width_px, header.height_px)
    reduction = next((r for r in REDUCTIONS if -(-shorter_px // r) >= side_px_min), 1)
    picture = data[: header.size_bytes]  # no codec sees more than the gate has read
    with _coded_errors(header.format):
        if header.format is ImageFormat.JPEG:
            stored = _decode_jpeg(picture, header, reduction)
        else:
            stored = _decode_with_pillow(picture, header, reduction)
    upright = _upright(stored, header.orientation)
    upright.setflags(write=False)
    return Image(
        upright,
        header.upright_width_px,
        header.upright_height_px,
        1.0 / reduction,
        header.format,
    )


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Baseline JPEG with halved chroma, as phones write it; `quality` is 1 to 100.

    `pixels` is `(H, W, 3)` uint8 RGB; raises `wrong_shape` for anything else.
    """
    _check_pixels(pixels)
    encoded = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420"
    )
    return bytes(encoded)


def encode_png(pixels: Pixels) -> bytes:
    """Lossless PNG of `(H, W, 3)` uint8 RGB; raises `wrong_shape` for anything else."""
    _check_pixels(pixels)
    file = BytesIO()
    PIL.Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _check_pixels(pixels: Pixels) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise PipelineError(Code.WRONG_SHAPE, f"pixels {pixels.dtype} {pixels.shape}")


@contextmanager
def _coded_errors(image_format: ImageFormat) -> Iterator[None]:
    """Give whatever a codec raises a code.

    The codec's own words stay in the cause: they may hold addresses of this process.
    """
    try:
        yield
    except PipelineError:
        raise
    except MemoryError as error:
        raise PipelineError(Code.DEVICE_ERROR, "out of memory while decoding") from error
    except Exception as error:  # Hostile bytes make codecs raise any type at all.
        if "subsampling" in str(error):
            detail = f"{image_format} with unusual chroma subsampling"
            raise PipelineError(Code.IMAGE_UNSUPPORTED, detail) from error
        detail = f"the {image_format} data are damaged or cut short"
        raise PipelineError(Code.IMAGE_CORRUPT, detail) from error


def _decode_jpeg(data: bytes, header: Header, reduction: int) -> Pixels:
    """`(H, W, 3)` uint8 RGB as stored; warnings of libjpeg, such as a premature end, are errors."""
    shape = _reduced_shape(header, reduction)
    # The codec writes into an array of the declared size, so it cannot allocate a larger one.
    pixels = np.empty(shape, np.uint8)
    decoded = simplejpeg.decode_jpeg(
        data, "RGB", fastdct=True, fastupsample=True,
        min_height=shape[0], min_width=shape[1], buffer=pixels,
    )  # fmt: skip
    if decoded.shape != shape:
        raise PipelineError(Code.IMAGE_CORRUPT, f"decoded {decoded.shape}, declared {shape}")
    return pixels


def _decode_with_pillow(data: bytes, header: Header, reduction: int) -> Pixels:
    """`(H, W, 3)` uint8 RGB as stored, from a PNG or WebP."""
    # Only the codec of the declared format may look at the bytes.
    with PIL.Image.open(BytesIO(data), formats=[header.format.upper()]) as picture:
        if picture.size != (header.width_px, header.height_px):
            raise PipelineError(Code.IMAGE_CORRUPT, f"{picture.size} px, not as declared")
        picture.load()
        pixels = np.empty(_reduced_shape(header, reduction), np.uint8)
        # In bands, because whole intermediate pictures would triple the memory.
        for top in range(0, header.height_px, BAND_PX):
            bottom = min(top + BAND_PX, header.height_px)
            band = picture.crop((0, top, header.width_px, bottom))
            flat = _on_white(band, reduction, is_deep=header.bit_depth == 16)
            pixels[top // reduction : -(-bottom // reduction)] = np.asarray(flat)
    return pixels


def _on_white(picture: PIL.Image.Image, reduction: int, *, is_deep: bool) -> PIL.Image.Image:
    """The picture in RGB, averaged over squares of `reduction` px."""
    if picture.mode.startswith("I"):  # Pillow would clip 16-bit grey where it should scale.
        picture = PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if is_deep:
        picture.info.pop("transparency", None)  # a 16-bit colour key fits no 8-bit pixel
    flat = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if reduction > 1:
        flat = flat.reduce(reduction)  # weighs colours by their alpha
    if flat.mode == "RGBA":
        page = PIL.Image.new("RGB", flat.size, "white")
        page.paste(flat, mask=flat)
        flat = page
    return flat


def _reduced_shape(header: Header, reduction: int) -> tuple[int, int, int]:
    return -(-header.height_px // reduction), -(-header.width_px // reduction), 3


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: 1 to 8, where 5 to 8 swap the sides."""
    if orientation == 1:
        return pixels
    whole = pixels.view("V3")[:, :, 0]  # moving whole pixels is twice as fast as moving channels
    if orientation >= 5:
        whole = whole.T
    if orientation in {3, 4, 7, 8}:
        whole = whole[::-1]
    if orientation in {2, 3, 6, 7}:
        whole = whole[:, ::-1]
    return np.ascontiguousarray(whole).view(np.uint8).reshape(*whole.shape, 3)
