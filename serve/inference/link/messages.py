"""What a front door and the engine say to each other, as frames on a stream.

Every frame is a head of one fixed shape, a short text, and a body:

    kind u8 | flags u8 | size of text u16 | size of body u32 | number u64 | value f64 | text | body

    door to engine   EXAMINE  number, seconds left, tenant, image     CANCEL  number
                     SEARCH   number, seconds left, packed search
    engine to door   HELLO    version, queue's bound, model           STATE   waiting, images/s
                     ANSWER   number, packed answer                   FOUND   number, packed answer

One row of numbers counts images and searches. What is packed in a search and its answer,
`serve.inference.search.packing` says.

Images are the bulk of it. A reader has them received straight into one buffer of its own, and
copies each once, out of there.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from serve.inference.parcels import Flag
from serve.inference.search.packing import SEARCH_BYTES_MAX

VERSION = 3
"""Of this page. A door and an engine of different versions do not talk."""
TENANT_BYTES_MAX = 64
MODEL_BYTES_MAX = 256
IMAGE_BYTES_MAX = 2**28
"""As much as any setting lets into a door."""
ANSWER_BYTES_MAX = 2**22
BUFFER_BYTES = 2**18
"""What a reader asks for at once; it grows for a larger image, and stays so."""

_HEAD = struct.Struct("<BBHIQd")


class LinkBrokenError(Exception):
    """What came is no frame of this link: the connection is of no more use."""


class Kind(IntEnum):
    """What a frame is."""

    EXAMINE = 1
    CANCEL = 2
    HELLO = 3
    STATE = 4
    ANSWER = 5
    SEARCH = 6
    FOUND = 7


class Bounds(NamedTuple):
    """The longest text and the longest body of a kind, in bytes."""

    text_max: int
    body_max: int


SAID_BY_DOORS: Mapping[int, Bounds] = {
    Kind.EXAMINE: Bounds(TENANT_BYTES_MAX, IMAGE_BYTES_MAX),
    Kind.CANCEL: Bounds(0, 0),
    Kind.SEARCH: Bounds(0, SEARCH_BYTES_MAX),
}
SAID_BY_ENGINES: Mapping[int, Bounds] = {
    Kind.HELLO: Bounds(MODEL_BYTES_MAX, 0),
    Kind.STATE: Bounds(0, 0),
    Kind.ANSWER: Bounds(0, ANSWER_BYTES_MAX),
    Kind.FOUND: Bounds(0, ANSWER_BYTES_MAX),
}


class Head(NamedTuple):
    """The fixed part of a frame."""

    kind: int
    flags: int
    text_size: int
    body_size: int
    number: int
    value: float


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that came whole."""

    head: Head
    text: str
    body: bytes = field(repr=False)


def examine(
    number: int, tenant_id: str, image: bytes, remaining_s: float, asked: Flag
) -> tuple[bytes, bytes]:
    """EXAMINE, in the parts that are written."""
    tenant = tenant_id.encode()
    head = _HEAD.pack(Kind.EXAMINE, asked, len(tenant), len(image), number, remaining_s)
    return head + tenant, image


def cancel(number: int) -> tuple[bytes]:
    """CANCEL: nobody waits for this image, or this search, any more."""
    return (_HEAD.pack(Kind.CANCEL, 0, 0, 0, number, 0.0),)


def hello(model_id: str, queue_max: int) -> tuple[bytes]:
    """HELLO: the first frame of an engine."""
    model = model_id.encode()
    return (_HEAD.pack(Kind.HELLO, VERSION, len(model), 0, queue_max, 0.0) + model,)


def state(waiting: int, rate_per_s: float) -> tuple[bytes]:
    """STATE: how many images wait in the engine, and how many it finishes in a second."""
    return (_HEAD.pack(Kind.STATE, 0, 0, 0, waiting, rate_per_s),)


def answer(number: int, packed: bytes) -> tuple[bytes]:
    """ANSWER: what came of an image."""
    return (_HEAD.pack(Kind.ANSWER, 0, 0, len(packed), number, 0.0) + packed,)


def search(number: int, packed: bytes, remaining_s: float) -> tuple[bytes]:
    """SEARCH: who else has this face."""
    return (_HEAD.pack(Kind.SEARCH, 0, 0, len(packed), number, remaining_s) + packed,)


def found(number: int, packed: bytes) -> tuple[bytes]:
    """FOUND: what came of a search."""
    return (_HEAD.pack(Kind.FOUND, 0, 0, len(packed), number, 0.0) + packed,)


class FrameReader:
    """Turns a stream into frames, however it was cut up. Not tied to any event loop.

    `wants` is asked once per frame, when its head is there, whether its body shall be kept: an
    unwanted one is read away and never held. `came` gets each frame that was wanted.
    """

    def __init__(
        self,
        said: Mapping[int, Bounds],
        wants: Callable[[Head], bool],
        came: Callable[[Frame], None],
    ) -> None:
        self._said = said
        self._wants = wants
        self._came = came
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._head: Head | None = None  # of the wanted frame that is coming
        self._to_drop = 0  # bytes of an unwanted one that are still to come

    def free(self) -> memoryview:
        """Where the next bytes are to be received; never empty."""
        return self._view[self._filled :]

    def received(self, count: int) -> None:
        """`count` bytes were written to the beginning of `free`. Raises LinkBrokenError."""
        self._filled += count
        start = 0
        while start < self._filled:
            there = self._filled - start
            if self._to_drop:
                dropped = min(self._to_drop, there)
                self._to_drop -= dropped
                start += dropped
            elif self._head is None:
                if there < _HEAD.size:
                    break
                self._begin(start)
            elif there < _size(self._head):
                break
            else:
                head, self._head = self._head, None
                frame = self._frame(head, start)
                start += _size(head)
                self._came(frame)
        self._make_room(start)

    def _begin(self, start: int) -> None:
        head = Head._make(_HEAD.unpack_from(self._view, start))
        bounds = self._said.get(head.kind)
        if bounds is None:
            raise LinkBrokenError(f"a frame of kind {head.kind}")
        if head.text_size > bounds.text_max or head.body_size > bounds.body_max:
            raise LinkBrokenError("a frame is longer than its kind may be")
        if not math.isfinite(head.value):
            raise LinkBrokenError("a value is no number")
        if self._wants(head):
            self._head = head
        else:
            self._to_drop = _size(head)

    def _frame(self, head: Head, start: int) -> Frame:
        middle = start + _HEAD.size + head.text_size
        try:
            text = str(self._view[start + _HEAD.size : middle], "utf-8")
        except UnicodeDecodeError as error:
            raise LinkBrokenError("a text is not UTF-8") from error
        return Frame(head, text, bytes(self._view[middle : middle + head.body_size]))

    def _make_room(self, start: int) -> None:
        """What is left from `start` on moves to the front, with room for the rest of its frame."""
        left = self._view[start : self._filled]
        if self._head is not None and _size(self._head) > len(self._view):
            self._view = memoryview(bytearray(_size(self._head)))
        if start or self._view.obj is not left.obj:
            self._view[: len(left)] = left
        self._filled = len(left)


def _size(head: Head) -> int:
    return _HEAD.size + head.text_size + head.body_size
