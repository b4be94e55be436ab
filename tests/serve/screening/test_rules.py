"""What a search comes to, as a table: status, flags, alerts, and what is owed to the others."""

from itertools import product

import pytest

from pipeline.decision.policy import DuplicatePolicy
from pipeline.decision.reasons import Reason
from serve.domain.alert import AlertType
from serve.domain.change import Change
from serve.domain.customer import Customer, Flagged
from serve.domain.ids import Mode, Prefix, Subject
from serve.domain.search.duplicate import FLAGS_KEPT, FLAGS_PER_SCREENING_MAX
from serve.domain.search.evidence import ExpectedFalseMatches
from serve.domain.search.findings import STANDINGS, About, Look, Match, ending, with_findings
from serve.domain.search.gallery import Standing
from serve.domain.search.pairs import (
    count_flagged,
    flags_of_pairs,
    with_different,
    with_flagged_by,
    without_flags,
)
from serve.domain.verifications.verification import (
    Verification,
    VerificationKind,
    VerificationStatus,
)
from tests.helpers.records import NOW_MS, TENANT, a_customer, an_id

APPROVED, HELD, REFUSED = (
    VerificationStatus.APPROVED,
    VerificationStatus.NEEDS_REVIEW,
    VerificationStatus.REJECTED,
)
FLAG, REVIEW, DECLINE = DuplicatePolicy
SURE, UNSURE = ExpectedFalseMatches(None, 1.0), ExpectedFalseMatches(None, 1.01)


def other(number: int) -> Subject:
    return Subject(TENANT, Mode.LIVE, f"{number:032x}")


def match(number: int, similarity: float = 0.5, **known: object) -> Match:
    face_id = an_id(Prefix.FACE, other(number).partition, number)
    return Match(other(number), face_id, similarity, **known)  # type: ignore[arg-type]


VERIFICATION = Verification(
    id=an_id(Prefix.VERIFICATION, 0),
    tenant_id=TENANT,
    mode=Mode.LIVE,
    kind=VerificationKind.ENROLMENT,
    customer_id="alice",
    reference="alice",
    status=VerificationStatus.PROCESSING,
    created_at_ms=NOW_MS,
    updated_at_ms=NOW_MS,
)
ABOUT = About(
    subject=other(0),
    screening_id=an_id(Prefix.SCREENING, 0),
    flag_ids=tuple(an_id(Prefix.FLAG, 0, n) for n in range(FLAGS_PER_SCREENING_MAX)),
    alert_ids=("alr_1", "alr_2"),
    is_owed=True,
)


def found(look: Look, customer: Customer | None = None) -> Change:
    change = Change(customer or a_customer())
    return with_findings(change, look, ABOUT, VERIFICATION, NOW_MS)


@pytest.mark.parametrize(
    ("look", "by_policy", "reasons"),
    [
        (Look(), {}, ()),
        (Look(matches=(match(1),)), {REVIEW: HELD, DECLINE: REFUSED}, (Reason.DUPLICATE_FACE,)),
        (Look(is_blocked=True), dict.fromkeys(DuplicatePolicy, HELD), (Reason.BLOCKLISTED,)),
        (
            Look(is_complete=False),
            dict.fromkeys(DuplicatePolicy, HELD),
            (Reason.SERVICE_UNAVAILABLE,),
        ),
        (
            Look(matches=(match(1),), is_complete=False),
            dict.fromkeys(DuplicatePolicy, HELD),
            (Reason.SERVICE_UNAVAILABLE, Reason.DUPLICATE_FACE),
        ),
    ],
)
def test_an_enrolment_ends_as_the_table_says(
    look: Look, by_policy: dict[DuplicatePolicy, VerificationStatus], reasons: tuple[Reason, ...]
) -> None:
    """Approved unless something speaks against it; blocked or unsearched goes to a reviewer."""
    for policy in DuplicatePolicy:
        status, said = ending(look, policy)
        assert status is by_policy.get(policy, APPROVED)
        silent = {Reason.DUPLICATE_FACE} if policy is FLAG else set()
        assert said == tuple(reason for reason in reasons if reason not in silent)


def test_only_what_is_approved_may_be_compared_with() -> None:
    """No ending other than approval lets a reference be used."""
    for look, policy in product(
        [Look(is_blocked=a, is_complete=b) for a, b in product([False, True], repeat=2)],
        DuplicatePolicy,
    ):
        status, _ = ending(look, policy)
        assert (STANDINGS[status] is Standing.APPROVED) == (status is APPROVED)


def test_the_best_five_fresh_pairs_are_flagged() -> None:
    """In order of likeness, rounded to 0.01, each naming the other's verification."""
    look = Look(matches=tuple(match(n, 0.9 - n / 300) for n in range(1, 8)))
    change = found(look)
    assert [flag.matched for flag in change.flags] == [other(n) for n in range(1, 6)]
    assert change.flags[0].score == 0.9
    assert change.flags[0].matched_verification_id == f"ver_{look.matches[0].face_id[4:]}"
    assert [item.other for item in change.customer.flags] == [other(n).key for n in range(1, 6)]
    (owed,) = change.screenings
    assert owed.flag_ids == tuple(flag.id for flag in change.flags)
    assert (owed.face_id, change.ended_screenings) == ("", ())


def test_a_pair_that_either_side_knows_is_not_flagged_again() -> None:
    """Known on this record, on the other's, or told apart: no flag, and nothing is owed."""
    known = with_flagged_by(a_customer(), "flg_x", other(2).key)
    known = with_different(known, other(3).key)
    theirs = match(1, flag_ids=frozenset({"flg_y"}), is_flagged=True)
    change = found(Look(matches=(theirs, match(2), match(3)), expected=SURE), known)
    assert (change.flags, change.alerts, change.screenings) == ((), (), ())
    assert change.ended_screenings == (ABOUT.screening_id,)
    assert change.customer == known


def test_a_pair_whose_flag_has_gone_is_flagged_anew() -> None:
    """What an erasure left on a record hides nobody, and goes with the new flag."""
    stale = a_customer(flags=(Flagged(flag_id="flg_old", other=other(1).key),))
    change = found(Look(matches=(match(1, flag_ids=frozenset({"flg_old"})),)), stale)
    assert [flag.matched for flag in change.flags] == [other(1)]
    assert change.ended_flags == ("flg_old",)
    assert flags_of_pairs(change.customer) == {other(1).key: change.flags[0].id}


def test_a_duplicate_alerts_only_where_chance_explains_at_most_one() -> None:
    """A bound of one alerts, a larger or unknown one leaves a flag alone."""
    for expected, types in (
        (SURE, [AlertType.DUPLICATE_FACE]),
        (UNSURE, []),
        (ExpectedFalseMatches(None, None), []),
    ):
        change = found(Look(matches=(match(1),), expected=expected))
        assert [alert.alert_type for alert in change.alerts] == types
        assert len(change.flags) == 1


def test_the_blocklist_always_alerts() -> None:
    """Whatever chance would show; beside the alert of a duplicate, if there is one."""
    for expected, count in ((UNSURE, 1), (SURE, 2)):
        change = found(Look(matches=(match(1),), is_blocked=True, expected=expected))
        assert change.alerts[0].alert_type is AlertType.BLOCKLIST_MATCH
        assert change.alerts[0].verification_id == VERIFICATION.id
        assert change.alerts[0].session_id == ""
        assert len({alert.id for alert in change.alerts}) == len(change.alerts) == count


def test_whoever_is_flagged_with_five_others_is_flagged_with_no_more() -> None:
    """However many have the face, a search makes no more of it; those told apart do not count."""
    others = tuple(Flagged(flag_id=f"flg_{n}", other=other(n).key) for n in range(100, 105))
    look = Look(matches=(match(1), match(2)))
    assert found(look, a_customer(flags=others)).flags == ()
    assert len(found(look, a_customer(flags=others[:4])).flags) == 1
    known = with_different(a_customer(flags=others), other(100).key)
    assert [flag.matched for flag in found(look, known).flags] == [other(1)]


def test_a_hundred_flags_of_others_are_known() -> None:
    """Whom half the world names is told of the first hundred, and changed no more."""
    customer = a_customer()
    for number in range(FLAGS_KEPT):
        customer = with_flagged_by(customer, f"flg_{number}", other(number).key)
    assert with_flagged_by(customer, "flg_more", other(999).key) is customer


def test_others_are_counted_once_and_only_while_nobody_told_them_apart() -> None:
    """A pair flagged from both sides is one; one that was told apart is none."""
    customer = a_customer(flags=(Flagged(flag_id="flg_1", other=other(1).key),))
    customer = with_flagged_by(customer, "flg_2", other(1).key)
    customer = with_flagged_by(customer, "flg_3", other(2).key)
    assert with_flagged_by(customer, "flg_3", other(2).key) is customer
    assert count_flagged(customer) == 2
    assert count_flagged(with_different(customer, other(2).key)) == 1
    assert count_flagged(without_flags(customer, {"flg_1", "flg_2"})) == 1
