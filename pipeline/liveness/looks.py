"""What the looks at key frames say: one person all along, and alive in each."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement

from pipeline.evidence import Missing, PassiveLiveness, Template
from pipeline.liveness.bars import Bars
from pipeline.liveness.findings import Finding
from pipeline.liveness.judgement import SCORE_MIN, Doubt, Look
from pipeline.liveness.signals import Signal

Compare = Callable[[Template, Template], bool]


def same_person(
    wanted: Sequence[int], looks: Mapping[int, Look], compare: Compare, bars: Bars
) -> Finding:
    """Every key frame is of the person of every other; one without a template matches nothing."""
    templates = [_template(looks.get(number)) for number in wanted]
    pairs = list(combinations_with_replacement(templates, 2))
    alike = sum(
        one is not None and other is not None and (one is other or compare(one, other))
        for one, other in pairs
    )
    share = alike / len(pairs)
    return Finding(
        Doubt.IDENTITY_CHANGED, bars.identity.score(share), {Signal.IDENTITY_SHARE: share}
    )


def is_alive(
    wanted: Sequence[int], looks: Mapping[int, Look]
) -> tuple[Finding, PassiveLiveness | Missing]:
    """Passive attack detection over the key frames, and the one outcome it comes to.

    That outcome is halfway between the worst frame and the mean of all, at the model's own
    threshold: one bad frame of many is not an attack, several are. Where no frame was looked at
    there is none; a frame that was passed over while others were not counts as the worst.
    """
    found = [looks[number].passive_liveness for number in wanted if number in looks]
    known = [each for each in found if not isinstance(each, Missing)]
    if not known:
        missing = next((each for each in found if isinstance(each, Missing)), Missing.NOT_REQUESTED)
        return Finding(Doubt.ATTACK_DETECTED, 1.0), missing
    scores = [each.score for each in known] + [0.0] * (len(wanted) - len(known))
    worst, mean = min(scores), sum(scores) / len(scores)
    joined = PassiveLiveness((worst + mean) / 2.0, known[0].threshold)
    signals = {Signal.PASSIVE_WORST: worst, Signal.PASSIVE_MEAN: mean}
    return Finding(Doubt.ATTACK_DETECTED, _scaled(joined), signals), joined


def _template(look: Look | None) -> Template | None:
    if look is None or isinstance(look.template, Missing):
        return None
    return look.template


def _scaled(joined: PassiveLiveness) -> float:
    """The score on the scale of a clip: the model's threshold becomes a half. NaN is 0."""
    threshold = joined.threshold
    if not joined.is_bona_fide:
        share = joined.score / threshold if threshold > 0.0 else 0.0
        return min(SCORE_MIN * share, 0.49) if share > 0.0 else 0.0
    return SCORE_MIN + (1.0 - SCORE_MIN) * (joined.score - threshold) / max(1.0 - threshold, 1e-9)
