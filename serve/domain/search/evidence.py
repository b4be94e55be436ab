"""How many false matches a search is to be expected to show, by what the tenant's own searches saw.

Every enrolment is compared with everybody enrolled before: those pairs are of different people,
but for those that matched. A match that a reviewer dismissed was an error.
"""

from typing import NamedTuple

from pipeline.decision.error_rates import rare_errors_upper

PAIRS, ERRORS = "screening.pairs", "screening.errors"
"""What they are counted as, beside the tenant's overview and never in it."""
ERRORS_MIN = 10  # from so many on, the rate itself says something
ALERT_EXPECTED_MAX = 1.0


class ImpostorEvidence(NamedTuple):
    """Pairs of different people that were compared, and how many of them matched."""

    pairs: int = 0
    errors: int = 0


class ExpectedFalseMatches(NamedTuple):
    """In one search. `expected` is None where too few errors support a number, `upper_bound` (95 %)
    where nothing was compared yet.
    """

    expected: float | None
    upper_bound: float | None

    @property
    def may_alert(self) -> bool:
        """Whether a match is likelier to be true than one of chance: else it is a flag alone."""
        return self.upper_bound is not None and self.upper_bound <= ALERT_EXPECTED_MAX


NOTHING_KNOWN = ExpectedFalseMatches(None, None)


def expected_false_matches(gallery_size: int, evidence: ImpostorEvidence) -> ExpectedFalseMatches:
    """What a search among `gallery_size` faces shows by chance.

    The gallery's size times the errors' share of the pairs, if there were ten; and times the
    bound of that share: 3/n while there was none, else the exact one of Poisson.
    """
    pairs, errors = evidence
    if pairs <= 0:
        return NOTHING_KNOWN
    expected = gallery_size * errors / pairs if errors >= ERRORS_MIN else None
    at_most = 3.0 if errors == 0 else rare_errors_upper(errors)
    return ExpectedFalseMatches(expected, gallery_size * min(1.0, at_most / pairs))
