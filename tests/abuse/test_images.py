"""Malformed images over HTTP, against real models: a refusal each, and little memory in all."""

import asyncio
import base64
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.cache import ModelCache
from tests.abuse.door_process import DoorProcess, door_process
from tests.faults.stage import take_photos
from tests.helpers import images

MEMORY_GROWTH_BYTES_MAX = 200 * 2**20
AT_ONCE = 8
GOOD_EVERY = 4


def corpus() -> dict[str, bytes]:
    """Files that are no usable picture, by what they are."""
    whole = images.jpeg(images.picture(640, 480))
    tiff_loop = b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    blank = images.picture(64, 48)
    found = {
        "bomb of 144 Mpx": images.png_bomb(12_000),
        "bomb of 900 Mpx": images.png_bomb(30_000),
        "bomb of 1.7 Gpx": images.png_bomb(41_000),
        "sides of 2**31": images.png(2**31 - 1, 2**31 - 1, rows=b""),
        "jpeg of 4.3 Gpx": images.bare_jpeg(images.jpeg_frame(0xC0, 65_535, 65_535)),
        "webp of 268 Mpx": images.webp(images.webp_canvas(16_384, 16_384)),
        "1,000 scans": images.multi_scan_jpeg(1_000),
        "one byte": b"\xff",
        "one pixel": images.encoded(images.picture(1, 1), "PNG"),
        "a strip": images.encoded(images.picture(400, 8), "PNG"),
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "pdf": b"%PDF-1.7\n" + bytes(1_000),
        "zip": b"PK\x03\x04" + bytes(1_000),
        "elf": b"\x7fELF" + bytes(1_000),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
        "gif": images.encoded(blank, "GIF"),
        "bmp": images.encoded(blank, "BMP"),
        "tiff": images.encoded(blank, "TIFF"),
        "cmyk": images.cmyk_jpeg(),
        "animated gif": images.animated("GIF"),
        "animated png": images.animated("PNG"),
        "animated webp": images.animated("WEBP"),
        "jpeg's magic, png's body": b"\xff\xd8\xff" + images.png(64, 48)[3:],
        "png's magic, jpeg's body": images.PNG_MAGIC + whole[8:],
        "riff that is a sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(1_000),
        "script before a picture": b"/*" + whole,
        "gif that is a script": b"GIF89a=1;alert(1)//" + bytes(100),
        "png with too few rows": images.png(640, 480, rows=bytes(1_000)),
        "png with a text of 64 MB": images.png(
            640, 480, rows=b"", extra=[images.png_chunk(b"zTXt", b"a\0\0" + squeezed(2**26))]
        ),
        "png with a profile of 64 MB": images.png(
            640, 480, rows=b"", extra=[images.png_chunk(b"iCCP", b"a\0\0" + squeezed(2**26))]
        ),
        "exif that is a loop": cut(whole, images.jpeg_segment(0xE1, tiff_loop)),
        "exif in 100 segments": cut(
            whole, images.jpeg_segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 100
        ),
        "random": np.random.default_rng(1).bytes(100_000),
        "zeros": bytes(100_000),
    }
    found |= {f"cut at {part}": whole[: int(len(whole) * part)] for part in (0.02, 0.5, 0.9, 0.99)}
    return found


def squeezed(size: int) -> bytes:
    """So many zeros, deflated."""
    return zlib.compress(bytes(size), 9)


def cut(whole: bytes, segments: bytes) -> bytes:
    """Half a JPEG with these segments at its start."""
    return whole[:2] + segments + whole[2 : len(whole) // 2]


async def enrol(door: DoorProcess, customer: str, proof: str) -> tuple[int, str]:
    """Status and code of an enrolment."""
    path = f"/api/v1/customers/{customer}/faces"
    status, body = await door.ask("POST", path, {"image": proof})
    return status, str(body.get("code", ""))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.models
async def test_malformed_images_cost_their_senders_only(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of 45 files and texts is a 4xx with a code; good photos between them are enrolled, the
    process lives on and its peak grows by less than 200 MB.
    """
    good = base64.b64encode(take_photos(model_cache).enrolled).decode()
    bad = {name: base64.b64encode(data).decode() for name, data in corpus().items()}
    bad |= {
        "empty": "", "no base64": "%%%", "a url": "https://tenant.example/face.jpg",
        "data of text": "data:text/html;base64,PGI+", "half a character": "A",
    }  # fmt: skip
    turns = asyncio.Semaphore(AT_ONCE)
    async with door_process(tmp_path) as door:
        assert (await enrol(door, "before", good))[0] == 201
        before = door.memory_bytes()
        door.forget_peak()

        async def one(number: int, name: str) -> tuple[str, tuple[int, str], int]:
            async with turns:
                found = await enrol(door, "mallory", bad[name])
                honest = 201
                if number % GOOD_EVERY == 0:
                    honest = (await enrol(door, f"alice-{number}", good))[0]
                return name, found, honest

        answers = await asyncio.gather(*(one(*pair) for pair in enumerate(bad)))
        grown = door.peak_bytes() - before
        assert (await enrol(door, "after", good))[0] == 201
        assert [process.pid for role, process in door.service.processes() if role == "front door"
                ] == [door.process.pid]  # fmt: skip
    with capsys.disabled():
        print(f"\n{len(bad)} malformed images: peak +{grown / 2**20:.0f} MB")
    assert [row for row in answers if not 400 <= row[1][0] < 500 or not row[1][1]] == []
    assert {honest for *_, honest in answers} == {201}
    assert (len(answers), grown < MEMORY_GROWTH_BYTES_MAX) == (45, True)
