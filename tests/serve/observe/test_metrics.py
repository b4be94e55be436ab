"""Metrics: named by the book, of closed labels, summed over processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.decision.verdict import Outcome
from serve.domain.alert import AlertType
from serve.domain.callback import DeliveryState
from serve.domain.erasure import ErasureStep
from serve.domain.idempotency import Repeat
from serve.domain.tenancy.preferences import Event
from serve.domain.tenancy.trigger import Exemption
from serve.observe import metrics

ENDINGS = {"counter": ("_total",), "histogram": ("_seconds", "_images", "_probes")}


@pytest.mark.parametrize("metric", metrics.CATALOG, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_book(metric: metrics.Metric) -> None:
    """Prefix, unit at the end, a sentence of help, buckets that grow."""
    assert metric.name.startswith("limen_")
    assert metric.name.endswith(ENDINGS.get(metric.kind, ("",)))
    assert metric.meaning.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert bool(metric.buckets) == (metric.kind == "histogram")


def test_no_label_can_name_a_person() -> None:
    """Labels are closed sets: no token, customer, tenant, path or address among them."""
    labels = {label for metric in metrics.CATALOG for label in metric.labels}
    assert labels == {
        "route", "method", "status", "code", "event", "reason", "outcome", "alert_type", "step",
        "result", "operation", "lapse", "quota", "cause", "action", "list", "close_code", "fate",
    }  # fmt: skip


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_verb_counts_what_it_says() -> None:
    """Each function moves its metric by what it was given."""
    before = {name: value(name, **labels) for name, labels in COUNTED.items()}
    metrics.count_session(Event.LOGIN)
    metrics.count_verdict(Outcome.APPROVED)
    metrics.count_unfit("capture_unfit")
    metrics.count_enrolment()
    metrics.count_alert(AlertType.LOCKOUT)
    metrics.count_erasure_step(ErasureStep.LOG)
    metrics.count_delivery(DeliveryState.DELIVERED, 0.2, 1.0)
    metrics.observe_batches([3, 5], 1.0)
    metrics.observe_envelope(16, 1)
    metrics.count_lapse("expired")
    metrics.count_fallback()
    metrics.count_repeat(Repeat.REPLAYED)
    with metrics.timed_store("commit"):
        pass
    for name, labels in COUNTED.items():
        assert value(name, **labels) == before[name] + 1, name


COUNTED: dict[str, dict[str, str]] = {
    "limen_sessions_opened_total": {"event": "login"},
    "limen_verdicts_total": {"outcome": "approved"},
    "limen_captures_unfit_total": {"code": "capture_unfit"},
    "limen_faces_enrolled_total": {},
    "limen_alerts_total": {"alert_type": "lockout"},
    "limen_idempotency_total": {"outcome": "replayed"},
    "limen_erasure_steps_total": {"step": "log"},
    "limen_callback_attempts_total": {"result": "delivered"},
    "limen_callback_lag_seconds_count": {},
    "limen_store_seconds_count": {"operation": "commit"},
    "limen_engine_cpu_seconds_total": {},
    "limen_engine_calls_total": {},
    "limen_engine_envelope_images_count": {},
    "limen_engine_retries_total": {},
    "limen_engine_lapses_total": {"lapse": "expired"},
    "limen_engine_fallbacks_total": {},
}


def test_an_event_of_the_tenant_s_making_is_no_label() -> None:
    """Whatever a tenant calls an event, an unknown one is counted as `other`."""
    labels = {"event": "other", "reason": "unknown_event"}
    before = value("limen_exemptions_total", **labels)
    for event in ("", "made up", "LOGIN"):
        metrics.count_exemption(Exemption.UNKNOWN_EVENT, event)
    assert value("limen_exemptions_total", **labels) == before + 3


def test_a_failed_attempt_has_no_lag() -> None:
    """Only a delivery tells how late it was."""
    before = value("limen_callback_lag_seconds_count")
    metrics.count_delivery(DeliveryState.PENDING, 0.2, 1.0)
    assert value("limen_callback_lag_seconds_count") == before


def test_what_is_in_flight_comes_down_again() -> None:
    """A submission counts while it lasts, whatever ends it."""
    name = "limen_submissions_in_flight"
    before = value(name)
    during = []

    def judged() -> None:
        with metrics.submission():
            during.append(value(name))
            raise ValueError("a defect")

    with pytest.raises(ValueError, match="defect"):
        judged()
    assert during == [before + 1]
    assert value(name) == before


def test_the_text_has_every_metric() -> None:
    """`/metrics` names and explains each, in the format of Prometheus."""
    text, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    for metric in metrics.CATALOG:
        family = metric.name.removesuffix("_total")
        assert f"# HELP {family}" in text.decode()


CHILD = """
import sys
from serve.observe import metrics
metrics.count_request("/a", "GET", 200, 0.1)
metrics.hold_body_bytes(5)
if len(sys.argv) > 1:
    metrics.forget_process(int(sys.argv[1]))
    sys.stdout.write(metrics.render()[0].decode())
else:
    import os
    sys.stdout.write(str(os.getpid()))
"""


def test_processes_are_summed(tmp_path: Path) -> None:
    """Counters of a process that ended still count; what it held does not."""

    def child(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", CHILD, *arguments],
            env={**os.environ, metrics.FOLDER_VARIABLE: str(tmp_path)},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout

    first = child()
    text = child(first)
    assert 'limen_http_requests_total{method="GET",route="/a",status="200"} 2.0' in text
    assert "limen_body_bytes 5.0" in text
