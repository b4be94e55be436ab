"""Frames: the same however they are cut up, bounded, and never a surprise."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.inference.link import messages
from serve.inference.link.messages import (
    BUFFER_BYTES,
    IMAGE_BYTES_MAX,
    SAID_BY_DOORS,
    SAID_BY_ENGINES,
    TENANT_BYTES_MAX,
    Frame,
    FrameReader,
    Head,
    Kind,
    LinkBrokenError,
)
from serve.inference.parcels import Flag

Said = tuple[str, bytes, bool]
SAID = st.tuples(st.text(max_size=16), st.binary(max_size=40), st.booleans())


def head_bytes(kind: int, text_size: int = 0, body_size: int = 0, value: float = 0.0) -> bytes:
    """A head that no function of `messages` would make."""
    return struct.pack("<BBHIQd", kind, 0, text_size, body_size, 1, value)


class Listener:
    """What a reader tells. Numbers in `unwanted` are not to be kept."""

    def __init__(self, unwanted: frozenset[int] = frozenset()) -> None:
        self.asked: list[int] = []
        self.came: list[Frame] = []
        self._unwanted = unwanted
        self.reader = FrameReader(SAID_BY_DOORS, self._wants, self.came.append)

    def _wants(self, head: Head) -> bool:
        self.asked.append(head.number)
        return head.number not in self._unwanted

    def hear(self, data: bytes) -> None:
        """Receive as much at once as there is room for."""
        while data:
            free = self.reader.free()
            count = min(len(free), len(data))
            free[:count] = data[:count]
            self.reader.received(count)
            data = data[count:]


def stream(said: list[Said]) -> bytes:
    """EXAMINE frames, numbered from 0."""
    return b"".join(
        part
        for number, (tenant, image, chip) in enumerate(said)
        for part in messages.examine(number, tenant, image, 1.5, Flag.CHIP if chip else Flag.NONE)
    )


@given(
    said=st.lists(SAID),
    cuts=st.lists(st.integers(1, 50)),
    unwanted=st.frozensets(st.integers(0, 5)),
)
def test_frames_come_whole_however_the_stream_is_cut(
    said: list[Said], cuts: list[int], unwanted: frozenset[int]
) -> None:
    """Each frame is asked about once and in order, and comes as it was sent if it is wanted."""
    listener = Listener(unwanted)
    data = stream(said)
    for size in cuts:
        listener.hear(data[:size])
        data = data[size:]
    listener.hear(data)
    assert listener.asked == list(range(len(said)))
    assert [
        (frame.head.number, frame.text, frame.body, bool(frame.head.flags & Flag.CHIP))
        for frame in listener.came
    ] == [(number, *each) for number, each in enumerate(said) if number not in unwanted]
    assert all(frame.head.value == 1.5 for frame in listener.came)


@pytest.mark.parametrize("size", [BUFFER_BYTES - 40, BUFFER_BYTES, 3 * BUFFER_BYTES])
def test_an_image_may_be_larger_than_the_buffer(size: int) -> None:
    """What does not fit makes the buffer grow; what follows it comes as well."""
    listener = Listener()
    images = [b"a" * 10, b"b" * size, b"c" * 10]
    listener.hear(stream([("ten", image, False) for image in images]))
    assert [frame.body for frame in listener.came] == images


def test_an_unwanted_image_is_never_held() -> None:
    """Its bytes are read away where they come in: the buffer stays as it is."""
    listener = Listener(frozenset({0}))
    listener.hear(stream([("ten", b"a" * 8 * BUFFER_BYTES, False), ("ten", b"b", True)]))
    assert [frame.body for frame in listener.came] == [b"b"]
    assert len(listener.reader.free()) == BUFFER_BYTES


@pytest.mark.parametrize(
    "data",
    [
        head_bytes(0),
        head_bytes(99),
        head_bytes(Kind.ANSWER),
        head_bytes(Kind.HELLO),
        head_bytes(Kind.CANCEL, body_size=1),
        head_bytes(Kind.CANCEL, text_size=1),
        head_bytes(Kind.EXAMINE, text_size=TENANT_BYTES_MAX + 1),
        head_bytes(Kind.EXAMINE, body_size=IMAGE_BYTES_MAX + 1),
        head_bytes(Kind.EXAMINE, value=math.nan),
        head_bytes(Kind.EXAMINE, value=math.inf),
        head_bytes(Kind.EXAMINE, text_size=1) + b"\xff",
    ],
)
def test_what_is_no_frame_of_a_door_breaks_the_link(data: bytes) -> None:
    """Unknown kinds, those of the other side, lengths beyond a bound, and what is no number."""
    with pytest.raises(LinkBrokenError):
        Listener().hear(data)


@given(data=st.binary(min_size=24))
def test_noise_is_a_frame_or_breaks_the_link(data: bytes) -> None:
    """Whatever comes, the reader raises nothing but LinkBrokenError."""
    listener = Listener()
    try:
        listener.hear(data)
    except LinkBrokenError:
        assert not listener.came or listener.came[0].head.kind in SAID_BY_DOORS


def test_an_engine_s_frames_say_what_they_were_given() -> None:
    """Model and bound, queue and rate, answer and cancel."""
    came: list[Frame] = []
    both = {**SAID_BY_ENGINES, **SAID_BY_DOORS}
    reader = FrameReader(both, lambda _: True, came.append)
    frames = [
        messages.hello("model é", 256),
        messages.state(7, 12.5),
        messages.answer(2**63, b"packed"),
        messages.cancel(9),
    ]
    data = b"".join(part for frame in frames for part in frame)
    reader.free()[: len(data)] = data
    reader.received(len(data))
    hello, state, answer, cancel = came
    assert (hello.head.flags, hello.head.number, hello.text) == (messages.VERSION, 256, "model é")
    assert (state.head.number, state.head.value) == (7, 12.5)
    assert (answer.head.number, answer.body) == (2**63, b"packed")
    assert (cancel.head.kind, cancel.head.number) == (Kind.CANCEL, 9)
