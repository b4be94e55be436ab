"""`limen.capture.v1`: what a phone and a front door say to each other over one WebSocket.

    GET /api/v1/kyc/face/stream, `Sec-WebSocket-Protocol: limen.capture.v1`

Text messages are JSON objects, binary ones frames. In their order:

    client  {"type": "start", "token": "st_…", "resume": "<stream of an earlier hello>"?}
            The first message, once, within `stream.start_seconds_max`. A token anywhere else is
            not read.
    server  {"type": "hello", "stream", "nonce", "steps", "step", "done", "limits", "credits",
             "next", "light"?}
            `stream` names it for a resume; keep it as secret as the token. `nonce` is 32 hex
            digits. `steps` are to be done in their order; `step` is the one asked for now, `done`
            counts those behind it. `limits`: `frame_bytes_max`, `frame_pixels_max`,
            `frames_per_s_max`, `frames_max`, `seconds_max`. `next` is the least sequence number
            that is taken, 0 in a new clip.
    client  a frame, binary, for each credit at most one:
                sequence     4 bytes, unsigned, big-endian; each greater than the last, gaps allowed
                captured_ms  8 bytes, unsigned, big-endian; the phone's monotone clock
                tag          16 bytes, the first of HMAC-SHA256(nonce, the 12 bytes before + image)
                image        the rest: a JPEG, PNG or WebP of at most `frame_bytes_max` bytes and
                             `frame_pixels_max` pixels, all of one size
    server  {"type": "credits", "credits": n}
            n more frames may be sent. None come after `frames_max` frames of a clip.
    server  {"type": "hint", "seq", "feedback", "step", "done", "is_complete", "dropped", "light"?}
            What was seen up to the frame `seq`, at most four times a second unless the step has
            changed. `feedback` is for the person; `dropped` counts frames of the clip that were
            not looked at because newer ones had come or there was no room. `light`, 0 to 1, is how
            bright the page is to be from now on; absent where it is not asked.
    client  {"type": "submit"}
            What has come is judged; nothing of it is dropped any more, and later frames are not
            looked at.
    server  {"type": "done", "status": 200, "result": the callback object}, or {"type": "done",
            "status": 422, "code", "detail", "feedback"} for a clip that is to be taken again, which
            is no attempt; then it closes with 1000. A new stream of the session goes on.
    server  {"type": "problem", "problem": an RFC 9457 problem, "retry_after_s"?}, at any time; then
            it closes with 4000 + its `status`, and its `code` as the reason. `retry_after_s` are
            whole seconds until trying again makes sense; absent where it never does.

Closing codes are thus 1000 after `done`; 1001 when the front door goes: resume at once; 1009 for a
message over the limit; and 4400 a message that breaks these rules, 4403 a foreign origin, 4404 an
unknown token, 4408 no start or no submit in time, 4409 the session is closed, is being judged, or
went on in a newer stream, 4410 it has expired, 4422 a frame with a wrong tag or sequence, of
another size or format, or too large, 4429 a frame without a credit, more than 2,000 pings and
pongs, or a quota used up, 4503 no models, no room or no store, 4500 a defect.

Whoever loses the connection starts anew with `resume`, on any front door, within 15 s. The
challenge is the same, and sequence numbers go on from `next`. Where no more than 0.7 s went by
(`stream.gap_s_max`) since the last frame, the clip goes on as well, and `done` says how far it has
come; after a longer gap it could not be judged as one, and begins anew with `done` 0. A stream that
is not found begins with `next` 0. A `done` that was lost on its way is said again instead of the
hello; who asks while the clip is still judged hears 4409 `submission_in_progress`, and asks again
with the same `resume`. However a stream ends, no attempt is counted unless it was submitted.
"""

import hashlib
import hmac
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.liveness.challenge import Step
from serve.domain.document import Document
from serve.domain.liveness.limits import CAPTURED_MS_MAX, FRAME_PIXELS_MAX
from serve.domain.progress import SubmitAnswer
from serve.errors import Code, ServeError

STREAM_PATH = "/api/v1/kyc/face/stream"
SUBPROTOCOL = "limen.capture.v1"
TEXT_LENGTH_MAX = 1_024
STREAM_ID_BYTES = 16
GOING_AWAY = 1001
CLOSED_MIN = 4_000  # plus an HTTP status
TAG_BYTES = 16
_TAGGED = struct.Struct(">IQ")
HEADER_BYTES = _TAGGED.size + TAG_BYTES


class Start(Document):
    """The first message. `resume` is the stream of an earlier hello, None for a new one."""

    type: Literal["start"]
    token: str = Field(repr=False, max_length=128)
    resume: str | None = Field(default=None, repr=False, pattern="^[0-9a-f]{32}$")


class Submit(Document):
    """The last message: judge what has come."""

    type: Literal["submit"]


Message = Start | Submit
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came: its place, when it was taken, and its encoded picture."""

    seq: int
    captured_ms: int
    image: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """How much a stream may be: what its hello says, and what it is held to."""

    frame_bytes_max: int
    frames_per_s_max: float
    frames_max: int
    seconds_max: float
    light_levels: int = 0
    gap_s_max: float = 0.7


def read_message(text: str) -> Message:
    """A client's text message. Raises `message_invalid`, quoting nothing of it."""
    if len(text) > TEXT_LENGTH_MAX:
        raise ServeError(Code.MESSAGE_INVALID, f"at most {TEXT_LENGTH_MAX} characters of text")
    try:
        return _MESSAGE.validate_json(text, strict=True)
    except (ValidationError, ValueError) as error:  # the latter for a lone surrogate
        raise ServeError(Code.MESSAGE_INVALID, "neither a start nor a submit") from error


def read_frame(data: bytes, nonce: bytes, least: int) -> Frame:
    """A client's binary message, whose sequence is to be `least` or more.

    Raises `message_invalid` for what is no frame, and `frame_invalid` for a tag that `nonce` does
    not give or a sequence that went by.
    """
    if len(data) <= HEADER_BYTES:
        raise ServeError(Code.MESSAGE_INVALID, "a frame is a header and a picture")
    seq, captured_ms = _TAGGED.unpack_from(data)
    image = data[HEADER_BYTES:]
    tag = _tag(nonce, data[: _TAGGED.size], image)
    if not hmac.compare_digest(tag, data[_TAGGED.size : HEADER_BYTES]):
        raise ServeError(Code.FRAME_INVALID, "the tag is not that of the frame")
    if seq < least:
        raise ServeError(Code.FRAME_INVALID, "the sequence does not ascend")
    if captured_ms > CAPTURED_MS_MAX:
        raise ServeError(Code.FRAME_INVALID, "the time lies beyond any clock's")
    return Frame(seq, captured_ms, image)


def write_frame(frame: Frame, nonce: bytes) -> bytes:
    """The binary message of `frame`: what a client does."""
    tagged = _TAGGED.pack(frame.seq, frame.captured_ms)
    return tagged + _tag(nonce, tagged, frame.image) + frame.image


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server says first. `light` is None where no brightness is asked for."""

    stream: str = field(repr=False)
    nonce: str = field(repr=False)
    steps: Sequence[Step]
    done: int
    terms: Terms
    credits_left: int
    least: int
    light: float | None = None

    @property
    def message(self) -> dict[str, object]:
        """Its members on the wire."""
        terms = self.terms
        return {
            "type": "hello",
            "stream": self.stream,
            "nonce": self.nonce,
            "steps": list(self.steps),
            "step": self.steps[self.done] if self.done < len(self.steps) else None,
            "done": self.done,
            "limits": {
                "frame_bytes_max": terms.frame_bytes_max,
                "frame_pixels_max": FRAME_PIXELS_MAX,
                "frames_per_s_max": terms.frames_per_s_max,
                "frames_max": terms.frames_max,
                "seconds_max": terms.seconds_max,
            },
            "credits": self.credits_left,
            "next": self.least,
            **({} if self.light is None else {"light": self.light}),
        }


def done(answer: SubmitAnswer) -> dict[str, object]:
    """What is told of a submission."""
    body = json.loads(answer.body)
    if answer.http_status == HTTPStatus.OK:
        return {"type": "done", "status": answer.http_status, "result": body}
    return {"type": "done", "status": answer.http_status, **body}


def light_level(nonce: bytes, number: int, levels: int) -> float:
    """How bright the page is to be in the span of time `number`, 0 to 1: one of `levels` grades
    that nobody foresees who has not the nonce, and never the one before.
    """
    grades = [*range(levels)]
    grade = -1
    for each in range(number + 1):
        left = [item for item in grades if item != grade]
        drawn = hmac.digest(nonce, b"light" + each.to_bytes(4, "big"), "sha256")
        grade = left[int.from_bytes(drawn[:8], "big") % len(left)]
    return grade / (levels - 1)


def _tag(nonce: bytes, tagged: bytes, image: bytes) -> bytes:
    state = hmac.new(nonce, tagged, hashlib.sha256)
    state.update(image)
    return state.digest()[:TAG_BYTES]
