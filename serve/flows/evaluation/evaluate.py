"""Measure error rates on a user's own pairs of images.

Every distinct image is read, decoded and embedded once. It enrols when it yields a template of
the one face in it. Blur or bad light do not keep it out, because what a person is asked to
repeat is policy: such hints are only counted. No face, or several, does: whose template would
it be? One image serves at either end of a pair, so failures to acquire are not told apart from
failures to enrol. Pairs of a failed image are absent from FMR and FNMR, present in GFMR and
GFNMR.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.decision.error_rates import ErrorRates, Floats, Proportion, measure, proportion
from pipeline.errors import Code, Failure, PipelineError
from pipeline.evidence import FaceEvidence, Feedback, Missing, Template
from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from serve.flows.evaluation.pairs import Pair, read_image
from serve.ports import Comparator, Engine

BATCH_IMAGES = 16
WORST_PAIRS_MAX = 10
STAGES = ("images", "pairs")
PROGRESS_PAIRS = 1_000  # between two reports: one comparison takes microseconds

NOTE = (
    "Measured on these pairs at this threshold; not a claim of accuracy for other people, "
    "cameras or conditions. Intervals (95 %, Clopper-Pearson) treat pairs as independent; pairs "
    "that share a person or an image are not, and leave more doubt than the intervals show."
)

# Failures that are properties of the image. Any other one ends the evaluation: a device that
# failed or a pack that is broken must not pass for people who cannot be enrolled.
_IMAGE_CODES = {
    Code.NOT_AN_IMAGE,
    Code.IMAGE_UNSUPPORTED,
    Code.IMAGE_ANIMATED,
    Code.IMAGE_TOO_LARGE,
    Code.IMAGE_TOO_SMALL,
    Code.IMAGE_CORRUPT,
}


class Progress(Protocol):
    """Is told how far one of STAGES has come."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """`done` rises from 0 to `total`."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """The biometric system whose errors are counted; `image_bytes_max` is its limit on a file."""

    engine: Engine
    comparator: Comparator
    model_id: str
    image_bytes_max: int


@dataclass(frozen=True, slots=True)
class FailureToEnrol:
    """Images that gave no template, of all distinct ones; `by_reason` adds up to the errors."""

    images: Proportion
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Subset:
    """Error rates over some of the pairs; the counts are of pairs listed, compared or not."""

    genuine: int
    impostor: int
    rates: ErrorRates


@dataclass(frozen=True, slots=True)
class WorstPair:
    """A pair that speaks against the threshold. Worth a look: its label may be wrong."""

    line: int
    path_a: str
    path_b: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found; `feedback` counts hints on images that enrolled all the same.

    `identical_pairs` counts pairs of files with the same bytes under two names. They are in the
    rates, being listed, but test nothing: as genuine pairs they flatter the FNMR.
    """

    model_id: str
    threshold: float
    is_threshold_overridden: bool
    identical_pairs: int
    fte: FailureToEnrol
    feedback: Mapping[str, int]
    overall: Subset
    groups: Mapping[str, Subset]
    worst_genuine: tuple[WorstPair, ...]
    worst_impostor: tuple[WorstPair, ...]


def evaluate(
    pairs: Sequence[Pair],
    system: System,
    on_progress: Progress,
    *,
    threshold: float | None = None,
) -> Report:
    """Enrol every image once, compare every pair, count the errors.

    `threshold` is a similarity, in place of the system's own. Raises PairsError for an image
    that has gone since the pairs were read, `wrong_shape` for a threshold that is no similarity,
    and the code of any failure that is not the image's own.
    """
    bar = VERIFY_THRESHOLD_SIMILARITY if threshold is None else threshold
    if not 0.0 <= bar <= 1.0:  # NaN is refused too
        raise PipelineError(Code.WRONG_SHAPE, f"threshold {bar} is not between 0 and 1")
    enrolled = _enrol(pairs, system, on_progress)
    scored = _compare(pairs, enrolled.templates, system.comparator, on_progress)
    by_group: dict[str, list[_Scored]] = {}
    for item in scored:
        if item.pair.group is not None:
            by_group.setdefault(item.pair.group, []).append(item)
    return Report(
        model_id=system.model_id,
        threshold=bar,
        is_threshold_overridden=threshold is not None,
        identical_pairs=enrolled.count_identical(pairs),
        fte=enrolled.failures(),
        feedback=dict(enrolled.feedback.most_common()),
        overall=_measure(scored, bar),
        groups={group: _measure(items, bar) for group, items in sorted(by_group.items())},
        worst_genuine=_worst(scored, genuine=True),
        worst_impostor=_worst(scored, genuine=False),
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report as a JSON document; every number is finite or null."""
    images = report.fte.images
    return {
        "model_id": report.model_id,
        "threshold": report.threshold,
        "threshold_overridden": report.is_threshold_overridden,
        "fte": {
            "images": images.trials,
            "failed": images.errors,
            "rate": images.rate,
            "low": images.low,
            "high": images.high,
            "by_reason": dict(report.fte.by_reason),
        },
        "feedback": dict(report.feedback),
        "identical_pairs": report.identical_pairs,
        **_subset_json(report.overall),
        "groups": {group: _subset_json(subset) for group, subset in report.groups.items()},
        "worst": {
            "genuine": [asdict(pair) for pair in report.worst_genuine],
            "impostor": [asdict(pair) for pair in report.worst_impostor],
        },
        "note": NOTE,
    }


def _subset_json(subset: Subset) -> dict[str, Any]:
    rates = asdict(subset.rates)
    return {
        "pairs": subset.genuine + subset.impostor,
        "genuine": subset.genuine,
        "impostor": subset.impostor,
        **rates,
        "det": list(rates["det"]),
    }


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """Filled image by image: the templates, and what the others were refused for."""

    templates: dict[Path, Template] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    feedback: Counter[str] = field(default_factory=Counter)
    digests: dict[Path, bytes] = field(default_factory=dict)  # of every file that was embedded

    def failures(self) -> FailureToEnrol:
        """The failure to enrol over all images seen."""
        failed = self.refused.total()
        reasons = dict(self.refused.most_common())
        return FailureToEnrol(proportion(failed, len(self.templates) + failed), reasons)

    def count_identical(self, pairs: Iterable[Pair]) -> int:
        """How many pairs are of one picture saved twice."""
        return sum(
            pair.image_a in self.digests
            and self.digests[pair.image_a] == self.digests.get(pair.image_b)
            for pair in pairs
        )

    def admit(self, image: Path, result: FaceEvidence | Failure) -> None:
        """Keep the template, or count why there is none. Raises what is not the image's fault."""
        reason = _refusal(result)
        if reason is not None:
            self.refused[reason] += 1
        elif isinstance(result, FaceEvidence) and isinstance(result.template, Template):
            self.templates[image] = result.template
            self.feedback.update(hint for hint in result.feedback if hint is not Feedback.OK)


def _refusal(result: FaceEvidence | Failure) -> str | None:
    if isinstance(result, Failure):
        if result.code not in _IMAGE_CODES:
            raise PipelineError(result.code, result.detail)
        return result.code
    for hint in (Feedback.FACE_NOT_FOUND, Feedback.MULTI_FACE):
        if hint in result.feedback:
            return hint
    if result.template is Missing.NO_FACE:
        return Feedback.FACE_NOT_FOUND
    if isinstance(result.template, Missing):
        raise PipelineError(Code.PACK_MISSING, f"no templates are made: {result.template}")
    return None


def _enrol(pairs: Sequence[Pair], system: System, on_progress: Progress) -> _Enrolled:
    mentions: dict[Path, Pair] = {}  # the first of each distinct image
    for pair in pairs:
        mentions.setdefault(pair.image_a, pair)
        mentions.setdefault(pair.image_b, pair)
    images = list(mentions)
    enrolled = _Enrolled()
    for start in range(0, len(images), BATCH_IMAGES):
        on_progress("images", start, len(images))
        batch: dict[Path, bytes] = {}
        for image in images[start : start + BATCH_IMAGES]:
            content = read_image(mentions[image], image, system.image_bytes_max)
            if len(content) > system.image_bytes_max:
                enrolled.admit(image, Failure(Code.IMAGE_TOO_LARGE, "refused unread"))
            else:
                batch[image] = content
                enrolled.digests[image] = hashlib.sha256(content).digest()
        for image, result in zip(batch, system.engine.run(list(batch.values())), strict=True):
            enrolled.admit(image, result)
    on_progress("images", len(images), len(images))
    return enrolled


@dataclass(frozen=True, slots=True)
class _Scored:
    """A pair and its similarity; None where an image of it did not enrol."""

    pair: Pair
    similarity: float | None


def _compare(
    pairs: Sequence[Pair],
    templates: Mapping[Path, Template],
    comparator: Comparator,
    on_progress: Progress,
) -> list[_Scored]:
    scored: list[_Scored] = []
    for done, pair in enumerate(pairs):
        if done % PROGRESS_PAIRS == 0:
            on_progress("pairs", done, len(pairs))
        a, b = templates.get(pair.image_a), templates.get(pair.image_b)
        similarity = None if a is None or b is None else comparator.compare(a, b).similarity
        scored.append(_Scored(pair, similarity))
    on_progress("pairs", len(pairs), len(pairs))
    return scored


def _measure(scored: Iterable[_Scored], threshold: float) -> Subset:
    genuine: list[float | None] = []
    impostor: list[float | None] = []
    for item in scored:
        (genuine if item.pair.is_genuine else impostor).append(item.similarity)
    rates = measure(
        _made(genuine),
        _made(impostor),
        threshold,
        genuine_lost=genuine.count(None),
        impostor_lost=impostor.count(None),
    )
    return Subset(len(genuine), len(impostor), rates)


def _made(scores: Sequence[float | None]) -> Floats:
    return np.array([score for score in scores if score is not None], np.float64)


def _worst(scored: Iterable[_Scored], *, genuine: bool) -> tuple[WorstPair, ...]:
    """The genuine pairs least alike, or the impostors most alike; the earliest first of equals."""
    pairs = (
        WorstPair(item.pair.line, item.pair.path_a, item.pair.path_b, item.similarity)
        for item in scored
        if item.pair.is_genuine == genuine and item.similarity is not None
    )
    choose = heapq.nsmallest if genuine else heapq.nlargest
    return tuple(choose(WORST_PAIRS_MAX, pairs, key=lambda pair: pair.similarity))
