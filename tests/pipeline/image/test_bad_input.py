"""Hostile, broken and odd files: each ends in its code, or in the success it deserves."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Code, Failure
from pipeline.evidence import Image
from pipeline.image.decode import decode_all
from tests.helpers import images

SIDE_PX_MIN = 32
MEMORY_GROWTH_MB_MAX = 200
ROOT = Path(__file__).parents[3]


def outcome(data: bytes) -> Code | tuple[int, int]:
    """The code of a refused file, or the full upright size of an accepted one."""
    (item,) = decode_all([data], SIDE_PX_MIN)
    return item.code if isinstance(item, Failure) else (item.width_px, item.height_px)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.NOT_AN_IMAGE),
        (b"\xff", Code.NOT_AN_IMAGE),
        (b"<html>no picture here</html>", Code.NOT_AN_IMAGE),
        (b"BMW is no bitmap", Code.NOT_AN_IMAGE),
        (b"RIFF\x04\0\0\0WAVE", Code.NOT_AN_IMAGE),
        (b"%PDF-1.7", Code.NOT_AN_IMAGE),
        (bytes(10 * 2**20 + 1), Code.IMAGE_TOO_LARGE),
        (images.encoded(images.picture(), "GIF"), Code.IMAGE_UNSUPPORTED),
        (images.animated("GIF"), Code.IMAGE_UNSUPPORTED),
        (images.encoded(images.picture(), "BMP"), Code.IMAGE_UNSUPPORTED),
        (images.encoded(images.picture(), "TIFF"), Code.IMAGE_UNSUPPORTED),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Code.IMAGE_UNSUPPORTED),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", Code.IMAGE_UNSUPPORTED),
        (images.cmyk_jpeg(), Code.IMAGE_UNSUPPORTED),
        (images.animated("PNG"), Code.IMAGE_ANIMATED),
        (images.animated("WEBP"), Code.IMAGE_ANIMATED),
        (images.encoded(images.picture(1, 1), "JPEG"), Code.IMAGE_TOO_SMALL),
        (images.encoded(images.picture(1, 1), "PNG"), Code.IMAGE_TOO_SMALL),
        (images.encoded(images.picture(1, 1), "WEBP"), Code.IMAGE_TOO_SMALL),
        (images.encoded(images.picture(400, 8), "PNG"), Code.IMAGE_TOO_SMALL),
        (images.bare_jpeg(images.jpeg_frame(0xC0, 65_535, 65_535)), Code.IMAGE_TOO_LARGE),
        (images.png(2**31 - 1, 2**31 - 1, rows=b""), Code.IMAGE_TOO_LARGE),
    ],
)
def test_what_is_refused_names_its_reason(data: bytes, code: Code) -> None:
    """Every kind of unusable file has one code."""
    assert outcome(data) is code


def test_a_bomb_is_refused_at_its_header() -> None:
    """A few kilobytes that would unpack to gigapixels are never unpacked."""
    bomb = images.png_bomb(12_000)
    assert len(bomb) < 20_000
    assert outcome(bomb) is Code.IMAGE_TOO_LARGE


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_corrupt(part: float, progressive: bool) -> None:
    """Half a face is no face: a cut scan is never filled up with grey."""
    whole = images.jpeg(images.picture(200, 160), progressive=progressive)
    assert outcome(whole) == (200, 160)
    cut = whole[: int(len(whole) * part)]
    assert outcome(cut) is Code.IMAGE_CORRUPT
    # Nor does an end marker, put where the transfer broke off, make it whole.
    assert outcome(cut + images.JPEG_END) is Code.IMAGE_CORRUPT


def test_a_jpeg_with_rubbish_in_its_scan_is_corrupt() -> None:
    """libjpeg would warn and go on; here its warnings are errors."""
    whole = images.jpeg(images.picture(200, 160))
    middle = len(whole) // 2
    assert outcome(whole[:middle] + bytes(200) + whole[middle + 200 :]) is Code.IMAGE_CORRUPT


def test_a_png_with_too_few_rows_or_a_wrong_checksum_is_corrupt() -> None:
    """The codec's own checks surface as a code."""
    assert outcome(images.png(64, 48, rows=bytes(1000))) is Code.IMAGE_CORRUPT
    flipped = bytearray(images.png(64, 48))
    flipped[50] ^= 1
    assert outcome(bytes(flipped)) is Code.IMAGE_CORRUPT


def test_a_webp_with_a_damaged_picture_is_corrupt() -> None:
    """The container is sound, the picture in it is not."""
    whole = images.encoded(images.picture(200, 160), "WEBP")
    middle = len(whole) // 2
    assert outcome(whole[:40] + bytes(middle - 40) + whole[middle:]) is Code.IMAGE_CORRUPT


def test_a_chroma_layout_the_codec_does_not_know_is_unsupported() -> None:
    """The file is sound; it is this service that cannot read it."""
    odd = bytearray(images.jpeg(images.picture(), subsampling=2))
    frame = odd.index(b"\xff\xc0")
    odd[frame + 11] = 0x33  # the sampling factors of the first component
    assert outcome(bytes(odd)) is Code.IMAGE_UNSUPPORTED


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_what_follows_a_picture_is_ignored(name: str) -> None:
    """A polyglot is only its picture: appended archives, videos and pictures reach no codec."""
    data = images.encoded(images.picture(), name)
    for tail in (b"PK\x03\x04 an archive", images.jpeg(images.picture(640, 480)), bytes(1000)):
        plain, appended = decode_all([data, data + tail], SIDE_PX_MIN)
        assert isinstance(plain, Image)
        assert isinstance(appended, Image)
        assert np.array_equal(plain.pixels, appended.pixels)


WHOLE_FILES = [
    images.jpeg(images.picture(48, 32), 6),
    images.jpeg(images.picture(48, 32), progressive=True),
    images.encoded(images.with_alpha(images.picture(48, 32), 90), "PNG"),
    images.palette_png(np.zeros((32, 48), np.uint8), b"\x01\x02\x03", b"\x04"),
    images.deep_grey_png(np.zeros((32, 48), np.uint16)),
    images.encoded(images.picture(48, 32), "WEBP"),
    images.encoded(images.with_alpha(images.picture(48, 32), 90), "WEBP", lossless=True),
]


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(WHOLE_FILES), st.data())
def test_damaged_files_give_an_image_or_a_failure(whole: bytes, draw: st.DataObject) -> None:
    """Whatever a codec raises on damaged bytes becomes a value; what it accepts has its shape."""
    damaged = bytearray(whole)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    (item,) = decode_all([bytes(damaged)], SIDE_PX_MIN)
    if isinstance(item, Image):
        assert item.pixels.shape == (item.height_px, item.width_px, 3)
        assert item.pixels.dtype == np.uint8
    else:
        assert isinstance(item, Failure)


def largest_png() -> bytes:
    return images.png(4096, 4096, bit_depth=8, colour_type=6)


def largest_jpeg() -> bytes:
    blank = np.full((4096, 4096, 3), 90, np.uint8)
    return images.encoded(blank, "JPEG", progressive=True, subsampling=0)


def largest_webp() -> bytes:
    blank = np.zeros((3072, 4096, 4), np.uint8)
    return images.encoded(blank, "WEBP", lossless=True, method=0)


# The peak comes from /proc, because `getrusage` would start from the peak of the parent process.
MEASURE = """
import re, sys
from pathlib import Path
from pipeline.evidence import Image
from pipeline.image.decode import decode_all

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

data = Path(sys.argv[1]).read_bytes()
before_mb = peak_mb()
(item,) = decode_all([data], int(sys.argv[2]))
assert isinstance(item, Image), item
print(peak_mb() - before_mb)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("side_px_min", [360, 8192])
@pytest.mark.parametrize("make", [largest_png, largest_jpeg, largest_webp])
def test_the_largest_admitted_picture_costs_bounded_memory(
    make: Callable[[], bytes], side_px_min: int, tmp_path: Path
) -> None:
    """A small file just within the limits grows the process by less than 200 MB."""
    path = tmp_path / "largest"
    path.write_bytes(make())
    assert path.stat().st_size < 300_000
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEASURE, str(path), str(side_px_min)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 1 < float(done.stdout) < MEMORY_GROWTH_MB_MAX
