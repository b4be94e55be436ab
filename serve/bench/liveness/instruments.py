"""What each species of the suite puts before us, made of photos and of chance that is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from types import MappingProxyType

import numpy as np

from pipeline.liveness.challenge import DRAWS, Step
from pipeline.render.camera import Camera
from pipeline.render.draw import STILL, Attitude, draw_head
from pipeline.render.perform import Clip, frame_times, perform, shot
from pipeline.render.script import Key, attitude_at, script
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
from serve.bench.liveness.species import RENDERED, Species, Steps, draws_for

SECONDS = 4.5  # of a presentation that follows no challenge
TILT = (1.3, 2.3)  # how much further than a head a print is tilted to look turned
BEND_TILT = (1.0, 2.3)  # the same of a bent print, which has some depth of its own
NEAR = (0.35, 1.0)  # how far from the camera a tilted print is held, over a head's distance
FREEZES_AT = 0.45  # of a recording, shortly after its first step
_NO_HOLES = frozenset[Step]()
_CUT_S = 0.001  # from one photo to the next
_OTHER_SIDE = {Step.TURN_LEFT: Step.TURN_RIGHT, Step.TURN_RIGHT: Step.TURN_LEFT}


@dataclass(frozen=True, slots=True)
class Presentation:
    """A clip, what was asked of it, and what it is."""

    species: Species
    person: str = field(repr=False)
    steps: Steps
    clip: Clip


class Takes:
    """The performances of a cast, each rendered once. Threads may share it; two that ask for the
    same at once may both render it, and get the same.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._clips: dict[tuple[str, Steps], Clip] = {}

    def __call__(self, actor: Actor, steps: Steps) -> Clip:
        """The actor doing `steps`; the chance in it comes of the seed and of these two alone."""
        wanted = (actor.name, steps)
        if wanted not in self._clips:
            chance = (self._seed, DRAWS.index(steps), *actor.name.encode())
            self._clips[wanted] = perform(actor.head, steps, np.random.default_rng(chance))
        return self._clips[wanted]


@dataclass(frozen=True, slots=True)
class Part:
    """What a presentation is made of: a person, another one, what is asked, performances."""

    actor: Actor
    other: Actor
    steps: Steps
    rng: np.random.Generator
    take: Takes

    def taken(self) -> Clip:
        """The performance of what is asked."""
        return self.take(self.actor, self.steps)

    def reverse(self) -> Clip:
        """The performance of the same two steps in the other order."""
        first, second = self.steps
        return self.take(self.actor, (second, first))


Maker = Callable[[Part], Clip]


def presentations(
    species: Species,
    cast: Sequence[Actor],
    per_actor: int,
    seed: int,
    take: Takes | None = None,
) -> Iterator[Callable[[], Presentation]]:
    """What makes each presentation of a species: `per_actor` of each actor, draws by turns,
    none twice.

    Each has chance of its own, by `seed` and its place, so they can be made in any order, and by
    threads. `WRONG_CHALLENGE` has none: its clips are the performances of other challenges.
    """
    draws, kind = draws_for(species), list(Species).index(species)
    takes, turns = take or Takes(seed), min(per_actor, len(draws))
    # Different draws for what is rendered anyway; the same ones for what shares performances.
    first = 5 * kind if species in RENDERED else 0
    for number, actor in enumerate(cast):
        other = cast[(number + 1) % len(cast)]
        for turn in range(turns):
            steps = draws[(first + number * turns + turn) % len(draws)]
            yield _Making(species, actor, other, steps, (seed, kind, number, turn), takes)


@dataclass(frozen=True, slots=True)
class _Making:
    species: Species
    actor: Actor
    other: Actor
    steps: Steps
    chance: tuple[int, ...]
    take: Takes

    def __call__(self) -> Presentation:
        rng = np.random.default_rng(self.chance)
        part = Part(self.actor, self.other, self.steps, rng, self.take)
        return Presentation(self.species, self.actor.name, self.steps, _MAKERS[self.species](part))


def _still(part: Part) -> Clip:
    return present(sheet_of(part.actor.head), _held(STILL), part.rng, steadiness=1.0)


def _still_in_hand(part: Part) -> Clip:
    """An unsteady hand: three times the motion of an ordinary one."""
    return present(sheet_of(part.actor.head), _held(STILL), part.rng, steadiness=-2.0)


def _still_repeated(part: Part) -> Clip:
    return edits.frozen(part.taken(), 0.0)


def _rotated(part: Part) -> Clip:
    angle = float(part.rng.uniform(15.0, 30.0))
    keys = _swung(Attitude(roll_deg=angle), Attitude(roll_deg=-angle))
    return present(sheet_of(part.actor.head), keys, part.rng)


def _scaled(part: Part) -> Clip:
    sheet, share = sheet_of(part.actor.head), float(part.rng.uniform(0.1, 0.2))
    return present(sheet, _held(STILL), part.rng, to_and_fro=share)


def _print(holes: frozenset[Step]) -> Maker:
    """A print tilted as the challenge asks, with something alive in its holes."""

    def make(part: Part) -> Clip:
        near = float(part.rng.uniform(*NEAR))
        sheet = sheet_of(part.actor.head, near=near)
        return present(sheet, _tilting(part, holes), part.rng)

    return make


def _bent(part: Part) -> Clip:
    near = float(part.rng.uniform(*NEAR))
    sheet = sheet_of(part.actor.head, BENT_RADIUS, near)
    return present(sheet, _tilting(part, _NO_HOLES, BEND_TILT), part.rng)


def _puppet(part: Part) -> Clip:
    near = float(part.rng.uniform(*NEAR))
    return present(puppet_of(part.actor.head, near), _tilting(part, frozenset(Step)), part.rng)


def _frozen(part: Part) -> Clip:
    return edits.frozen(part.taken(), FREEZES_AT)


def _loop(part: Part) -> Clip:
    """The second step, the first, the second, the first: what was asked is in it, in order."""
    return edits.looped(part.reverse(), 2)


def _splice(part: Part) -> Clip:
    return edits.joined(part.taken(), part.take(part.other, part.steps), 0.5)


def _splice_best_shot(part: Part) -> Clip:
    """The other performs; the first and last frames, which look ahead, are of the actor."""
    return edits.inserted(part.take(part.other, part.steps), part.taken(), 3, 3)


def _right(part: Part) -> Clip:
    return replayed(sheet_of(part.actor.head), part.taken(), part.rng)


def _mirrored(part: Part) -> Clip:
    first, second = (_OTHER_SIDE.get(step, step) for step in part.steps)
    return edits.mirrored(part.take(part.actor, (first, second)), part.rng)


def _steps_joined(part: Part) -> Clip:
    """Who has a recording of each step shows them in whatever order is drawn."""
    first, second = (perform(part.actor.head, (step,), part.rng) for step in part.steps)
    return edits.appended(first, second)


def _slides(part: Part) -> Clip:
    """Photos of the head as each step has it at its most, and as it looks ahead."""
    keys = script(part.steps, part.rng)
    ends = (replace(key, at_s=after.at_s - _CUT_S) for key, after in pairwise(keys))
    held = (*chain.from_iterable(zip(keys, ends, strict=False)), keys[-1])
    times_s = frame_times(keys[-1].at_s, part.rng)
    photos = (draw_head(part.actor.head, attitude_at(held, each)) for each in times_s)
    shown = shot(photos, times_s, Camera.held(part.rng, steadiness=1.0))
    return replayed(sheet_of(part.actor.head), shown, part.rng)


def _anew(maker: Maker) -> Maker:
    """What `maker` makes, each frame coded anew."""
    return lambda part: edits.coded_anew(maker(part), part.rng)


def _held(attitude: Attitude) -> tuple[Key, ...]:
    return Key(0.0, attitude), Key(SECONDS, attitude)


def _swung(one: Attitude, other: Attitude) -> tuple[Key, ...]:
    """From one side to the other and back to the middle."""
    quarter = SECONDS / 4
    return tuple(
        Key(quarter * number, each) for number, each in enumerate((STILL, one, STILL, other, STILL))
    )


def _tilting(
    part: Part, holes: frozenset[Step], tilt: tuple[float, float] = TILT
) -> tuple[Key, ...]:
    """The script of the challenge for a print: tilted further, alive only in its holes."""
    factor = float(part.rng.uniform(*tilt))
    return tuple(
        replace(key, attitude=tilted(key.attitude, factor))
        for key in _without_face(script(part.steps, part.rng), holes)
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
        Species.PERFORMANCE: Part.taken,
        Species.STILL: _still,
        Species.STILL_IN_HAND: _still_in_hand,
        Species.STILL_REPEATED: _still_repeated,
        Species.PRINT_ROTATED: _rotated,
        Species.PRINT_SCALED: _scaled,
        Species.PRINT_TILTED: _print(_NO_HOLES),
        Species.PRINT_BENT: _bent,
        Species.CUT_OUT_EYES: _print(frozenset({Step.BLINK})),
        Species.CUT_OUT_MOUTH: _print(frozenset({Step.MOUTH_OPEN})),
        Species.PUPPET: _puppet,
        Species.FROZEN: _frozen,
        Species.FROZEN_ANEW: _anew(_frozen),
        Species.LOOP: _loop,
        Species.LOOP_ANEW: _anew(_loop),
        Species.SPLICE: _splice,
        Species.SPLICE_BEST_SHOT: _splice_best_shot,
        Species.REORDERED: lambda part: edits.shuffled(part.taken(), part.rng),
        Species.SWAPPED: lambda part: edits.swapped(part.taken(), part.rng),
        Species.TOO_FAST: lambda part: edits.timed(part.taken(), 1 / 6),
        Species.TOO_SLOW: lambda part: edits.timed(part.taken(), 10.0),
        Species.CLOCK_SET_BACK: lambda part: edits.clock_set_back(part.taken()),
        Species.CLOCK_STOPPED: lambda part: edits.clock_stopped(part.taken()),
        Species.RIGHT_CHALLENGE: _right,
        Species.BACKWARDS: lambda part: edits.backwards(part.reverse()),
        Species.HALVES_SWAPPED: lambda part: edits.halves_swapped(part.reverse()),
        Species.MIRRORED: _mirrored,
        Species.STEPS_JOINED: _steps_joined,
        Species.SLIDES: _slides,
    }
)
