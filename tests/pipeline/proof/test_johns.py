"""Five men, eleven photos each: the whole chain scores like the original.

A parity set, not an accuracy claim: 55 photos of five celebrities say that the conversion, the
alignment and the score map are right, and nothing about the people a deployment will meet.
"""

from itertools import combinations

import pytest

from pipeline.decision.error_rates import Proportion, proportion
from pipeline.evidence import FaceEvidence, Template
from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from pipeline.models.load import LoadedPack

pytestmark = [pytest.mark.models, pytest.mark.shared]

FMR_MAX, FNMR_MAX = 0.0025, 0.02  # at the 1:1 threshold


@pytest.fixture(scope="module")
def enrolled(pack: LoadedPack, johns: list[tuple[str, bytes]]) -> list[tuple[str, Template | None]]:
    """Person and template of every photo; None where no template could be made."""
    found = pack.faces.run([data for _, data in johns])
    return [
        (person, outcome.template)
        if isinstance(outcome, FaceEvidence) and isinstance(outcome.template, Template)
        else (person, None)
        for (person, _), outcome in zip(johns, found, strict=True)
    ]


def similarities(
    pack: LoadedPack, enrolled: list[tuple[str, Template | None]], *, same: bool
) -> list[float]:
    """Mapped scores of all genuine or all impostor pairs."""
    return [
        pack.scale.compare(first, second).similarity
        for (person, first), (other, second) in combinations(enrolled, 2)
        if first is not None and second is not None and (person == other) is same
    ]


def stated(name: str, found: Proportion) -> str:
    """A rate with its count and 95 % interval, in words."""
    rate = "no trials" if found.rate is None else f"{found.rate:.4%}"
    return f"{name}: {found.errors}/{found.trials} = {rate} [{found.low:.4%}, {found.high:.4%}]"


def test_false_matches_and_non_matches(
    pack: LoadedPack, enrolled: list[tuple[str, Template | None]]
) -> None:
    """At similarity 0.36, at most 0.25 % of impostor pairs match and 2 % of genuine ones do not."""
    impostor = similarities(pack, enrolled, same=False)
    genuine = similarities(pack, enrolled, same=True)
    assert (len(genuine), len(impostor)) == (275, 1210)
    fmr = proportion(sum(s >= VERIFY_THRESHOLD_SIMILARITY for s in impostor), len(impostor))
    fnmr = proportion(sum(s < VERIFY_THRESHOLD_SIMILARITY for s in genuine), len(genuine))
    print(stated("FMR", fmr), stated("FNMR", fnmr), sep="\n")
    assert fmr.rate is not None
    assert fmr.rate <= FMR_MAX
    assert fnmr.rate is not None
    assert fnmr.rate <= FNMR_MAX
    # Counts this small must not be read as rates: the intervals say how little is known.
    assert fmr.high > fmr.rate
    assert fnmr.high > fnmr.rate


def test_nobody_fails_to_enrol(enrolled: list[tuple[str, Template | None]]) -> None:
    """A template is made of every one of the 55 photos: failure to enrol is 0 of 55."""
    failures = [person for person, template in enrolled if template is None]
    print(stated("FTE", proportion(len(failures), len(enrolled))))
    assert len(enrolled) == 55
    assert failures == []


def test_the_native_threshold_is_not_a_unit_distance(
    pack: LoadedPack, enrolled: list[tuple[str, Template | None]]
) -> None:
    """The mistake the score map exists to prevent: dlib's 0.6 on unit vectors accepts strangers."""
    cosine_of_unit_distance = 1 - 0.6**2 / 2
    natives = [
        pack.scale.native(similarity) for similarity in similarities(pack, enrolled, same=False)
    ]
    assert sum(native >= cosine_of_unit_distance for native in natives) / len(natives) > 0.2
