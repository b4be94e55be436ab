"""The whole suite: every species presented, by some threads, and judged."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from pipeline.liveness.challenge import DRAWS
from serve.bench.liveness.assess import Examiner
from serve.bench.liveness.cast import Actor
from serve.bench.liveness.figures import Outcome
from serve.bench.liveness.instruments import Presentation, Takes, presentations
from serve.bench.liveness.species import Species

Work = Callable[[], list[Outcome]]
WRONG_ACTORS = 2
Tell = Callable[[int, int], None]  # done, and of how many


@dataclass(frozen=True, slots=True)
class Suite:
    """Who is shown and how often: each actor performs `performances` draws, and each species of
    attack shows each on `per_actor` of those it fits.
    """

    cast: Sequence[Actor] = field(repr=False)
    performances: int
    per_actor: int
    seed: int
    threads: int


def run_suite(suite: Suite, examiner: Examiner, tell: Tell) -> list[Outcome]:
    """What came of every presentation.

    Each performance of the first `WRONG_ACTORS` is also held against all other draws: it is a
    recording of the wrong one.
    """
    cast, seed, take = suite.cast, suite.seed, Takes(suite.seed)
    performed = [
        partial(_performed, examiner, make, is_held=number < WRONG_ACTORS * suite.performances)
        for number, make in enumerate(
            presentations(Species.PERFORMANCE, cast, suite.performances, seed, take)
        )
    ]
    attacks = [
        partial(_presented, examiner, make)
        for species in Species
        if species not in {Species.PERFORMANCE, Species.WRONG_CHALLENGE}
        for make in presentations(species, cast, suite.per_actor, seed, take)
    ]
    return list(_all_done([*performed, *attacks], suite.threads, tell))


def _all_done(works: Sequence[Work], threads: int, tell: Tell) -> Iterator[Outcome]:
    with ThreadPoolExecutor(threads) as pool:
        for done, outcomes in enumerate(pool.map(lambda work: work(), works), start=1):
            tell(done, len(works))
            yield from outcomes


def _presented(examiner: Examiner, make: Callable[[], Presentation]) -> list[Outcome]:
    shown = make()
    judgement = examiner.judge(shown.steps, examiner.watch(shown.clip))
    return [Outcome(shown.species, shown.person, shown.steps, judgement)]


def _performed(
    examiner: Examiner, make: Callable[[], Presentation], *, is_held: bool
) -> list[Outcome]:
    """A performance before its own challenge, and before every other one where it is held so."""
    shown = make()
    watched = examiner.watch(shown.clip)
    return [
        Outcome(
            Species.PERFORMANCE if asked == shown.steps else Species.WRONG_CHALLENGE,
            shown.person,
            asked,
            examiner.judge(asked, watched),
        )
        for asked in (sorted(DRAWS, key=shown.steps.__ne__) if is_held else [shown.steps])
    ]
