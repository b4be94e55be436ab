"""The protocol on the wire: whatever comes is a message, or a typed error."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.liveness.challenge import Step
from serve.domain.liveness.limits import CAPTURED_MS_MAX
from serve.domain.liveness.wire import (
    HEADER_BYTES,
    TEXT_LENGTH_MAX,
    Frame,
    Hello,
    Start,
    Submit,
    Terms,
    done,
    light_level,
    read_frame,
    read_message,
    write_frame,
)
from serve.domain.progress import SubmitAnswer
from serve.errors import Code, ServeError

NONCE = bytes(range(16))
TERMS = Terms(2**19, 10.0, 300, 60.0)
ENDS = {Code.MESSAGE_INVALID, Code.FRAME_INVALID}


def refusal(data: bytes, least: int = 0) -> str:
    with pytest.raises(ServeError) as caught:
        read_frame(data, NONCE, least)
    return str(caught.value.code)


@given(
    seq=st.integers(0, 2**32 - 1),
    captured_ms=st.integers(0, CAPTURED_MS_MAX),
    image=st.binary(min_size=1, max_size=64),
)
def test_a_frame_that_is_written_is_read(seq: int, captured_ms: int, image: bytes) -> None:
    """Sequence, time and picture come back."""
    frame = Frame(seq, captured_ms, image)
    assert read_frame(write_frame(frame, NONCE), NONCE, seq) == frame


@given(data=st.binary(max_size=128), least=st.integers(0, 2**32))
def test_any_bytes_are_no_frame(data: bytes, least: int) -> None:
    """Nobody guesses a tag: whatever comes is refused, and with nothing but a typed error."""
    with pytest.raises(ServeError) as caught:
        read_frame(data, NONCE, least)
    assert caught.value.code in ENDS


@given(place=st.integers(0, HEADER_BYTES + 3), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    """The tag covers sequence, time and picture, and is itself the nonce's."""
    data = bytearray(write_frame(Frame(7, 100, b"face"), NONCE))
    data[place] ^= change
    assert refusal(bytes(data)) == Code.FRAME_INVALID


def test_a_frame_of_another_session_is_refused() -> None:
    """Its tag is made with another nonce."""
    assert refusal(write_frame(Frame(0, 0, b"face"), NONCE[::-1])) == Code.FRAME_INVALID


def test_a_sequence_that_went_by_is_refused() -> None:
    """Numbers ascend; gaps are allowed."""
    assert refusal(write_frame(Frame(4, 0, b"face"), NONCE), least=5) == Code.FRAME_INVALID
    assert read_frame(write_frame(Frame(99, 0, b"face"), NONCE), NONCE, 5).seq == 99


def test_a_time_beyond_json_is_refused() -> None:
    """A number that is no longer whole elsewhere is no time."""
    late = write_frame(Frame(0, CAPTURED_MS_MAX + 1, b"face"), NONCE)
    assert refusal(late) == Code.FRAME_INVALID


def test_a_header_without_a_picture_is_no_frame() -> None:
    """There is something to look at, or it is refused."""
    assert refusal(write_frame(Frame(0, 0, b""), NONCE)) == Code.MESSAGE_INVALID
    assert refusal(b"") == Code.MESSAGE_INVALID


@given(text=st.text(max_size=TEXT_LENGTH_MAX + 8))
def test_any_text_is_a_message_or_refused(text: str) -> None:
    """Nothing but a typed error comes of it."""
    with suppress(ServeError):
        assert isinstance(read_message(text), Start | Submit)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_json_is_a_message_or_refused(value: object) -> None:
    """Members of other types, unknown ones and other values are refused as well."""
    with pytest.raises(ServeError):
        read_message(json.dumps({"type": "start", "token": value, "x": 1}))
    with pytest.raises(ServeError):
        read_message(json.dumps([value]))


def test_messages_are_read() -> None:
    """A start, with or without a stream to go on with, and a submit."""
    plain = read_message('{"type":"start","token":"st_x"}')
    assert isinstance(plain, Start)
    assert (plain.token, plain.resume) == ("st_x", None)
    start = read_message(json.dumps({"type": "start", "token": "st_x", "resume": "a" * 32}))
    assert isinstance(start, Start)
    assert start.resume == "a" * 32
    assert "st_x" not in repr(start)
    assert "aaaa" not in repr(start)
    assert isinstance(read_message('{"type":"submit"}'), Submit)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"type":"hello"}', '{"type":"start"}', '{"type":"start","token":1}',
        '{"type":"start","token":"st_x","resume":"short"}', '{"type":"submit","more":1}',
        '{"type":"start","token":"' + "a" * 200 + '"}', '"\\ud800"',
    ],
)  # fmt: skip
def test_what_breaks_the_rules_is_refused(text: str) -> None:
    """A missing, unknown or misshapen member is no message."""
    with pytest.raises(ServeError):
        read_message(text)


def test_a_hello_says_all_that_a_client_needs() -> None:
    """Its members are those of the module's description; light only where it is asked."""
    steps = (Step.NOD, Step.BLINK)
    hello = Hello("stream", "ab", steps, 1, TERMS, 6, 3)
    assert hello.message == {
        "type": "hello", "stream": "stream", "nonce": "ab", "steps": ["nod", "blink"],
        "step": "blink", "done": 1, "credits": 6, "next": 3,
        "limits": {
            "frame_bytes_max": 2**19, "frame_pixels_max": 2**22, "frames_per_s_max": 10.0,
            "frames_max": 300, "seconds_max": 60.0,
        },
    }  # fmt: skip
    lit = Hello("stream", "ab", steps, 2, TERMS, 6, 3, light=0.5).message
    assert (lit["light"], lit["step"]) == (0.5, None)
    assert "stream" not in repr(hello)


def test_a_done_is_the_answer_of_the_submission() -> None:
    """The callback object, or why the clip is to be taken again."""
    assert done(SubmitAnswer(200, b'{"status":"approved"}')) == {
        "type": "done", "status": 200, "result": {"status": "approved"},
    }  # fmt: skip
    assert done(SubmitAnswer(422, b'{"code":"capture_unfit"}')) == {
        "type": "done", "status": 422, "code": "capture_unfit",
    }  # fmt: skip


@given(levels=st.integers(2, 8), number=st.integers(0, 40), nonce=st.binary(min_size=16))
def test_light_changes_each_time(levels: int, number: int, nonce: bytes) -> None:
    """Within 0 and 1, the same for the same nonce, and never twice the same in a row."""
    level, after = (light_level(nonce, each, levels) for each in (number, number + 1))
    assert 0.0 <= level <= 1.0
    assert level != after
    assert level == light_level(nonce, number, levels)
