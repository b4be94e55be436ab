"""The frames of a clip inside JSON: decoded and measured before anybody is asked to look at them.

Of what the header of a frame does not even tell, the models say what is wrong.
"""

import asyncio
from collections.abc import Sequence

from pipeline.errors import Code as PipelineCode
from pipeline.errors import PipelineError
from pipeline.image.header import Header, Limits, read_header
from serve.api.intake.proof import decode
from serve.api.problem import Fault, InputInvalid
from serve.domain.liveness.limits import FRAME_BYTES_MAX, FRAME_PIXELS_MAX
from serve.errors import ServeError

LIMITS = Limits(size_bytes_max=FRAME_BYTES_MAX, pixels_max=FRAME_PIXELS_MAX)


async def decoded_frames(texts: Sequence[str], pointer: str) -> tuple[bytes, ...]:
    """The bytes of every frame, in order; off the event loop.

    `pointer` says where in the body a frame is, with `{}` for its number. Raises `proof_invalid`,
    and `field_invalid` for a frame that is too large, or not as wide and high as the first.
    """
    return await asyncio.to_thread(_decoded, texts, pointer)


def _decoded(texts: Sequence[str], pointer: str) -> tuple[bytes, ...]:
    images: list[bytes] = []
    first: tuple[int, int] | None = None
    for number, text in enumerate(texts):
        place = pointer.format(number)
        try:
            images.append(decode(text))
        except ServeError as error:
            raise ServeError(error.code, f"{place}: {error.detail}") from error
        header = _header(images[-1], place)
        if header is None:
            continue
        size = header.upright_width_px, header.upright_height_px
        first = first or size
        if size != first:
            raise _fault(place, "all frames of a clip have one size, in pixels")
    return tuple(images)


def _header(image: bytes, place: str) -> Header | None:
    """What a frame says of itself, None where it cannot be read."""
    try:
        return read_header(image, LIMITS)
    except PipelineError as error:
        if error.code is PipelineCode.IMAGE_TOO_LARGE:
            raise _fault(place, error.detail) from error
        return None


def _fault(place: str, detail: str) -> InputInvalid:
    return InputInvalid((Fault(pointer=place, detail=detail),))
