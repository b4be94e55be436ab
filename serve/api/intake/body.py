"""Bodies: refused before they are read where that can be known, and bounded while they arrive.

What is held counts against one budget of the process, and at most half of it is one client's.
Bytes count as they arrive and not as they are announced: else a few slow connections that
announce much would shut everybody out.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import HttpVersion11, web
from pydantic import BaseModel, ValidationError

from serve.api.problem import InputInvalid, body_faults
from serve.errors import Code, ServeError
from serve.observe import metrics

JSON_BYTES_MAX = 64 * 2**10
"""Bytes of a body without an image."""
IMAGE_BODY_BYTES_MAX = web.AppKey("image_body_bytes_max", int)
"""Bytes of a body with images, as the settings of this front door have it."""
PARSED_AT_ONCE_BYTES_MAX = 256 * 2**10
"""A larger body is parsed in a thread; this one in a fraction of a millisecond, as a hop takes."""
VALUES_MAX = 10_000
"""Values in one body. Those of 10 MB, read into objects, would fill a gigabyte."""
ADDRESS_SHARE = 0.5

_BEGINNINGS = (b"{", b"[", b",")  # of values; those within texts are counted as well

Model = TypeVar("Model", bound=BaseModel)


class BodyBudget:
    """Bytes of bodies held by this process, in all and by address."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: Counter[str] = Counter()
        self.images = 0  # bodies with an image that have begun, until their requests are answered

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held.total()

    def check(self, address: str, size: int) -> None:
        """Raises `overloaded` if `size` more bytes of this address would be too many."""
        if (
            self.held + size > self._bytes_max
            or self._held[address] + size > self._bytes_max * ADDRESS_SHARE
        ):
            raise ServeError(Code.OVERLOADED, "too many bytes of bodies are being received")

    def take(self, address: str, size: int) -> None:
        """Count `size` bytes. Raises `overloaded`, counting nothing."""
        self.check(address, size)
        self._held[address] += size
        metrics.hold_body_bytes(size)

    def give(self, address: str, size: int) -> None:
        """Give `size` bytes back."""
        self._held[address] -= size
        self._held += Counter()  # forgets the addresses that hold nothing
        metrics.hold_body_bytes(-size)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much may come, in what time, and whether it holds an image."""

    size_max: int
    seconds_max: float
    has_image: bool = False


@asynccontextmanager
async def received(
    request: web.Request, limits: BodyLimits, budget: BodyBudget, address: str
) -> AsyncIterator[bytearray]:
    """The body, counted against `budget` until the block is left.

    Raises `overloaded`, unread where the head tells; `body_too_large`, `body_too_slow` or
    `body_invalid` where the body does not come whole.
    """
    budget.check(address, request.content_length or 0)
    body = bytearray()
    if waits_for_word(request):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response proper has not begun
    budget.images += limits.has_image
    size = 0
    try:
        try:
            await _fill(body, request, limits, budget, address)
        finally:
            size = len(body)  # counted to the end, although the reader may empty it before
        yield body
    finally:
        budget.images -= limits.has_image
        budget.give(address, size)


async def wait_to_continue(_request: web.Request) -> None:
    """Stands in for aiohttp's own answer to `Expect`, which would ask for every body at once:
    here a client is told to continue when its request has been found worth a body.
    """


def waits_for_word(request: web.Request) -> bool:
    """Whether the client holds the body back until it is told to continue."""
    expected = request.headers.get("Expect", "").lower()
    return expected == "100-continue" and request.version >= HttpVersion11


async def _fill(
    body: bytearray, request: web.Request, limits: BodyLimits, budget: BodyBudget, address: str
) -> None:
    try:
        async with asyncio.timeout(limits.seconds_max):
            async for chunk in request.content.iter_any():
                if len(body) + len(chunk) > limits.size_max:
                    raise _too_large(limits.size_max)
                budget.take(address, len(chunk))
                body += chunk
    except TimeoutError as error:
        detail = f"it did not arrive within {limits.seconds_max:g} s"
        raise ServeError(Code.BODY_TOO_SLOW, detail) from error
    except (OSError, web.RequestPayloadError) as error:
        raise ServeError(Code.BODY_INVALID, "the body ends early or is badly framed") from error


def check_head(request: web.Request, size_max: int) -> None:
    """Raises `content_type_unsupported` or `body_too_large` by what the head announces."""
    if request.content_type != "application/json" or "Content-Type" not in request.headers:
        raise ServeError(Code.CONTENT_TYPE_UNSUPPORTED, "send application/json")
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise ServeError(Code.CONTENT_TYPE_UNSUPPORTED, "send the body without a content encoding")
    if (request.content_length or 0) > size_max:
        raise _too_large(size_max)


async def parsed(body: bytearray, model: type[Model]) -> Model:
    """The model in `body`; a large body is parsed off the event loop. Raises as `parse` does."""
    if len(body) <= PARSED_AT_ONCE_BYTES_MAX:
        return parse(body, model)
    return await asyncio.to_thread(parse, body, model)


def parse(body: bytes | bytearray, model: type[Model]) -> Model:
    """The model in `body`, by the strict rules of JSON and of the model.

    Raises `body_invalid` for what is no JSON object, names a key twice or has more than
    `VALUES_MAX` values, and `field_invalid` with a pointer to every fault.
    """
    if sum(map(body.count, _BEGINNINGS)) > VALUES_MAX:  # base64 has none of them
        raise ServeError(Code.BODY_INVALID, f"at most {VALUES_MAX} values")
    try:
        found = json.loads(body.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ServeError(Code.BODY_INVALID, "not JSON in UTF-8 with every key once") from error
    if not isinstance(found, dict):
        raise ServeError(Code.BODY_INVALID, "a JSON object is needed")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise ServeError(Code.BODY_INVALID, "not JSON in UTF-8") from error
        raise InputInvalid(body_faults(error)) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _too_large(size_max: int) -> ServeError:
    return ServeError(Code.BODY_TOO_LARGE, f"at most {size_max} bytes")
