"""Streams that have lost their connection, packed for whichever door takes them up.

    4 bytes, big-endian: length of the head | head, JSON | points | scenes | images

What was seen of each frame is packed as it is, to the last bit: the clip that is submitted later
is the same clip.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.evidence import Feedback, Pose
from pipeline.liveness.challenge import NOTHING, Asked, Step
from pipeline.liveness.observation import Observation, Seen
from serve.deps import Deps
from serve.domain.handoff import Handoff
from serve.domain.ids import digest
from serve.domain.liveness.sight import Sight
from serve.domain.progress import SubmitAnswer
from serve.errors import ServeError
from serve.observe import logs

PARKED_BYTES_MAX = 2 * 2**20
POINTS, SCENE = (468, 3), (32, 32)
_POINT_BYTES = 4 * POINTS[0] * POINTS[1]
_SCENE_BYTES = SCENE[0] * SCENE[1]


@dataclass(frozen=True, slots=True)
class Parked:
    """A stream at rest: under which challenge, what comes next, and what was seen; or, when it was
    submitted, only what it was answered. `dropped` counts its frames that nobody looked at.
    """

    nonce: str = field(repr=False)
    least: int = 0
    sight: Sight | None = field(default=None, repr=False)
    light: Sequence[tuple[float, float]] = ()
    answer: SubmitAnswer | None = None
    dropped: int = 0


def name_of(token: str, stream_id: str) -> str:
    """What a stream is parked under: found only by who has its token and its id."""
    return digest(f"{token}|{stream_id}")


async def park(deps: Deps, handoff: Handoff, name: str, parked: Parked) -> None:
    """Keep a stream for 15 s. What cannot be kept is lost: the person begins anew. Where the store
    is short of room only answers are kept.
    """
    try:
        if parked.sight is not None:
            await deps.headroom.check()
        await deps.parking.park(handoff.subject, name, await asyncio.to_thread(packed, parked))
    except ServeError as error:
        logs.write_error("a stream could not be parked", error)


async def unpark(deps: Deps, handoff: Handoff, name: str) -> Parked | None:
    """The stream of that name, once."""
    found = await deps.parking.take(handoff.subject, name)
    return None if found is None else await asyncio.to_thread(unpacked, found)


def packed(parked: Parked) -> bytes:
    """`parked` as bytes; without what was seen where that is more than is kept."""
    sight = parked.sight
    asked = NOTHING if sight is None else sight.asked
    seen = [] if sight is None else sight.observations
    images = {} if sight is None else sight.images
    size = len(seen) * (_POINT_BYTES + _SCENE_BYTES) + sum(map(len, images.values()))
    if size > PARKED_BYTES_MAX or any(not _is_regular(each) for each in seen):
        seen, images = [], {}
    head = {
        "nonce": parked.nonce,
        "least": parked.least,
        "steps": list(asked.steps),
        "lot": asked.lot.hex(),
        "light": list(parked.light),
        "dropped": parked.dropped,
        "answer": None if parked.answer is None else parked.answer.dump().decode(),
        "seen": [_head(each) for each in seen],
        "images": {str(number): len(image) for number, image in images.items()},
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    points = [each.seen.points.astype("<f4").tobytes() for each in seen if each.seen is not None]
    scenes = [each.scene.tobytes() for each in seen]
    return b"".join([len(text).to_bytes(4, "big"), text, *points, *scenes, *images.values()])


def unpacked(data: bytes) -> Parked:
    """What `packed` has made."""
    size = int.from_bytes(data[:4], "big")
    head: dict[str, Any] = json.loads(data[4 : 4 + size])
    rest = _Rest(data, 4 + size)
    points = [
        None if each["pose"] is None else np.frombuffer(rest.take(_POINT_BYTES), "<f4")
        for each in head["seen"]
    ]
    scenes = [np.frombuffer(rest.take(_SCENE_BYTES), np.uint8) for _ in head["seen"]]
    seen = [_observation(*each) for each in zip(head["seen"], points, scenes, strict=True)]
    images = {int(number): rest.take(size) for number, size in head["images"].items()}
    asked = Asked(tuple(map(Step, head["steps"])), bytes.fromhex(head["lot"]))
    answer = head["answer"]
    return Parked(
        nonce=head["nonce"],
        least=head["least"],
        sight=_sight(asked, seen, images) if seen else None,
        light=[(at_ms, level) for at_ms, level in head["light"]],
        answer=None if answer is None else SubmitAnswer.load(answer.encode()),
        dropped=head["dropped"],
    )


@dataclass(slots=True)
class _Rest:
    """Bytes that are taken one part after the other."""

    data: bytes = field(repr=False)
    at: int

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        self.at += size
        return part


def _sight(asked: Asked, seen: Sequence[Observation], images: Mapping[int, bytes]) -> Sight:
    sight = Sight.begun(asked)
    sight.recall(seen, images)
    return sight


def _is_regular(observation: Observation) -> bool:
    seen = observation.seen
    return observation.scene.shape == SCENE and (seen is None or seen.points.shape == POINTS)


def _head(observation: Observation) -> dict[str, object]:
    """All but the arrays."""
    seen = observation.seen
    return {
        "number": observation.number,
        "captured_ms": observation.captured_ms,
        "received_ms": observation.received_ms,
        "digest": observation.digest.hex(),
        "faces": observation.faces,
        "scene_luma": observation.scene_luma,
        "feedback": list(observation.feedback),
        "pose": None if seen is None else [
            seen.pose.yaw_deg, seen.pose.pitch_deg, seen.pose.roll_deg
        ],
        "face": None if seen is None else [
            seen.eyes_open, seen.mouth_open, seen.eye_distance_px, seen.luma
        ],
    }  # fmt: skip


def _observation(head: Mapping[str, Any], points: Any, scene: Any) -> Observation:  # noqa: ANN401
    seen = None
    if head["pose"] is not None:
        eyes_open, mouth_open, eye_distance_px, luma = head["face"]
        seen = Seen(
            pose=Pose(*head["pose"]),
            eyes_open=eyes_open,
            mouth_open=mouth_open,
            eye_distance_px=eye_distance_px,
            luma=luma,
            points=points.astype(np.float32).reshape(POINTS),
        )
    return Observation(
        number=head["number"],
        captured_ms=head["captured_ms"],
        received_ms=head["received_ms"],
        digest=bytes.fromhex(head["digest"]),
        faces=head["faces"],
        seen=seen,
        scene=scene.reshape(SCENE),
        scene_luma=head["scene_luma"],
        feedback=tuple(Feedback(each) for each in head["feedback"]),
    )
