"""Images inside JSON: base64 or a data URL."""

import asyncio
import re

import pybase64

from serve.errors import Code, ServeError

DECODED_AT_ONCE_MAX = 2**20
"""Characters; they take some 50 microseconds, less than a hop to a thread."""

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,32};base64,", re.ASCII | re.IGNORECASE)


async def decoded(text: str) -> bytes:
    """The bytes of an image; of a large one off the event loop. Raises `proof_invalid`."""
    if len(text) <= DECODED_AT_ONCE_MAX:
        return decode(text)
    return await asyncio.to_thread(decode, text)


def decode(text: str) -> bytes:
    """The bytes of an image. Raises `proof_invalid` for anything but strict base64."""
    header = _DATA_URL.match(text)
    if header is None and text.startswith("data:"):
        raise ServeError(Code.PROOF_INVALID, "a data URL of an image in base64 is needed")
    try:
        image = pybase64.b64decode(text[header.end() :] if header else text, validate=True)
    except ValueError as error:  # binascii.Error, or a character outside ASCII
        raise ServeError(Code.PROOF_INVALID, "not base64") from error
    if not image:
        raise ServeError(Code.PROOF_INVALID, "no bytes of an image")
    return image
