"""Every metric of the service: its name, unit, labels and buckets, and one verb to count each;
those of 1:N search are in `search`, those of bulk sweeps in `sweeps`.

Labels are closed sets: a route's template, a code, an outcome; never a path, an id or a token.
Where `PROMETHEUS_MULTIPROC_DIR` was set before this module is imported, every process writes
its values to files in that folder and `render` sums them over processes.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)

from pipeline.decision.verdict import Outcome
from pipeline.liveness.judgement import Doubt
from serve.domain.alert import AlertType
from serve.domain.audit import Action
from serve.domain.callback import DeliveryState
from serve.domain.erasure import ErasureStep
from serve.domain.idempotency import Repeat
from serve.domain.quota import Cause
from serve.domain.tenancy.preferences import Event
from serve.domain.tenancy.trigger import Exemption
from serve.observe import registry
from serve.observe import search as _search  # noqa: F401 (its metrics are in the catalog too)
from serve.observe import stream as _stream  # noqa: F401 (and theirs)
from serve.observe import sweeps as _sweeps  # noqa: F401 (and its)
from serve.observe.registry import BATCH_SIZES, SECONDS, counter, gauge, histogram
from serve.observe.reserve import give_back

FOLDER_VARIABLE, REGISTRY, CATALOG = registry.FOLDER_VARIABLE, registry.REGISTRY, registry.CATALOG
Metric = registry.Metric
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
REFUSAL_SECONDS = (
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 30.0,
)  # fmt: skip
LAG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0, 86_400.0)

_requests = counter(
    "limen_http_requests_total",
    "Requests answered, by route template, method and status.",
    "route",
    "method",
    "status",
)
_request_seconds = histogram(
    "limen_http_request_seconds",
    "Seconds from the request's head to its answer.",
    SECONDS,
    "route",
    "method",
)
_refusals = counter("limen_refusals_total", "Requests refused, by error code.", "code")
_refusal_seconds = histogram(
    "limen_refusal_seconds",
    "Seconds from the request's head to its refusal, by error code.",
    REFUSAL_SECONDS,
    "code",
)
_over_quota = counter(
    "limen_quota_refusals_total",
    "Requests refused because there were too many, by class and cause.",
    "quota",
    "cause",
)
_body_bytes = gauge("limen_body_bytes", "Bytes of request bodies held now.", "livesum")
_connections = gauge("limen_connections", "Connections held by front doors now.", "livesum")
_connections_refused = counter(
    "limen_connections_refused_total", "Connections closed because there were too many."
)
_submissions = gauge("limen_submissions_in_flight", "Submissions being judged now.", "livesum")
_opened = counter("limen_sessions_opened_total", "Sessions opened, by event.", "event")
_exempted = counter(
    "limen_exemptions_total",
    "Events that passed without a face, by event and reason.",
    "event",
    "reason",
)
_verdicts = counter(
    "limen_verdicts_total", "Verdicts reached on submissions, by outcome.", "outcome"
)
_doubts = counter(
    "limen_liveness_doubts_total", "Doubts about clips that were judged, by reason.", "reason"
)
_unfit = counter(
    "limen_captures_unfit_total",
    "Captures and reference images that could not be judged, by error code.",
    "code",
)
_enrolled = counter(
    "limen_faces_enrolled_total",
    "Reference faces enrolled; repeats of the same request are not counted.",
)
_alerts = counter("limen_alerts_total", "Alerts raised, by type.", "alert_type")
_audited = counter("limen_audit_entries_total", "Entries of the audit trail, by action.", "action")
_erasure_steps = counter(
    "limen_erasure_steps_total", "Steps of erasures completed, by step.", "step"
)
_queue = gauge("limen_engine_queue_images", "Images waiting for the models now.", "livesum")
_engine_seconds = histogram(
    "limen_engine_seconds", "Seconds from an image's arrival at the queue to its evidence.", SECONDS
)
_batch_images = histogram(
    "limen_engine_batch_images", "Images in one batch of the models.", BATCH_SIZES
)
_engine_cpu = counter(
    "limen_engine_cpu_seconds_total",
    "CPU-seconds of the threads that decode images and run the models.",
)
_calls = counter("limen_engine_calls_total", "Envelopes of images sent to replicas.")
_envelope_images = histogram(
    "limen_engine_envelope_images", "Images in one envelope to a replica.", BATCH_SIZES
)
_lapses = counter(
    "limen_engine_lapses_total", "Images that the engine left without an answer, by cause.", "lapse"
)
_retries = counter(
    "limen_engine_retries_total", "Images sent to a replica again, after a first call failed."
)
_fallbacks = counter(
    "limen_engine_fallbacks_total",
    "Images given to a front door's own models because the engine could not be reached.",
)
_deliveries = counter(
    "limen_callback_attempts_total",
    "Attempts to deliver a callback, by what became of the callback.",
    "result",
)
_delivery_seconds = histogram(
    "limen_callback_attempt_seconds", "Seconds one attempt took.", SECONDS
)
_delivery_lag = histogram(
    "limen_callback_lag_seconds", "Seconds from a callback's making to its delivery.", LAG_SECONDS
)
_disabled = counter(
    "limen_endpoints_disabled_total",
    "Callback URLs given up: gone (410), or failing for five days.",
    "reason",
)
_outbox_due = gauge(
    "limen_outbox_due", "Callbacks that were due at the last look of a worker.", "livemax"
)
_jobs_due = gauge(
    "limen_jobs_due", "Accepted submissions that were due at the last look of a worker.", "livemax"
)
_disk_spare = gauge(
    "limen_store_headroom_disk_bytes",
    "Bytes free beside the embedded store above what it sheds new work at; negative below.",
    "livemostrecent",
)
_memory_spare = gauge(
    "limen_store_headroom_memory_share",
    "Share of Redis's maxmemory that is free; 1 where it has none.",
    "livemostrecent",
)
_repeats = counter(
    "limen_idempotency_total",
    "Requests with an `Idempotency-Key`, by what became of them.",
    "outcome",
)
_store_seconds = histogram(
    "limen_store_seconds",
    "Seconds one operation of the system of record took, by operation.",
    SECONDS,
    "operation",
)


def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """One request answered. `route` is the template, never the path."""
    known = method if method in METHODS else OTHER
    _requests.labels(route, known, str(status)).inc()
    _request_seconds.labels(route, known).observe(seconds)


def count_refusal(code: str) -> None:
    """One request refused with this error code."""
    _refusals.labels(code).inc()


def observe_refusal(code: str, seconds: float) -> None:
    """How long a refusal with this error code took."""
    _refusal_seconds.labels(code).observe(seconds)


def count_over_quota(quota: str, cause: Cause) -> None:
    """One request too many of this class, or of an address."""
    _over_quota.labels(quota, cause).inc()


def hold_body_bytes(number: int) -> None:
    """Bytes of a body taken into memory, or given back when negative."""
    _body_bytes.inc(number)


def hold_connections(number: int) -> None:
    """Connections made, or ended when negative."""
    _connections.inc(number)


def count_refused_connection() -> None:
    """One connection closed at once because there were too many."""
    _connections_refused.inc()


@contextmanager
def submission() -> Iterator[None]:
    """Counts a submission as in flight for as long as the block runs."""
    with _submissions.track_inprogress():
        yield


def count_session(event: Event) -> None:
    """One session opened."""
    _opened.labels(event).inc()


def count_exemption(reason: Exemption, event: str = "") -> None:
    """One event that passed without a face; an `event` outside the closed set is `other`."""
    _exempted.labels(event if event in set(Event) else OTHER, reason).inc()


def count_verdict(outcome: Outcome) -> None:
    """One verdict reached."""
    _verdicts.labels(outcome).inc()


def count_doubts(doubts: Iterable[Doubt]) -> None:
    """What a clip that was judged raised."""
    for doubt in doubts:
        _doubts.labels(doubt).inc()


def count_unfit(code: str) -> None:
    """One image that could not be judged."""
    _unfit.labels(code).inc()


def count_enrolment() -> None:
    """One reference face enrolled."""
    _enrolled.inc()


def count_alert(alert_type: AlertType) -> None:
    """One alert raised."""
    _alerts.labels(alert_type).inc()


def count_audit(action: Action) -> None:
    """One entry of the audit trail, written."""
    _audited.labels(action).inc()


def count_erasure_step(step: ErasureStep) -> None:
    """One step of an erasure completed."""
    _erasure_steps.labels(step).inc()


def set_queue(images: int) -> None:
    """How many images wait for the models."""
    _queue.set(images)


def observe_engine(seconds: float) -> None:
    """How long one image took, waiting included."""
    _engine_seconds.observe(seconds)


def observe_batches(images: Iterable[int], cpu_seconds: float) -> None:
    """How many images went to the models at once, and what all of them cost their threads."""
    for number in images:
        _batch_images.observe(number)
    _engine_cpu.inc(cpu_seconds)


def observe_envelope(images: int, again: int) -> None:
    """One envelope sent to a replica, and how many of its images had been sent before."""
    _calls.inc()
    _envelope_images.observe(images)
    _retries.inc(again)


def count_lapse(lapse: str) -> None:
    """One image given up by the engine."""
    _lapses.labels(lapse).inc()


def count_fallback() -> None:
    """One image that a door's own models had to look at."""
    _fallbacks.inc()


def count_delivery(result: DeliveryState, seconds: float, lag_seconds: float) -> None:
    """One attempt at a callback, and where it left it; `lag_seconds` counts if delivered."""
    _deliveries.labels(result).inc()
    _delivery_seconds.observe(seconds)
    if result is DeliveryState.DELIVERED:
        _delivery_lag.observe(max(0.0, lag_seconds))


def count_disabled(reason: Literal["gone", "failing"]) -> None:
    """One callback URL that takes no more callbacks until one is sent by hand."""
    _disabled.labels(reason).inc()


def set_outbox_due(callbacks: int) -> None:
    """How many callbacks are due."""
    _outbox_due.set(callbacks)


def set_jobs_due(jobs: int) -> None:
    """How many accepted submissions are due."""
    _jobs_due.set(jobs)


def set_headroom(disk_spare_bytes: int | None, memory_share: float) -> None:
    """How much room the store has; a disk that is not ours is not told of."""
    if disk_spare_bytes is not None:
        _disk_spare.set(disk_spare_bytes)
    _memory_spare.set(memory_share)


def count_repeat(outcome: Repeat) -> None:
    """One request under an idempotency key, or one answer under it that was not kept."""
    _repeats.labels(outcome).inc()


@contextmanager
def timed_store(operation: str) -> Iterator[None]:
    """Times one operation of the system of record; `operation` is the name of a script."""
    start = perf_counter()
    try:
        yield
    finally:
        _store_seconds.labels(operation).observe(perf_counter() - start)


def render() -> tuple[bytes, str]:
    """The text for `/metrics` and its content type, summed over processes where there are more."""
    found = REGISTRY
    if os.environ.get(FOLDER_VARIABLE):
        found = CollectorRegistry()
        multiprocess.MultiProcessCollector(found)  # type: ignore[no-untyped-call]
    return generate_latest(found), CONTENT_TYPE_LATEST


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended; what it counted stays counted."""
    if os.environ.get(FOLDER_VARIABLE):
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        give_back(Path(os.environ[FOLDER_VARIABLE]), pid)
