"""The gate reads what a file declares, and refuses what contradicts itself or the limits."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, PipelineError
from pipeline.evidence import ImageFormat
from pipeline.image.header import DEFAULT_LIMITS, Colour, Header, Limits, read_header
from tests.helpers import images


def refusal(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Code:
    with pytest.raises(PipelineError) as caught:
        read_header(data, limits)
    return caught.value.code


def with_limits(**changes: int) -> Limits:
    return dataclasses.replace(DEFAULT_LIMITS, **changes)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_reads_what_an_honest_file_declares(name: str) -> None:
    """Format, sides, colour and the length of the picture are those the encoder was given."""
    data = images.encoded(images.picture(90, 60), name)
    assert read_header(data) == Header(
        ImageFormat(name.lower()), 90, 60, 1, Colour.RGB,
        has_alpha=False, bit_depth=8, size_bytes=len(data),
    )  # fmt: skip


@pytest.mark.parametrize("orientation", images.ORIENTATIONS)
def test_a_sideways_orientation_swaps_the_upright_sides(orientation: int) -> None:
    """Sides are as stored; the upright ones follow from the orientation."""
    header = read_header(images.jpeg(images.picture(90, 60), orientation))
    upright = (header.upright_width_px, header.upright_height_px)
    assert (header.width_px, header.height_px, header.orientation) == (90, 60, orientation)
    assert upright == ((60, 90) if orientation >= 5 else (90, 60))


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_format_carries_its_exif_orientation(order: str) -> None:
    """JPEG, PNG and WebP each have their own place for EXIF, in either byte order."""
    block = images.exif(6, order)
    segment = images.jpeg_segment(0xE1, b"Exif\0\0" + block)
    jpeg = images.bare_jpeg(segment, images.jpeg_frame(0xC0, 64, 48))
    png = images.png(64, 48, extra=[images.png_chunk(b"eXIf", block)])
    chunks = (images.webp_canvas(96, 64), images.webp_picture(images.picture(96, 64)))
    webp = images.webp(*chunks, images.webp_chunk(b"EXIF", block))
    prefixed = images.webp(*chunks, images.webp_chunk(b"EXIF", b"Exif\0\0" + block))
    assert [read_header(data).orientation for data in (jpeg, png, webp, prefixed)] == [6] * 4


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"MM\0*",
        images.exif(6)[:-10],
        images.exif(0),
        images.exif(9),
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
    ],
)
def test_damaged_exif_counts_as_upright(block: bytes) -> None:
    """A cut, wild or out-of-range orientation never costs the caller the picture."""
    assert (
        read_header(images.png(64, 48, extra=[images.png_chunk(b"eXIf", block)])).orientation == 1
    )


@pytest.mark.parametrize(
    ("marker", "code"),
    [
        (0xC0, None),
        (0xC1, None),
        (0xC2, None),
        *((marker, Code.IMAGE_UNSUPPORTED) for marker in (0xC3, 0xC5, 0xC6, 0xC7)),
        *((marker, Code.IMAGE_UNSUPPORTED) for marker in (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)),
    ],
)
def test_only_huffman_coded_dct_frames_pass(marker: int, code: Code | None) -> None:
    """Lossless, hierarchical and arithmetic-coded JPEGs are named as unsupported."""
    data = images.bare_jpeg(images.jpeg_frame(marker, 64, 48))
    if code is None:
        assert (read_header(data).width_px, read_header(data).height_px) == (64, 48)
    else:
        assert refusal(data) is code


def test_jpegs_of_other_depths_and_component_counts_are_unsupported() -> None:
    """12 bits, two components, and the four of CMYK."""
    for bits, parts in ((12, 3), (8, 2), (8, 4)):
        frame = images.jpeg_frame(0xC1, 64, 48, bits, parts)
        assert refusal(images.bare_jpeg(frame)) is Code.IMAGE_UNSUPPORTED
    grey = read_header(images.bare_jpeg(images.jpeg_frame(0xC0, 64, 48, parts=1)))
    assert grey.colour is Colour.GREY


def test_contradictory_jpeg_frames_are_corrupt() -> None:
    """Two frame headers, a scan before its frame, a zero side, or no frame at all."""
    small, large = images.jpeg_frame(0xC0, 64, 48), images.jpeg_frame(0xC0, 640, 480)
    for segments in ([small, large], [], [images.jpeg_frame(0xC0, 64, 0)]):
        assert refusal(images.bare_jpeg(*segments)) is Code.IMAGE_CORRUPT
    assert refusal(images.bare_jpeg()[:-2] + large + images.JPEG_END) is Code.IMAGE_CORRUPT
    late = images.bare_jpeg(small)[:-2] + large + images.JPEG_END
    assert refusal(late) is Code.IMAGE_CORRUPT


def test_a_jpeg_ends_at_its_end_marker_whatever_lies_inside_segments() -> None:
    """An embedded thumbnail is stepped over; appended pictures are not part of the picture."""
    thumbnail = images.jpeg_segment(0xE1, b"Exif\0\0" + images.jpeg())
    data = images.bare_jpeg(thumbnail, images.jpeg_frame(0xC0, 64, 48))
    header = read_header(data + images.jpeg())
    assert (header.width_px, header.size_bytes) == (64, len(data))


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    """The standard lets any number of 0xFF bytes precede a marker, in and out of scans."""
    filled = images.bare_jpeg(b"\xff" * 5 + images.jpeg_frame(0xC0, 64, 48))[:-2] + b"\xff" * 3
    assert read_header(filled + images.JPEG_END).size_bytes == len(filled) + 2


def test_parts_of_a_file_are_counted() -> None:
    """Segments, chunks and scans beyond their bounds are refused, up to them they pass."""
    comment = images.jpeg_segment(0xFE, b"")
    frame = images.jpeg_frame(0xC0, 64, 48)
    text = images.png_chunk(b"tEXt", b"")
    picture = images.webp_picture(images.picture(96, 64))
    for data, parts in (
        (images.bare_jpeg(*[comment] * 7, frame), 10),
        (images.png(64, 48, extra=[text] * 7), 10),
        (images.webp(picture, *[images.webp_chunk(b"XMP ", b"")] * 8), 10),
    ):
        assert read_header(data, with_limits(blocks_max=parts)).size_bytes == len(data)
        assert refusal(data, with_limits(blocks_max=parts - 1)) is Code.IMAGE_UNSUPPORTED


def test_scans_of_a_progressive_jpeg_are_counted() -> None:
    """Each scan costs a pass over the picture, so a short file cannot ask for thousands."""
    honest = images.encoded(images.picture(), "JPEG", progressive=True)
    assert read_header(honest).width_px == 96
    assert refusal(images.multi_scan_jpeg(repeats=40)) is Code.IMAGE_UNSUPPORTED


def test_limits_are_inclusive() -> None:
    """Each limit admits its own value and refuses the next."""
    data = images.png(100, 40)
    tight = Limits(len(data), pixels_max=4_000, side_px_max=100, side_px_min=40)
    assert read_header(data, tight).width_px == 100
    for changes in ({"size_bytes_max": len(data) - 1}, {"pixels_max": 3_999}, {"side_px_max": 99}):
        assert refusal(data, dataclasses.replace(tight, **changes)) is Code.IMAGE_TOO_LARGE
    small = dataclasses.replace(tight, side_px_min=41)
    assert refusal(data, small) is Code.IMAGE_TOO_SMALL


def test_a_twelve_megapixel_photo_passes_in_every_format() -> None:
    """The commonest phone photo, 4032 x 3024, is within the limits of each format."""
    width_px, height_px = 4032, 3024
    lossless = b"\x2f" + ((width_px - 1) | (height_px - 1) << 14).to_bytes(4, "little")
    webp = images.webp(images.webp_chunk(b"VP8L", lossless))
    png = images.png(width_px, height_px, rows=b"")
    jpeg = images.bare_jpeg(images.jpeg_frame(0xC0, width_px, height_px))
    for data in (webp, png, jpeg):
        assert read_header(data).width_px * read_header(data).height_px == 12_192_768


def test_a_webp_has_a_tighter_limit() -> None:
    """16 megapixels pass as PNG but not as WebP, whose codec needs more memory per pixel."""
    assert read_header(images.png(4096, 4096, rows=b"")).width_px == 4096
    lossless = b"\x2f" + (4095 | 4095 << 14).to_bytes(4, "little")
    webp = images.webp(images.webp_chunk(b"VP8L", lossless))
    assert refusal(webp) is Code.IMAGE_TOO_LARGE
    assert read_header(webp, with_limits(webp_pixels_max=2**24)).width_px == 4096


def test_a_webp_picture_must_fill_its_canvas() -> None:
    """A canvas of another size, two pictures or none are corrupt."""
    picture = images.webp_picture(images.picture(96, 64))
    assert read_header(images.webp(images.webp_canvas(96, 64), picture)).width_px == 96
    for chunks in (
        [images.webp_canvas(960, 64), picture],
        [picture, picture],
        [images.webp_canvas(96, 64)],
        [images.webp_chunk(b"VP8X", b""), picture],
        [images.webp_chunk(b"VP8L", b"\x2f")],
        [],
    ):
        assert refusal(images.webp(*chunks)) is Code.IMAGE_CORRUPT


def test_a_webp_declares_its_transparency() -> None:
    """Lossy and lossless pictures with an alpha channel say so."""
    see_through = images.with_alpha(images.picture(), 100)
    for lossless in (False, True):
        header = read_header(images.encoded(see_through, "WEBP", lossless=lossless))
        assert header.has_alpha


def test_png_headers_of_no_known_kind_are_corrupt() -> None:
    """A colour type or depth the format does not define, a second header, or none."""
    assert refusal(images.png(64, 48, bit_depth=4)) is Code.IMAGE_CORRUPT
    assert refusal(images.png(64, 48, b"", colour_type=5)) is Code.IMAGE_CORRUPT
    good = images.png(64, 48)
    header = good[8:33]
    assert refusal(good[:33] + header + good[33:]) is Code.IMAGE_CORRUPT
    assert refusal(good[:8] + good[33:]) is Code.IMAGE_CORRUPT
    assert refusal(good[:33] + images.png_chunk(b"IEND", b"")) is Code.IMAGE_CORRUPT


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    """No prefix of a file passes the gate: its end marker, chunk or length is missing."""
    data = images.encoded(images.picture(32, 24), name)
    codes = {refusal(data[:length]) for length in range(len(data))}
    assert codes == {Code.NOT_AN_IMAGE, Code.IMAGE_CORRUPT}


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * (10 * 2**20 - 2),
        images.bare_jpeg(images.jpeg_frame(0xC0, 64, 48))[:-2] + b"\xff\x00" * (5 * 2**20 - 100),
        images.bare_jpeg(images.jpeg_frame(0xC0, 64, 48))[:-2] + b"\xff" * (10 * 2**20 - 100),
        images.PNG_MAGIC + bytes(10 * 2**20 - 8),
        b"RIFF" + (10 * 2**20 - 8).to_bytes(4, "little") + b"WEBP" + bytes(10 * 2**20 - 12),
    ],
    ids=["fill bytes", "stuffed zeros", "fill in a scan", "empty chunks", "empty WebP chunks"],
)
def test_the_walk_is_linear_in_the_length_of_the_file(data: bytes) -> None:
    """10 MB built to make a careless parser start over at every byte are answered all the same."""
    assert refusal(data) in {Code.IMAGE_CORRUPT, Code.IMAGE_UNSUPPORTED}


HONEST = [
    images.jpeg(images.picture(32, 24), 6),
    images.encoded(images.picture(32, 24), "JPEG", progressive=True),
    images.png(32, 24, extra=[images.png_chunk(b"eXIf", images.exif(3))]),
    images.webp(images.webp_canvas(32, 24), images.webp_picture(images.picture(32, 24))),
    images.encoded(images.picture(32, 24), "WEBP", lossless=True),
    images.animated("WEBP"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An honest file with a few bytes overwritten, inserted or removed."""
    data = bytearray(draw(st.sampled_from(HONEST)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, min(len(data), 400)))
        removed = draw(st.integers(0, 6))
        data[start : start + removed] = draw(st.binary(max_size=6))
    return bytes(data)


@settings(deadline=None)  # a busy machine is no failure
@given(st.one_of(st.binary(max_size=200), mutated()))
def test_any_bytes_give_a_header_or_a_coded_error(data: bytes) -> None:
    """Nothing else comes out of the gate, and what passes obeys the limits."""
    try:
        header = read_header(data)
    except PipelineError:
        return
    shorter_px, longer_px = sorted((header.width_px, header.height_px))
    assert DEFAULT_LIMITS.side_px_min <= shorter_px <= longer_px <= DEFAULT_LIMITS.side_px_max
    assert shorter_px * longer_px <= DEFAULT_LIMITS.pixels_max
    assert header.orientation in images.ORIENTATIONS
    assert 0 < header.size_bytes <= len(data)
