"""How a sweep is told: its progress, its threshold, and scores with no more places than needed."""

from typing import Any

import pytest

from serve.api.sweeps.answers import SweepResponse, rounded, rounded_up
from serve.domain.ids import Mode, Prefix
from serve.domain.sweeps.sweep import Sweep, SweepFailure, SweepRequest, SweepStatus
from tests.helpers.front_door import SCALE
from tests.helpers.records import MODEL, NOW_MS, TENANT, an_id

SECOND_MS = 1_000


def a_sweep(**changes: Any) -> Sweep:
    """A sweep a quarter of whose tiles are done, ten seconds after it began."""
    fields: dict[str, Any] = {
        "id": an_id(Prefix.SWEEP, 7),
        "tenant_id": TENANT,
        "mode": Mode.LIVE,
        "request": SweepRequest(),
        "model_id": MODEL,
        "status": SweepStatus.RUNNING,
        "threshold": 0.95,
        "tiles": 4,
        "tiles_done": 1,
        "compared": 1_000,
        "to_compare": 4_000,
        "created_at_ms": NOW_MS - 11 * SECOND_MS,
        "started_at_ms": NOW_MS - 10 * SECOND_MS,
    }
    return Sweep(**{**fields, **changes})


def told(sweep: Sweep) -> SweepResponse:
    """What is told of it now."""
    return SweepResponse.of(sweep, SCALE.similarity, NOW_MS)


def test_a_running_sweep_says_when_it_is_done() -> None:
    """A quarter done in ten seconds: thirty more at that pace; before a tile nobody knows."""
    found = told(a_sweep())
    assert (found.progress, found.pairs_per_s, found.eta_s) == (0.25, 100.0, 30.0)
    fresh = told(a_sweep(tiles_done=0, compared=0))
    assert (fresh.progress, fresh.pairs_per_s, fresh.eta_s) == (0.0, None, None)


def test_a_sweep_that_was_given_up_says_why() -> None:
    """Code and sentence; no time is left to wait for."""
    failed = a_sweep(
        status=SweepStatus.FAILED, failure=SweepFailure.TOO_MANY_PAIRS, detail="so many are chance"
    )
    found = told(failed)
    assert (found.failure, found.detail) == (SweepFailure.TOO_MANY_PAIRS, "so many are chance")
    assert found.eta_s == 0.0
    assert (told(a_sweep()).failure, told(a_sweep()).detail) == (None, None)


def test_a_threshold_is_on_the_mapped_scale() -> None:
    """As it was asked for, to the last digit; else that of the native one, never rounded down; and
    of a model that is here no more, nothing.
    """
    asked = SweepRequest(threshold=0.512345)
    assert told(a_sweep(request=asked)).threshold == 0.512345
    native = SCALE.native(0.61234567)
    assert told(a_sweep(threshold=native)).threshold == 0.6124
    assert told(a_sweep(threshold=None)).threshold is None
    assert SweepResponse.of(a_sweep(), None, NOW_MS).threshold is None


@pytest.mark.parametrize(
    ("similarity", "wanted"),
    [(0.36, 0.36), (0.36001, 0.3601), (0.0, 0.0), (1.0, 1.0), (0.99999, 1.0), (0.7, 0.7)],
)
def test_thresholds_are_rounded_up(similarity: float, wanted: float) -> None:
    """To four places; one that has no more is told as it is."""
    assert rounded_up(similarity) == wanted


def test_how_alike_people_are_has_two_places() -> None:
    """More would tell a stranger how to come nearer."""
    assert [rounded(score) for score in (0.366, 0.994, 0.995001)] == [0.37, 0.99, 1.0]
