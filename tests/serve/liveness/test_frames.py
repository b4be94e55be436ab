"""The frames of a clip inside JSON: what the door says of them before any model looks."""

import asyncio

import pytest

from serve.api.intake.frames import decoded_frames
from serve.api.problem import InputInvalid
from serve.domain.liveness.limits import FRAME_BYTES_MAX, FRAME_PIXELS_MAX
from serve.errors import Code, ServeError
from tests.helpers.front_door import JOHN, text
from tests.helpers.images import bare_jpeg, encoded, jpeg, jpeg_frame, picture, turned

PLACE = "/frames/{}/image"
WIDE, TALL = jpeg(picture(96, 64)), jpeg(picture(64, 96))


def decoded(*images: bytes) -> tuple[bytes, ...]:
    """What the door makes of these frames."""
    return asyncio.run(decoded_frames([text(image) for image in images], PLACE))


def pointer_of(*images: bytes) -> str:
    """Where the fault is that they are refused with."""
    with pytest.raises(InputInvalid) as caught:
        decoded(*images)
    (fault,) = caught.value.faults
    return fault["pointer"]


def test_frames_of_one_size_are_taken() -> None:
    """In their order, whatever their formats."""
    other = encoded(picture(96, 64), "PNG")
    assert decoded(WIDE, other, WIDE) == (WIDE, other, WIDE)


def test_a_frame_of_another_size_is_named() -> None:
    """Mixed sizes are refused, with a pointer to the first that differs."""
    assert pointer_of(WIDE, WIDE, TALL, WIDE) == "/frames/2/image"


def test_sizes_are_compared_upright() -> None:
    """A frame that is stored on its side is as wide as it is shown."""
    lying = jpeg(turned(picture(96, 64), 6), 6)
    assert decoded(WIDE, lying) == (WIDE, lying)
    assert pointer_of(WIDE, jpeg(turned(picture(64, 96), 6), 6)) == "/frames/1/image"


def test_a_frame_may_be_only_so_large() -> None:
    """In bytes and in pixels, by what its header says."""
    assert pointer_of(WIDE, WIDE + b"\0" * FRAME_BYTES_MAX) == "/frames/1/image"
    side_px = round((2 * FRAME_PIXELS_MAX) ** 0.5)
    assert pointer_of(bare_jpeg(jpeg_frame(0xC0, side_px, side_px))) == "/frames/0/image"


def test_what_has_no_header_is_left_to_the_models() -> None:
    """They say what is wrong with it, as they do of a selfie."""
    assert decoded(WIDE, JOHN) == (WIDE, JOHN)


@pytest.mark.parametrize(
    "written", ["", "~", "data:text/plain;base64,AAAA", "data:image/png;base64,"]
)
def test_what_is_no_image_in_base64_is_named(written: str) -> None:
    """A frame of no bytes as well; what was sent is not quoted."""
    with pytest.raises(ServeError) as caught:
        asyncio.run(decoded_frames([text(WIDE), written], PLACE))
    assert caught.value.code is Code.PROOF_INVALID
    assert caught.value.detail.startswith("/frames/1/image: ")
    assert "AAAA" not in caught.value.detail
