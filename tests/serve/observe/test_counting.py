"""What the service does shows in its metrics, once."""

import json
from collections.abc import Mapping

import pytest

from serve.domain.erasure import ErasureStep
from serve.flows.customers import erase
from serve.flows.sessions import OpenRequest, open_session
from serve.flows.transact import new_operation
from serve.flows.upkeep.erasures import ErasureRounds
from serve.observe import metrics, stream
from tests.helpers.service import Service, repeatable


def counted(name: str, labels: Mapping[str, str]) -> float:
    return metrics.REGISTRY.get_sample_value(name, dict(labels)) or 0.0


async def test_a_session_s_story_is_counted(service: Service) -> None:
    """An enrolment, a session and a verdict count once, whatever is repeated."""
    counters: list[tuple[str, dict[str, str]]] = [
        ("limen_faces_enrolled_total", {}),
        ("limen_sessions_opened_total", {"event": "login"}),
        ("limen_verdicts_total", {"outcome": "approved"}),
        ("limen_captures_unfit_total", {"code": "capture_unfit"}),
    ]
    before = [counted(*each) for each in counters]
    for _ in range(2):
        await service.enrolled()
    token = (await service.opened()).token
    unfit = await service.submitted(token, "nobody")
    assert unfit.http_status == 422, json.loads(unfit.body)
    for _ in range(2):
        await service.submitted(token, "face 0")
    assert [counted(*each) for each in counters] == [number + 1 for number in before]


@pytest.mark.parametrize(
    ("event", "label", "reason"),
    [
        ("login", "login", "no_prior_kyc"),
        ("moonrise", "other", "unknown_event"),
        ("", "other", "unknown_event"),
    ],
)
async def test_what_passes_open_is_counted(
    service: Service, event: str, label: str, reason: str
) -> None:
    """Each event that passes without a face counts under its reason; names are never a label."""
    labels = {"event": label, "reason": reason}
    before = counted("limen_exemptions_total", labels)
    request = OpenRequest(reference="r", customer_id="nobody", event=event, amount=0.5)
    answer = await open_session(service.deps, service.live, request, repeatable())
    assert not answer.is_required
    assert counted("limen_exemptions_total", labels) == before + 1


async def test_a_step_of_erasure_is_counted(service: Service) -> None:
    """The step that a round completes counts once."""
    labels = {"step": ErasureStep.LOG.value}
    before = counted("limen_erasure_steps_total", labels)
    await service.enrolled()
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    rounds = ErasureRounds()
    for _ in range(2):
        await rounds.advance(service.deps)
    assert counted("limen_erasure_steps_total", labels) == before + 1


def test_a_closing_code_is_one_that_is_known() -> None:
    """A client may close with any number: those that are not ours are counted together."""
    for code in (4429, 1006, 3_123, 4_999, 0):
        stream.count_end(code)
    text = metrics.render()[0].decode()
    assert 'limen_streams_total{close_code="4429"}' in text
    assert 'limen_streams_total{close_code="other"}' in text
    assert 'close_code="3123"' not in text
    assert 'close_code="4999"' not in text
