"""Error rates of the suite in the words of ISO/IEC 30107-3: counts, rates, intervals.

    APCER  attack presentations of one species that pass / those presented
    BPCER  bona fide presentations that do not pass / those presented; here all bona fides are
           rendered, and the rate says nothing about people before cameras

What could not be judged at all did not pass. Intervals are exact (Clopper-Pearson) for independent
trials; presentations here share photos and performances, so the truth is less certain.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pipeline.decision.error_rates import Proportion, proportion
from pipeline.liveness.judgement import Judgement
from serve.bench.goals import Goal
from serve.bench.liveness.species import WITH_DEPTH, Class, Species, Steps

BPCER_MAX = 0.05  # of rendered performances
LIVENESS = "liveness"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one presentation."""

    species: Species
    person: str = field(repr=False)
    steps: Steps
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Tally:
    """All presentations of one species."""

    species: Species
    scores: tuple[float, ...]
    passed: int
    unjudged: int
    doubts: tuple[tuple[str, int], ...]  # the most frequent first

    @property
    def presented(self) -> int:
        """How many there were."""
        return len(self.scores)

    @property
    def error(self) -> Proportion:
        """BPCER of rendered performances; of all others the share that passed, APCER of attacks."""
        is_bona_fide = self.species.kind is Class.BONA_FIDE
        errors = self.presented - self.passed if is_bona_fide else self.passed
        return proportion(errors, self.presented)

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        error = self.error
        return {
            "species": self.species,
            "what": self.species.text,
            "class": self.species.kind,
            "presented": self.presented,
            "passed": self.passed,
            "not_judged": self.unjudged,
            RATES[self.species.kind]: None if error.rate is None else round(error.rate, 4),
            "interval_95": [round(error.low, 4), round(error.high, 4)],
            "median_score": round(median(self.scores), 4) if self.scores else None,
            "highest_score": round(max(self.scores), 4) if self.scores else None,
            "doubts": dict(self.doubts),
        }


RATES = {Class.BONA_FIDE: "bpcer_of_rendered", Class.ATTACK: "apcer", Class.RECORDING: "passing"}


def tallies(outcomes: Sequence[Outcome]) -> list[Tally]:
    """One for each species that was presented, in the order of the enum."""
    found = []
    for species in Species:
        judged = [each.judgement for each in outcomes if each.species is species]
        if judged:
            doubts = Counter(doubt.value for each in judged for doubt in each.doubts)
            found.append(
                Tally(
                    species,
                    tuple(each.score for each in judged),
                    sum(each.is_passed for each in judged),
                    sum(not each.is_judged for each in judged),
                    tuple(doubts.most_common()),
                )
            )
    return found


def goals(found: Sequence[Tally]) -> list[Goal]:
    """No attack passes of any species without depth; nearly all rendered performances do."""
    wanted = []
    attacks = [
        each
        for each in found
        if each.species.kind is Class.ATTACK and each.species not in WITH_DEPTH
    ]
    if attacks:
        passing = sum(each.passed > 0 for each in attacks)
        name, shown = "species of flat or edited attack that ever passed", f"{len(attacks)} species"
        wanted.append(Goal(name, LIVENESS, shown, 0.0, (float(passing),), is_ceiling=True))
    for each in found:
        if each.species.kind is Class.BONA_FIDE:
            rate, shown = each.error.rate or 0.0, f"{each.presented} presented"
            name = "BPCER of rendered bona fides"
            wanted.append(Goal(name, LIVENESS, shown, BPCER_MAX, (rate,), is_ceiling=True))
    return wanted
