"""Frames of made heads: points of a body that is turned, and of pictures of it that are tilted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import Feedback, Missing, Pose, Template
from pipeline.liveness.challenge import Asked, Step
from pipeline.liveness.judgement import Look
from pipeline.liveness.keep import key_frames
from pipeline.liveness.observation import Observation, Seen
from pipeline.liveness.signs.depth import rotation_of

EYE_PX = 80.0
SIDE_PX = 400.0
EYES_OPEN, MOUTH_SHUT = 0.2, 0.02
NOISE = 0.004  # of the mesh from frame to frame, distances between the eyes
STEP_S = 0.1
_FIXED = {
    33: (-0.75, 0.0), 133: (-0.25, 0.0), 362: (0.25, 0.0), 263: (0.75, 0.0), 168: (0.0, 0.05),
    10: (0.0, -0.95), 152: (0.0, 1.6), 2: (0.0, 0.75), 1: (0.0, 0.55), 61: (-0.4, 1.0),
    291: (0.4, 1.0), 127: (-1.0, 0.0), 356: (1.0, 0.0), 13: (0.0, 0.97), 14: (0.0, 1.0),
}  # fmt: skip


@cache
def body() -> NDArray[np.float64]:
    """468 points of a face, `(468, 3)` in distances between the eyes: an egg with a nose."""
    rng = np.random.default_rng(468)
    angle, radius = rng.uniform(0.0, 2.0 * np.pi, 468), np.sqrt(rng.uniform(0.0, 1.0, 468))
    points = np.column_stack([1.05 * radius * np.cos(angle), 0.3 + 1.3 * radius * np.sin(angle)])
    for index, place in _FIXED.items():
        points[index] = place
    x, y = points[:, 0], points[:, 1] - 0.3
    bulge = np.sqrt(np.clip(1.2 - (x / 1.15) ** 2 - (y / 1.45) ** 2, 0.01, None))
    nose = np.exp(-((x / 0.18) ** 2) - ((points[:, 1] - 0.5) / 0.3) ** 2)
    sockets = np.exp(-(((np.abs(x) - 0.5) / 0.25) ** 2) - (points[:, 1] / 0.15) ** 2)
    return np.column_stack([points, -0.9 * bulge - 0.45 * nose + 0.12 * sockets])


@dataclass(frozen=True, slots=True)
class Held:
    """How a face is held in a frame: `Pose`'s angles, and shares of shut eyes and of open mouth."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shut: float = 0.0
    gape: float = 0.0


def head(held: Held) -> NDArray[np.float64]:
    """The points of a head that is held so."""
    return body() @ rotation_of(held.yaw, held.pitch, held.roll).T


def picture(held: Held) -> NDArray[np.float64]:
    """The points of a flat picture that is tilted thrice as far as it reads as being turned."""
    flat = body() * np.array([1.0, 1.0, 0.0])
    tilt = rotation_of(3.0 * held.yaw, 3.0 * held.pitch, held.roll)
    turned = flat @ tilt.T
    nearer = 8.0 / (8.0 + turned[:, 2:])
    return np.asarray(turned * nearer * np.array([1.0, 1.0, 0.2]))


Drawn = Callable[[Held], NDArray[np.float64]]


def seen(held: Held, rng: np.random.Generator, drawn: Drawn = head) -> Seen:
    """The face of a frame, as mesh and quality see it."""
    points = drawn(held) + rng.normal(0.0, NOISE, (468, 3))
    points[:, :2] += np.array([2.5, 2.5]) + 0.01 * rng.normal(size=2)
    angles = np.array([held.yaw, held.pitch, held.roll]) + rng.normal(0.0, 0.5, 3)
    return Seen(
        pose=Pose(*(float(each) for each in angles)),
        eyes_open=EYES_OPEN * (1.0 - 0.6 * held.shut) * float(1.0 + rng.normal(0.0, 0.02)),
        mouth_open=MOUTH_SHUT + 0.2 * held.gape + float(rng.normal(0.0, 0.004)),
        eye_distance_px=EYE_PX,
        luma=120.0 + float(rng.normal(0.0, 0.5)),
        points=(points * EYE_PX).astype(np.float32),
    )


def frame(
    number: int,
    face: Seen | None,
    seconds: float | None = None,
    rng: np.random.Generator | None = None,
) -> Observation:
    """A frame of a clip, its bytes its own."""
    scene = (rng or np.random.default_rng(number)).integers(90, 130, (32, 32)).astype(np.uint8)
    ms = None if seconds is None else 1000.0 * seconds
    return Observation(
        number=number,
        captured_ms=ms,
        received_ms=None if ms is None else 50_000.0 + ms,
        digest=number.to_bytes(32, "big"),
        faces=int(face is not None),
        seen=face,
        scene=scene,
        scene_luma=float(scene.mean()),
        feedback=(Feedback.FACE_NOT_FOUND if face is None else Feedback.OK,),
    )


_ACTS = {
    Step.TURN_LEFT: Held(yaw=25.0),
    Step.TURN_RIGHT: Held(yaw=-25.0),
    Step.HEAD_TURN: Held(yaw=-25.0),
    Step.NOD: Held(pitch=-16.0),
    Step.BLINK: Held(shut=1.0),
    Step.MOUTH_OPEN: Held(gape=1.0),
}


def poses(steps: Sequence[Step]) -> list[Held]:
    """A second at rest, then each step: out, there, back, and half a second at rest."""
    way = [Held()] * 10
    for step in steps:
        act = _ACTS[step]
        for share in (
            0.25,
            0.5,
            0.75,
            1.0,
            1.0,
            1.0,
            1.0,
            0.75,
            0.5,
            0.25,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ):
            way.append(scaled(act, share))
    return way


def scaled(held: Held, share: float) -> Held:
    """Part of the way from rest."""
    return Held(*(share * each for each in (held.yaw, held.pitch, held.roll, held.shut, held.gape)))


def clip(
    way: Sequence[Held], seed: int = 1, *, timed: bool = True, drawn: Drawn = head
) -> list[Observation]:
    """The frames of a clip, a tenth of a second apart."""
    rng = np.random.default_rng(seed)
    return [
        frame(number, seen(held, rng, drawn), STEP_S * number if timed else None, rng)
        for number, held in enumerate(way)
    ]


def renumbered(frames: Sequence[Observation]) -> list[Observation]:
    """The frames as a clip of its own, its times a tenth of a second apart again."""
    return [
        replace(
            each,
            number=number,
            captured_ms=None if each.captured_ms is None else 1000.0 * STEP_S * number,
            received_ms=None if each.received_ms is None else 50_000.0 + 1000.0 * STEP_S * number,
        )
        for number, each in enumerate(frames)
    ]


PERSON = Template("embedder-test", np.array([1.0, 0.0], np.float32))
STRANGER = Template("embedder-test", np.array([0.0, 1.0], np.float32))


def alike(one: Template, other: Template) -> bool:
    """Whether two made templates are of one person."""
    return bool(float(one.vector @ other.vector) > 0.5)


def asked(steps: Sequence[Step], lot: bytes = b"lot") -> Asked:
    """What a clip is held against."""
    return Asked(tuple(steps), lot)


def looks(steps: Sequence[Step], frames: Sequence[Observation]) -> dict[int, Look]:
    """Looks at the key frames that find one person, and no passive model."""
    numbers = key_frames(asked(steps), frames)
    return {number: Look(PERSON, Missing.MODEL_UNAVAILABLE) for number in numbers}
