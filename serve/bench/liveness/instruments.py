"""What each species of the suite puts before us, made of photos and of chance that is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from pipeline.liveness.challenge import Step
from pipeline.render.draw import STILL, Attitude
from pipeline.render.perform import Clip, perform
from pipeline.render.script import Key, script
from serve.bench.liveness import edits
from serve.bench.liveness.cast import Actor
from serve.bench.liveness.sheet import (
    BENT_RADIUS,
    present,
    puppet_of,
    replayed,
    sheet_of,
    tilted,
)
from serve.bench.liveness.species import Species, Steps, draws_for

SECONDS = 4.5  # of a presentation that follows no challenge
TILT = (1.3, 2.3)  # how much further than a head a print is tilted to look turned
FREEZES_AT = 0.45  # of a recording, shortly after its first step
_NO_HOLES = frozenset[Step]()


@dataclass(frozen=True, slots=True)
class Presentation:
    """A clip, what was asked of it, and what it is."""

    species: Species
    person: str = field(repr=False)
    steps: Steps
    clip: Clip


Maker = Callable[[Actor, Actor, Steps, np.random.Generator], Clip]


def presentations(
    species: Species, cast: Sequence[Actor], per_actor: int, seed: int
) -> Iterator[Callable[[], Presentation]]:
    """What makes each presentation of a species: `per_actor` of each actor, draws by turns.

    Each has chance of its own, by `seed` and its place, so they can be made in any order.
    """
    draws = draws_for(species)
    offset = 5 * list(Species).index(species)
    for number, actor in enumerate(cast):
        other = cast[(number + 1) % len(cast)]
        for turn in range(per_actor):
            steps = draws[(offset + number * per_actor + turn) % len(draws)]
            chance = (seed, list(Species).index(species), number, turn)
            yield _Making(species, actor, other, steps, chance)


@dataclass(frozen=True, slots=True)
class _Making:
    species: Species
    actor: Actor
    other: Actor
    steps: Steps
    chance: tuple[int, ...]

    def __call__(self) -> Presentation:
        rng = np.random.default_rng(self.chance)
        clip = _MAKERS[self.species](self.actor, self.other, self.steps, rng)
        return Presentation(self.species, self.actor.name, self.steps, clip)


def _performance(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return perform(actor.head, steps, rng)


def _still(actor: Actor, _other: Actor, _steps: Steps, rng: np.random.Generator) -> Clip:
    return present(sheet_of(actor.head), _held(STILL), rng, steadiness=1.0)


def _still_in_hand(actor: Actor, _other: Actor, _steps: Steps, rng: np.random.Generator) -> Clip:
    """An unsteady hand: three times the motion of an ordinary one."""
    return present(sheet_of(actor.head), _held(STILL), rng, steadiness=-2.0)


def _still_repeated(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return edits.frozen(_still(actor, other, steps, rng), 0.0)


def _rotated(actor: Actor, _other: Actor, _steps: Steps, rng: np.random.Generator) -> Clip:
    angle = float(rng.uniform(15.0, 30.0))
    keys = _swung(Attitude(roll_deg=angle), Attitude(roll_deg=-angle))
    return present(sheet_of(actor.head), keys, rng)


def _tilted(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return present(sheet_of(actor.head), _tilting(steps, rng, holes=frozenset()), rng)


def _bent(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    """Turned as far as a head is: it has depth of its own."""
    keys = _without_face(script(steps, rng), frozenset())
    return present(sheet_of(actor.head, BENT_RADIUS), keys, rng)


def _cut_eyes(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return present(sheet_of(actor.head), _tilting(steps, rng, frozenset({Step.BLINK})), rng)


def _cut_mouth(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return present(sheet_of(actor.head), _tilting(steps, rng, frozenset({Step.MOUTH_OPEN})), rng)


def _puppet(actor: Actor, _other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return present(puppet_of(actor.head), _tilting(steps, rng, frozenset(Step)), rng)


def _scaled(actor: Actor, _other: Actor, _steps: Steps, rng: np.random.Generator) -> Clip:
    return present(sheet_of(actor.head), _held(STILL), rng, to_and_fro=float(rng.uniform(0.1, 0.2)))


def _frozen(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return edits.frozen(_performance(actor, other, steps, rng), FREEZES_AT)


def _loop(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    """The second step, the first, the second, the first: what was asked is in it, in order."""
    return edits.looped(_performance(actor, other, _reversed(steps), rng), 2)


def _splice(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    first, second = (_performance(each, each, steps, rng) for each in (actor, other))
    return edits.joined(first, second, 0.5)


def _splice_best_shot(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    """The other performs; the first and last frames, which look ahead, are of the actor."""
    clip = _performance(other, other, steps, rng)
    return edits.inserted(clip, _still_in_hand(actor, other, steps, rng), 3, 3)


def _right(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    clip = _performance(actor, other, steps, rng)
    return replayed(sheet_of(actor.head), clip, rng)


def _edited(edit: Callable[[Clip], Clip], *, from_reverse: bool = False) -> Maker:
    """A performance of what is asked, or of the reverse, edited."""

    def make(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
        done = _reversed(steps) if from_reverse else steps
        return edit(_performance(actor, other, done, rng))

    return make


def _reordered(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return edits.shuffled(_performance(actor, other, steps, rng), rng)


def _swapped(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
    return edits.swapped(_performance(actor, other, steps, rng), rng)


def _anew(maker: Maker) -> Maker:
    """What `maker` makes, each frame coded anew."""

    def make(actor: Actor, other: Actor, steps: Steps, rng: np.random.Generator) -> Clip:
        return edits.coded_anew(maker(actor, other, steps, rng), rng)

    return make


def _reversed(steps: Steps) -> Steps:
    first, second = steps
    return second, first


def _held(attitude: Attitude) -> tuple[Key, ...]:
    return Key(0.0, attitude), Key(SECONDS, attitude)


def _swung(one: Attitude, other: Attitude) -> tuple[Key, ...]:
    """From one side to the other and back to the middle."""
    quarter = SECONDS / 4
    return tuple(
        Key(quarter * number, each) for number, each in enumerate((STILL, one, STILL, other, STILL))
    )


def _tilting(steps: Steps, rng: np.random.Generator, holes: frozenset[Step]) -> tuple[Key, ...]:
    """The script of the challenge for a print: tilted further, alive only in its holes."""
    factor = float(rng.uniform(*TILT))
    return tuple(
        replace(key, attitude=tilted(key.attitude, factor))
        for key in _without_face(script(steps, rng), holes)
    )


def _without_face(keys: Sequence[Key], holes: frozenset[Step]) -> tuple[Key, ...]:
    """The keys, eyes and mouth still but where there are holes."""
    eyes, mouth = float(Step.BLINK in holes), float(Step.MOUTH_OPEN in holes)
    return tuple(
        replace(
            key,
            attitude=replace(
                key.attitude,
                eyes_shut=eyes * key.attitude.eyes_shut,
                mouth_open=mouth * key.attitude.mouth_open,
            ),
        )
        for key in keys
    )


_MAKERS: Mapping[Species, Maker] = MappingProxyType(
    {
        Species.PERFORMANCE: _performance,
        Species.STILL: _still,
        Species.STILL_IN_HAND: _still_in_hand,
        Species.STILL_REPEATED: _still_repeated,
        Species.PRINT_ROTATED: _rotated,
        Species.PRINT_SCALED: _scaled,
        Species.PRINT_TILTED: _tilted,
        Species.PRINT_BENT: _bent,
        Species.CUT_OUT_EYES: _cut_eyes,
        Species.CUT_OUT_MOUTH: _cut_mouth,
        Species.PUPPET: _puppet,
        Species.FROZEN: _frozen,
        Species.FROZEN_ANEW: _anew(_frozen),
        Species.LOOP: _loop,
        Species.LOOP_ANEW: _anew(_loop),
        Species.SPLICE: _splice,
        Species.SPLICE_BEST_SHOT: _splice_best_shot,
        Species.REORDERED: _reordered,
        Species.SWAPPED: _swapped,
        Species.TOO_FAST: _edited(lambda clip: edits.timed(clip, 1 / 6)),
        Species.TOO_SLOW: _edited(lambda clip: edits.timed(clip, 10.0)),
        Species.CLOCK_SET_BACK: _edited(edits.clock_set_back),
        Species.CLOCK_STOPPED: _edited(edits.clock_stopped),
        Species.RIGHT_CHALLENGE: _right,
        Species.BACKWARDS: _edited(edits.backwards, from_reverse=True),
        Species.HALVES_SWAPPED: _edited(edits.halves_swapped, from_reverse=True),
    }
)
