"""What a tenant's own sweep says of chance: how many strangers score so much, and the threshold at
which few enough do.

    FPIR(s)   the share of faces whose best stranger scores s or more: searches that show a wrong
              person, were these the probes
    FMR(s)    the share of pairs of strangers that score s or more; times the size of the gallery,
              how many wrong people one search shows

Both are counted, at the gallery's own size and on its own faces: rules of thumb that multiply an
error rate by a size miss how unlike people are in how alike they are.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from pipeline.decision.error_rates import Proportion, proportion
from serve.domain.document import UNBOUNDED, Document
from serve.domain.ids import Mode
from serve.domain.search.evidence import (
    NOTHING_KNOWN,
    ExpectedFalseMatches,
    ImpostorEvidence,
    expected_false_matches,
)
from serve.domain.sweeps.mates import (
    NEVER,
    Marks,
    best_scores,
    is_tied,
    presumed,
    telling_signals,
)
from serve.domain.sweeps.sweep import FacePair, Sweep

VALID_GROWTH = 1 / 0.9  # a threshold holds until the gallery that it was found on is 90 % of all
FACES_MAX = 10**9
BINS = 4_096  # of native scores from -1 to 1: the bin of s is floor((s + 1) / 2 * BINS), at most


class Calibration(Document):
    """What one sweep showed of pairs of different people, for one world and model.

    `impostors` maps a bin of native scores to how many pairs scored in it, for all bins from
    `complete_from` on; `pairs` is how many were compared in all, pairs of one person (confirmed,
    or presumed: see `presumed`) taken off. `erring` maps a bin to how many faces have their
    best score with a stranger in it, `probes` is how many faces there are. `unreviewed` counts
    pairs at or above the pack's threshold among `impostors` that no reviewer has looked at.
    """

    model_config = UNBOUNDED

    tenant_id: str
    mode: Mode
    model_id: str
    sweep_id: str
    gallery_size: int
    probes: int
    pairs: int
    complete_from: float
    impostors: dict[int, int] = Field(default_factory=dict)
    erring: dict[int, int] = Field(default_factory=dict)
    company_from: float = NEVER
    """The score from which on three who are like each other are presumed one person."""
    rings_from: float = NEVER
    """And from which on they are a ring for a reviewer, which in a small gallery is lower."""
    rings_left: int = 0
    """Pairs of persons, as those rings make them, who are that alike and in no ring together."""
    confirmed: int = 0
    """Pairs taken off because a reviewer confirmed them."""
    presumed: int = 0
    """Pairs taken off because a third face, or a second signal, ties both."""
    unreviewed: int = 0
    made_at_ms: int

    @property
    def expires_at_size(self) -> int:
        """The number of faces from which on it holds no more."""
        return int(self.gallery_size * VALID_GROWTH) + 1

    def holds_for(self, model_id: str, gallery_size: int) -> bool:
        """Whether it says anything of a gallery of this model and size: one that has grown by no
        more than a ninth. A smaller one errs less.
        """
        return model_id == self.model_id and gallery_size < self.expires_at_size

    def impostors_from(self, score: float) -> int:
        """Pairs of strangers that score in the bin of `score` or above: all, and no fewer, from
        `complete_from` on.
        """
        return _count_from(self.impostors, score)

    def fpir(self, score: float) -> Proportion:
        """The share of faces whose best stranger scores so much, from `complete_from` on: the
        interval is of half as many independent ones.
        """
        return _share(_count_from(self.erring, score), self.probes)


class CalibratedThreshold(Document):
    """The lowest native `threshold` at which at most `target_fpir` of searches show a wrong person,
    with 95 % confidence; `fpir` of them did, `low` to `high` is the interval.

    `errors` faces of `probes` have a stranger so alike. It holds until the gallery has
    `expires_at_size` faces.
    """

    target_fpir: float
    threshold: float
    fpir: float
    low: float
    high: float
    errors: int
    probes: int
    expires_at_size: int


def threshold_for(
    calibration: Calibration, target_fpir: float, floor: float
) -> CalibratedThreshold | None:
    """The threshold for this share of searches that show a wrong person, `floor` or more; None
    where there is not enough evidence for any.

    It is the lowest one whose upper bound is the target: errors only fall as scores rise, so
    it errs to the wrong side no oftener than the bound of one score does, in 2.5 % of samples.
    """
    low = max(floor, calibration.complete_from)
    errors_max = _errors_max(calibration.probes, target_fpir)
    if errors_max is None:
        return None
    errors = 0
    for place in sorted(calibration.erring, reverse=True):
        errors += calibration.erring[place]
        if place < bin_of(low):
            break
        if errors > errors_max:
            is_over = place == BINS - 1  # what errs there is as alike as can be
            return None if is_over else _threshold(calibration, edge_of(place + 1), target_fpir)
    return _threshold(calibration, low, target_fpir)


def faces_needed(target_fpir: float) -> int:
    """How many faces a gallery has, at least, that can show so rare an error by showing none."""
    sizes = range(FACES_MAX)
    return bisect_left(sizes, -target_fpir, key=lambda faces: -_share(0, faces).high)


def expected(calibration: Calibration, score: float, gallery_size: int) -> ExpectedFalseMatches:
    """How many strangers that score so much a search among `gallery_size` faces shows: nothing
    is known below `complete_from`.
    """
    if score < calibration.complete_from:
        return NOTHING_KNOWN
    evidence = ImpostorEvidence(calibration.pairs, calibration.impostors_from(score))
    return expected_false_matches(gallery_size, evidence)


def calibrated(
    sweep: Sweep, pairs: Iterable[FacePair], marks: Marks, now_ms: int, match_min: float
) -> Calibration:
    """What `pairs` say, all there are from the sweep's `complete_from` on and any below.

    `match_min` is the pack's threshold, a native score. The sweep compared everybody with
    everybody: for one that goes on from another, `sweep` and `pairs` are those of both. A second
    signal that two share counts where their faces match as well, unless many share it. Takes
    seconds for a million pairs.
    """
    known = [pair for pair in pairs if pair.score >= sweep.complete_from]
    mates = presumed(
        best_scores((pair.customers, pair.score) for pair in known),
        marks,
        sweep.customers or sweep.faces,
        match_min,
    )
    person, telling = mates.persons, telling_signals(marks)
    confirmed = tied = unreviewed = 0
    impostors: Counter[int] = Counter()
    best: dict[str, float] = {}
    for pair in known:
        both = pair.customers
        one, other = both
        if both not in marks.apart:
            if both in marks.confirmed:
                confirmed += 1
                continue
            is_one = one in person and person[one] == person.get(other)
            if is_one or (pair.score >= match_min and is_tied(one, other, telling)):
                tied += 1
                continue
            unreviewed += pair.score >= match_min
        impostors[bin_of(pair.score)] += 1
        for face in (pair.face_a, pair.face_b):
            best[face] = max(pair.score, best.get(face, pair.score))
    return Calibration(
        tenant_id=sweep.tenant_id,
        mode=sweep.mode,
        model_id=sweep.model_id,
        sweep_id=sweep.id,
        gallery_size=sweep.faces,
        probes=sweep.faces,
        pairs=max(0, sweep.compared - confirmed - tied),
        complete_from=sweep.complete_from,
        impostors=dict(impostors),
        erring=dict(Counter(map(bin_of, best.values()))),
        company_from=mates.since,
        rings_from=mates.rings_since,
        rings_left=mates.rings_left,
        confirmed=confirmed,
        presumed=tied,
        unreviewed=unreviewed,
        made_at_ms=now_ms,
    )


def bin_of(score: float) -> int:
    """The bin of a native score. A score on an edge is in the bin above, as `>=` has it."""
    return min(max(int((score + 1) / 2 * BINS), 0), BINS - 1)


def edge_of(place: int) -> float:
    """The least score of a bin."""
    return place * 2 / BINS - 1


def _errors_max(probes: int, target_fpir: float) -> int | None:
    """How many faces may err, at most, and leave no doubt that few enough do; None where even none
    would be too little to say so.
    """
    counts = range(probes + 1)
    found = bisect_right(counts, target_fpir, key=lambda errors: _share(errors, probes).high)
    return found - 1 if found else None


def _threshold(
    calibration: Calibration, threshold: float, target_fpir: float
) -> CalibratedThreshold:
    errors = _count_from(calibration.erring, threshold)
    share = _share(errors, calibration.probes)
    return CalibratedThreshold(
        target_fpir=target_fpir,
        threshold=threshold,
        fpir=errors / calibration.probes,
        low=share.low,
        high=share.high,
        errors=errors,
        probes=calibration.probes,
        expires_at_size=calibration.expires_at_size,
    )


def _share(errors: int, probes: int) -> Proportion:
    """Each pair of strangers makes both err: half the faces are trials, half of the erring
    errors.
    """
    trials = probes // 2
    return proportion(min((errors + 1) // 2, trials), trials)


def _count_from(counts: dict[int, int], score: float) -> int:
    lowest = bin_of(score)
    return sum(count for place, count in counts.items() if place >= lowest)
