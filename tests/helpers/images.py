"""Makers of image files, honest and hostile: the only place in the tests that imports Pillow.

Every maker is deterministic. The binary parts are assembled by hand where a codec would refuse to
write what a test needs.
"""

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
import PIL.Image

from pipeline.evidence import Pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_END = b"\xff\xd9"
ORIENTATIONS = range(1, 9)


def picture(width_px: int = 96, height_px: int = 64) -> Pixels:
    """A smooth `(H, W, 3)` uint8 picture that differs from each of its turns and reflections."""
    y, x = np.mgrid[0:height_px, 0:width_px] / max(width_px, height_px)
    planes = (40 + 180 * x, 30 + 200 * y, 120 + 90 * np.cos(3 * x + 5 * y))
    return np.stack(planes, axis=-1).astype(np.uint8)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """How a camera stores the upright `pixels` when it declares this EXIF orientation."""
    transpose = PIL.Image.Transpose
    stored_by = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_90,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_270,
    }
    stored = PIL.Image.fromarray(pixels)
    if orientation in stored_by:
        stored = stored.transpose(stored_by[orientation])
    return np.asarray(stored)


def exif(orientation: int, order: str = ">") -> bytes:
    """A TIFF block with nothing but an orientation; `order` is ">" or "<"."""
    magic = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return magic + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def encoded(pixels: Pixels, name: str, **options: Any) -> bytes:
    """`pixels`, `(H, W, 3)`, `(H, W, 4)` or `(H, W)` uint8, as Pillow writes the format `name`."""
    file = BytesIO()
    PIL.Image.fromarray(pixels).save(file, format=name, **options)
    return file.getvalue()


def jpeg(pixels: Pixels | None = None, orientation: int = 1, **options: Any) -> bytes:
    """A JPEG with an EXIF orientation."""
    stored = picture() if pixels is None else pixels
    block = b"Exif\0\0" + exif(orientation)
    return encoded(stored, "JPEG", exif=block, **{"quality": 95, **options})


def with_alpha(pixels: Pixels, alpha: int) -> Pixels:
    """The picture as `(H, W, 4)` uint8 with an even alpha of 0 to 255."""
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])


def cmyk_jpeg() -> bytes:
    """A JPEG of four components."""
    file = BytesIO()
    PIL.Image.fromarray(picture()).convert("CMYK").save(file, format="JPEG")
    return file.getvalue()


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """One JPEG marker segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_frame(marker: int, width_px: int, height_px: int, bits: int = 8, parts: int = 3) -> bytes:
    """A start-of-frame segment of `parts` components."""
    components = b"".join(bytes((number + 1, 0x11, 0)) for number in range(parts))
    return jpeg_segment(marker, struct.pack(">BHHB", bits, height_px, width_px, parts) + components)


def bare_jpeg(*segments: bytes) -> bytes:
    """A JPEG of these segments, one empty scan and the end marker."""
    scan = jpeg_segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return b"\xff\xd8" + b"".join(segments) + scan + JPEG_END


def multi_scan_jpeg(repeats: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each repeat costs a pass over the picture."""
    data = encoded(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * repeats + JPEG_END


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    checksum = struct.pack(">I", zlib.crc32(kind + payload))
    return struct.pack(">I", len(payload)) + kind + payload + checksum


def png(  # noqa: PLR0913 - a file format has many fields
    width_px: int,
    height_px: int,
    rows: bytes | None = None,
    *,
    bit_depth: int = 8,
    colour_type: int = 2,
    extra: Iterable[bytes] = (),
) -> bytes:
    """A PNG put together by hand; `rows` are the filtered scanlines, `extra` whole chunks."""
    if rows is None:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
        rows = bytes(height_px * (1 + (width_px * channels * bit_depth + 7) // 8))
    header = struct.pack(">IIBBBBB", width_px, height_px, bit_depth, colour_type, 0, 0, 0)
    return b"".join(
        (PNG_MAGIC, png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", zlib.compress(rows, 9)),
         png_chunk(b"IEND", b"")),
    )  # fmt: skip


def png_bomb(side_px: int) -> bytes:
    """A small PNG of `side_px` x `side_px` black pixels, one bit each in the file."""
    deflate = zlib.compressobj(9)
    row = bytes(1 + (side_px + 7) // 8)
    squeezed = b"".join(deflate.compress(row) for _ in range(side_px)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"".join(
        (PNG_MAGIC, png_chunk(b"IHDR", header), png_chunk(b"IDAT", squeezed),
         png_chunk(b"IEND", b"")),
    )  # fmt: skip


def deep_grey_png(values: np.ndarray[Any, np.dtype[np.uint16]]) -> bytes:
    """A 16-bit greyscale PNG of `(H, W)` uint16."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], rows, bit_depth=16, colour_type=0)


def palette_png(indices: Pixels, colours: bytes, alphas: bytes) -> bytes:
    """A PNG of `(H, W)` uint8 palette indices; `colours` are RGB triples."""
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    chunks = (png_chunk(b"PLTE", colours), png_chunk(b"tRNS", alphas))
    return png(indices.shape[1], indices.shape[0], rows, colour_type=3, extra=chunks)


def animated(name: str) -> bytes:
    """Two frames in the format `name`: GIF, PNG or WEBP."""
    first = PIL.Image.fromarray(picture())
    second = PIL.Image.fromarray(picture()[::-1].copy())
    file = BytesIO()
    first.save(file, format=name, save_all=True, append_images=[second], duration=100)
    return file.getvalue()


def webp_chunk(kind: bytes, payload: bytes) -> bytes:
    """One RIFF chunk, padded to an even length."""
    return kind + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)


def webp(*chunks: bytes) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width_px: int, height_px: int, flags: int = 0) -> bytes:
    """The extended header of a WebP, which declares a canvas."""
    sides = (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sides)


def webp_picture(pixels: Pixels) -> bytes:
    """The lossy picture chunk alone."""
    return encoded(pixels, "WEBP", quality=90)[12:]
