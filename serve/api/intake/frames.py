"""The frames of a clip inside JSON: decoded and measured before anybody is asked to look at them.

Of what the header of a frame does not even tell, the models say what is wrong.
"""

import asyncio
from collections.abc import Sequence

from serve.api.intake.proof import decode
from serve.api.problem import Fault, InputInvalid
from serve.domain.liveness.frame import size_of
from serve.errors import ServeError


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
        try:
            size = size_of(images[-1])
        except ServeError as error:
            raise _fault(place, error.detail) from error
        first = first or size
        if size not in {None, first}:
            raise _fault(place, "all frames of a clip have one size, in pixels")
    return tuple(images)


def _fault(place: str, detail: str) -> InputInvalid:
    return InputInvalid((Fault(pointer=place, detail=detail),))
