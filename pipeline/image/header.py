"""The gate in front of every codec: what an untrusted file says it is, read without decoding it.

    bytes --size--> bounded --magic--> format --walk--> header --limits--> fit to decode

A codec believes a header and allocates what it asks for, so a 17-KB file can cost gigabytes.
Here the whole structure of the file is walked first: every segment or chunk lies inside the
bytes, exactly one picture is declared, its size is within `Limits`, and the walk is linear in the
length of the file. Nothing is decompressed and no library is asked.

What passes although it is unusual: bytes after the end of the picture (phones append videos, and
the further pictures of a multi-picture JPEG lie there: `Header.size_bytes` says where the picture
ends and nothing after it reaches a codec), and damaged EXIF, which counts as upright.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, NoReturn

from pipeline.errors import Code, PipelineError
from pipeline.evidence import ImageFormat


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost; with these defaults, less than 200 MB while it is decoded."""

    size_bytes_max: int = 10 * 2**20
    pixels_max: int = 16 * 2**20  # 4096 x 4096; a 12-Mpx phone photo is 4032 x 3024
    webp_pixels_max: int = 12 * 2**20  # its codec holds four copies; still that phone photo
    side_px_max: int = 8_192
    side_px_min: int = 16  # less than this holds no face, and upsets resampling filters
    blocks_max: int = 4_096  # JPEG segments, PNG or WebP chunks; 10 MB of PNG has about 1,300
    scans_max: int = 32  # progressive JPEGs use about 10; each costs 10 ms at 16 Mpx


DEFAULT_LIMITS = Limits()


class Colour(StrEnum):
    """How a file stores colour."""

    GREY = "grey"
    PALETTE = "palette"
    RGB = "rgb"  # or a luma and two chroma planes, which decode to it


@dataclass(frozen=True, slots=True)
class Header:
    """What the file declares about its one picture.

    `width_px` and `height_px` are as stored; `orientation` is the EXIF one, 1 (upright) to 8,
    and 5 to 8 swap the sides. `size_bytes` is the length of the picture's part of the file.
    """

    format: ImageFormat
    width_px: int
    height_px: int
    orientation: int
    colour: Colour
    has_alpha: bool
    bit_depth: int
    size_bytes: int

    @property
    def upright_width_px(self) -> int:
        """Width once the orientation is applied."""
        return self.height_px if self.orientation >= 5 else self.width_px

    @property
    def upright_height_px(self) -> int:
        """Height once the orientation is applied."""
        return self.width_px if self.orientation >= 5 else self.height_px


def read_header(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """The declared properties of the one picture in `data`, within `limits`.

    Raises `image_too_large` or `image_too_small` for bytes or pixels outside the limits,
    `not_an_image` for an unknown magic, `image_unsupported` for another format or a variant that
    is not decoded here, `image_animated` for more than one frame, and `image_corrupt` for a
    structure that is cut short or contradicts itself.
    """
    if len(data) > limits.size_bytes_max:
        _refuse(Code.IMAGE_TOO_LARGE, f"{len(data)} bytes, at most {limits.size_bytes_max}")
    if data.startswith(b"\xff\xd8\xff"):
        header = _read_jpeg(data, limits)
    elif data.startswith(PNG_MAGIC):
        header = _read_png(data, limits)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        header = _read_webp(data, limits)
    else:
        _refuse_foreign(data)
    _check_size(header, limits)
    return header


def _check_size(header: Header, limits: Limits) -> None:
    shorter_px, longer_px = sorted((header.width_px, header.height_px))
    size = f"{header.width_px} x {header.height_px} px"
    if shorter_px == 0:
        _refuse(Code.IMAGE_CORRUPT, size)
    is_webp = header.format is ImageFormat.WEBP
    pixels_max = min(limits.pixels_max, limits.webp_pixels_max) if is_webp else limits.pixels_max
    if longer_px > limits.side_px_max or shorter_px * longer_px > pixels_max:
        _refuse(
            Code.IMAGE_TOO_LARGE,
            f"{size}, at most {limits.side_px_max} px a side and {pixels_max} px in all",
        )
    if shorter_px < limits.side_px_min:
        _refuse(Code.IMAGE_TOO_SMALL, f"{size}, at least {limits.side_px_min} px a side")


_FOREIGN_MAGIC = (  # offset, bytes, the name a caller will recognise
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")),
)


def _refuse_foreign(data: bytes) -> NoReturn:
    for offset, magic, name in _FOREIGN_MAGIC:
        if data.startswith(magic, offset):
            _refuse(Code.IMAGE_UNSUPPORTED, f"{name}; send JPEG, PNG or WebP")
    # Two letters alone begin many texts: a bitmap also has four reserved zeros.
    if data.startswith(b"BM") and data[6:10] == bytes(4):
        _refuse(Code.IMAGE_UNSUPPORTED, "BMP; send JPEG, PNG or WebP")
    _refuse(Code.NOT_AN_IMAGE, "not a JPEG, PNG or WebP file")


class _Block(NamedTuple):
    """A JPEG segment or a chunk: its marker or type, and the span of its payload."""

    kind: bytes
    start: int
    end: int


_MARKER = re.compile(rb"\xff+([^\x00\xff])")  # any number of fill bytes may precede a marker
# Inside a scan, 0xFF is followed by a stuffed zero or a restart marker: anything else ends it.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = b"\xda", b"\xd9", b"\xe1"
_FRAMES_SUPPORTED = {b"\xc0", b"\xc1", b"\xc2"}  # baseline, extended, progressive; Huffman-coded
_FRAMES_UNSUPPORTED = {
    **dict.fromkeys((b"\xc3", b"\xc7", b"\xcb", b"\xcf"), "lossless"),
    **dict.fromkeys((b"\xc5", b"\xc6", b"\xcd", b"\xce", b"\xde"), "hierarchical"),
    **dict.fromkeys((b"\xc9", b"\xca"), "arithmetic-coded"),
}
_EXIF_PREFIX = b"Exif\0\0"


def _read_jpeg(data: bytes, limits: Limits) -> Header:
    frame: tuple[int, int, Colour] | None = None
    orientation: int | None = None
    scans = 0
    end = 0
    for kind, start, end in _jpeg_segments(data, limits):
        if kind in _FRAMES_UNSUPPORTED:
            _refuse(Code.IMAGE_UNSUPPORTED, f"{_FRAMES_UNSUPPORTED[kind]} JPEG")
        elif kind in _FRAMES_SUPPORTED:
            if frame is not None:
                _refuse(Code.IMAGE_CORRUPT, "a second JPEG frame header")
            frame = _jpeg_frame(data[start:end])
        elif kind == _APP1 and orientation is None and data.startswith(_EXIF_PREFIX, start):
            orientation = _exif_orientation(data[start + len(_EXIF_PREFIX) : end])
        elif kind == _START_OF_SCAN:
            scans += 1
            if frame is None:
                _refuse(Code.IMAGE_CORRUPT, "a JPEG scan before its frame header")
            if scans > limits.scans_max:
                _refuse(Code.IMAGE_UNSUPPORTED, f"more than {limits.scans_max} JPEG scans")
    if frame is None or scans == 0:
        _refuse(Code.IMAGE_CORRUPT, "a JPEG without a picture")
    width_px, height_px, colour = frame
    return Header(
        ImageFormat.JPEG, width_px, height_px, orientation or 1, colour,
        has_alpha=False, bit_depth=8, size_bytes=end,
    )  # fmt: skip


def _jpeg_segments(data: bytes, limits: Limits) -> Iterator[_Block]:
    """Every segment up to and including the end-of-image marker; scan data is stepped over."""
    position = 2
    for _ in range(limits.blocks_max):
        marker = _MARKER.match(data, position)
        if marker is None:
            _refuse(Code.IMAGE_CORRUPT, "no JPEG marker where one belongs, or cut short")
        kind, start = marker[1], marker.end()
        if kind == _END_OF_IMAGE:
            yield _Block(kind, start, start)
            return
        position = start + _number(data, start, 2, "big")
        if position < start + 2 or position > len(data):
            _refuse(Code.IMAGE_CORRUPT, "a JPEG segment leaves the file")
        yield _Block(kind, start + 2, position)
        if kind == _START_OF_SCAN:
            scan_end = _SCAN_END.search(data, position)
            if scan_end is None:
                _refuse(Code.IMAGE_CORRUPT, "a JPEG scan is cut short")
            position = scan_end.start()
    _refuse(Code.IMAGE_UNSUPPORTED, f"more than {limits.blocks_max} JPEG segments")


def _jpeg_frame(payload: bytes) -> tuple[int, int, Colour]:
    """Width, height and colour of a start-of-frame segment."""
    if len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
        _refuse(Code.IMAGE_CORRUPT, "a JPEG frame header of the wrong length")
    components = payload[5]
    if payload[0] != 8:
        _refuse(Code.IMAGE_UNSUPPORTED, f"JPEG of {payload[0]} bits")
    if components not in {1, 3}:
        _refuse(Code.IMAGE_UNSUPPORTED, f"JPEG of {components} components (CMYK has 4)")
    height_px, width_px = _number(payload, 1, 2, "big"), _number(payload, 3, 2, "big")
    return width_px, height_px, Colour.GREY if components == 1 else Colour.RGB


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {  # colour type -> colour, alpha channel, permitted bit depths
    0: (Colour.GREY, False, {1, 2, 4, 8, 16}),
    2: (Colour.RGB, False, {8, 16}),
    3: (Colour.PALETTE, False, {1, 2, 4, 8}),
    4: (Colour.GREY, True, {8, 16}),
    6: (Colour.RGB, True, {8, 16}),
}
_PNG_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


def _read_png(data: bytes, limits: Limits) -> Header:
    blocks = list(_png_chunks(data, limits))
    first, last = blocks[0], blocks[-1]
    kinds = [block.kind for block in blocks]
    if first.kind != b"IHDR" or first.end - first.start != 13 or kinds.count(b"IHDR") != 1:
        _refuse(Code.IMAGE_CORRUPT, "a PNG needs one header, as its first chunk")
    if not _PNG_ANIMATION.isdisjoint(kinds):
        _refuse(Code.IMAGE_ANIMATED, "animated PNG")
    if b"IDAT" not in kinds:
        _refuse(Code.IMAGE_CORRUPT, "a PNG without a picture")
    width_px = _number(data, first.start, 4, "big")
    height_px = _number(data, first.start + 4, 4, "big")
    bit_depth, colour_type, compression, row_filter, interlace = data[first.end - 5 : first.end]
    colour, has_alpha, bit_depths = _PNG_COLOURS.get(colour_type, (Colour.GREY, False, set()))
    if bit_depth not in bit_depths or compression or row_filter or interlace > 1:
        _refuse(Code.IMAGE_CORRUPT, "a PNG header of no known kind")
    exif = next((data[start:end] for kind, start, end in blocks if kind == b"eXIf"), b"")
    return Header(
        ImageFormat.PNG, width_px, height_px, _exif_orientation(exif), colour,
        has_alpha or b"tRNS" in kinds, bit_depth, size_bytes=last.end + 4,
    )  # fmt: skip


def _png_chunks(data: bytes, limits: Limits) -> Iterator[_Block]:
    """Every chunk up to and including the end chunk; checksums are left to the codec."""
    position = len(PNG_MAGIC)
    for _ in range(limits.blocks_max):
        start = position + 8
        end = start + _number(data, position, 4, "big")
        if end + 4 > len(data):
            _refuse(Code.IMAGE_CORRUPT, "a PNG chunk leaves the file")
        kind = data[position + 4 : start]
        yield _Block(kind, start, end)
        if kind == b"IEND":
            return
        position = end + 4
    _refuse(Code.IMAGE_UNSUPPORTED, f"more than {limits.blocks_max} PNG chunks")


_WEBP_ANIMATION = {b"ANIM", b"ANMF"}
_WEBP_FLAG_ANIMATION, _WEBP_FLAG_ALPHA = 0x02, 0x10


def _read_webp(data: bytes, limits: Limits) -> Header:
    size_bytes = 8 + _number(data, 4, 4, "little")
    blocks = list(_webp_chunks(data, size_bytes, limits))
    kinds = [block.kind for block in blocks]
    sizes = [_webp_size(block.kind, data[block.start : block.end]) for block in blocks]
    flags = data[blocks[0].start] if kinds[:1] == [b"VP8X"] else 0
    if flags & _WEBP_FLAG_ANIMATION or not _WEBP_ANIMATION.isdisjoint(kinds):
        _refuse(Code.IMAGE_ANIMATED, "animated WebP")
    declared = {size for size in sizes if size is not None}
    pictures = kinds.count(b"VP8 ") + kinds.count(b"VP8L")
    # The canvas is declared apart from the picture: a codec might allocate either.
    if pictures != 1 or len(declared) != 1:
        _refuse(Code.IMAGE_CORRUPT, "a WebP needs one picture, of the size of its canvas")
    ((width_px, height_px),) = declared
    exif = next((data[start:end] for kind, start, end in blocks if kind == b"EXIF"), b"")
    return Header(
        ImageFormat.WEBP, width_px, height_px,
        _exif_orientation(exif.removeprefix(_EXIF_PREFIX)), Colour.RGB,
        has_alpha=bool(flags & _WEBP_FLAG_ALPHA) or _webp_lossless_alpha(data, blocks),
        bit_depth=8, size_bytes=size_bytes,
    )  # fmt: skip


def _webp_chunks(data: bytes, size_bytes: int, limits: Limits) -> Iterator[_Block]:
    if size_bytes > len(data):
        _refuse(Code.IMAGE_CORRUPT, "a WebP is cut short")
    position = 12
    for _ in range(limits.blocks_max):
        start = position + 8
        if start > size_bytes:  # a stray padding byte may remain
            return
        end = start + _number(data, position + 4, 4, "little")
        if end > size_bytes:
            _refuse(Code.IMAGE_CORRUPT, "a WebP chunk leaves the file")
        yield _Block(data[position : position + 4], start, end)
        position = end + (end - start) % 2  # payloads are padded to an even length
    _refuse(Code.IMAGE_UNSUPPORTED, f"more than {limits.blocks_max} WebP chunks")


def _webp_size(kind: bytes, payload: bytes) -> tuple[int, int] | None:
    """Width and height that this chunk declares, or None for a chunk that declares none."""
    if kind == b"VP8X" and len(payload) >= 10:
        return _number(payload, 4, 3, "little") + 1, _number(payload, 7, 3, "little") + 1
    if kind == b"VP8L" and payload[:1] == b"\x2f" and len(payload) >= 5:
        bits = _number(payload, 1, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and payload[3:6] == b"\x9d\x01\x2a" and len(payload) >= 10:
        # The two highest bits are a hint for display.
        return _number(payload, 6, 2, "little") & 0x3FFF, _number(payload, 8, 2, "little") & 0x3FFF
    if kind in {b"VP8X", b"VP8L", b"VP8 "}:
        _refuse(Code.IMAGE_CORRUPT, "a WebP frame header is damaged")
    return None


def _webp_lossless_alpha(data: bytes, blocks: list[_Block]) -> bool:
    return any(kind == b"VP8L" and bool(data[start + 4] & 0x10) for kind, start, _ in blocks)


_EXIF_ENTRIES_MAX = 512
_TAG_ORIENTATION, _TYPE_SHORT = 0x0112, 3
_ByteOrder = Literal["big", "little"]


def _exif_orientation(exif: bytes) -> int:
    """1 to 8, from the first directory of a TIFF block; absent or damaged counts as upright."""
    orders: dict[bytes, _ByteOrder] = {b"II*\0": "little", b"MM\0*": "big"}
    order = orders.get(exif[:4])
    if order is None:
        return 1
    directory = _number(exif, 4, 4, order)
    entries = min(_number(exif, directory, 2, order), _EXIF_ENTRIES_MAX)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind = _number(exif, entry, 2, order), _number(exif, entry + 2, 2, order)
        if (tag, kind) == (_TAG_ORIENTATION, _TYPE_SHORT):
            orientation = _number(exif, entry + 8, 2, order)
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def _number(data: bytes, start: int, size: int, order: _ByteOrder) -> int:
    """An unsigned number; bytes beyond the end are absent, which the callers' bounds expose."""
    return int.from_bytes(data[start : start + size], order)


def _refuse(code: Code, detail: str) -> NoReturn:
    raise PipelineError(code, detail)
