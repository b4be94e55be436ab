"""What a person does before the camera when a challenge asks for it, as poses over time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import cos, pi
from types import MappingProxyType

import numpy as np

from pipeline.liveness.challenge import Step
from pipeline.render.draw import STILL, Attitude

BEFORE_S, BETWEEN_S, AFTER_S = 0.6, 0.35, 0.5  # of looking into the camera
TURN_DEG = (25.0, 28.0)
NOD_DEG = (13.0, 16.0)
_PACE = (0.9, 1.15)  # how much slower or faster people are


@dataclass(frozen=True, slots=True)
class Key:
    """Where a head is at a time; from one key to the next it moves smoothly."""

    at_s: float
    attitude: Attitude


Stretch = tuple[float, Attitude]  # seconds from the key before, and the attitude reached
Act = Callable[[np.random.Generator], Iterator[Stretch]]


def script(steps: Sequence[Step], rng: np.random.Generator) -> tuple[Key, ...]:
    """The keys of a person who does `steps` in their order, looking ahead before and after."""
    keys = [Key(0.0, STILL)]
    for seconds, attitude in _stretches(steps, rng):
        keys.append(Key(keys[-1].at_s + seconds, attitude))
    return tuple(keys)


def attitude_at(keys: Sequence[Key], time_s: float) -> Attitude:
    """The attitude at a time; before the first key and after the last, theirs."""
    after = next((number for number, key in enumerate(keys) if key.at_s > time_s), len(keys))
    if after == 0 or after == len(keys):
        return keys[min(after, len(keys) - 1)].attitude
    first, second = keys[after - 1], keys[after]
    share = (time_s - first.at_s) / (second.at_s - first.at_s)
    eased = 0.5 - 0.5 * cos(pi * share)
    return Attitude(
        *(
            (1.0 - eased) * before + eased * later
            for before, later in zip(astuple(first.attitude), astuple(second.attitude), strict=True)
        )
    )


def _stretches(steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Stretch]:
    yield BEFORE_S, STILL
    for number, step in enumerate(steps):
        if number:
            yield BETWEEN_S, STILL
        pace = float(rng.uniform(*_PACE))
        for seconds, attitude in _ACTS[step](rng):
            yield pace * seconds, attitude
    yield AFTER_S, STILL


def _turn(sign: float, rng: np.random.Generator) -> Iterator[Stretch]:
    aside = Attitude(yaw_deg=sign * float(rng.uniform(*TURN_DEG)))
    yield 0.7, aside
    yield 0.2, aside
    yield 0.7, STILL


def _turn_left(rng: np.random.Generator) -> Iterator[Stretch]:
    return _turn(1.0, rng)


def _turn_right(rng: np.random.Generator) -> Iterator[Stretch]:
    return _turn(-1.0, rng)


def _nod(rng: np.random.Generator) -> Iterator[Stretch]:
    down = float(rng.uniform(*NOD_DEG))
    yield 0.5, Attitude(pitch_deg=-down)
    yield 0.1, Attitude(pitch_deg=-down)
    yield 0.5, Attitude(pitch_deg=0.25 * down)
    yield 0.25, STILL


def _blink(_rng: np.random.Generator) -> Iterator[Stretch]:
    shut = Attitude(eyes_shut=1.0)
    yield 0.15, shut
    yield 0.35, shut
    yield 0.2, STILL


def _mouth_open(rng: np.random.Generator) -> Iterator[Stretch]:
    wide = Attitude(mouth_open=float(rng.uniform(0.55, 0.7)))
    yield 0.3, wide
    yield 0.25, wide
    yield 0.3, STILL


_ACTS: Mapping[Step, Act] = MappingProxyType(
    {
        Step.TURN_LEFT: _turn_left,
        Step.TURN_RIGHT: _turn_right,
        Step.NOD: _nod,
        Step.BLINK: _blink,
        Step.MOUTH_OPEN: _mouth_open,
    }
)
