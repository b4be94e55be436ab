"""Every operation by itself: schemathesis' examples, coverage and fuzzing with the right key.

What the document allows the service takes, what it forbids the service refuses, and whatever
comes of it is in the document.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode

from serve.api.openapi import document
from serve.api.routes import ROUTES
from serve.settings import State
from tests.isolation.stage import isolation_stage

EXAMPLES = int(os.environ.get("TEST_FUZZ_EXAMPLES", "12"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
# Refusals of what is well-formed by every schema: what is told apart only by knowing the rest.
WELL_FORMED = {
    "proof_invalid", "cursor_invalid", "url_refused", "idempotency_mismatch", "capture_unfit",
    "not_an_image", "embedding_invalid", "threshold_too_low", "model_mismatch",
}  # fmt: skip
# `connect` is a word that could be a token: GET of it is another route, and finds nothing.
KNOWN = {("unsupported_method", "PUT /api/v1/kyc/session/connect")}


def test_the_document_and_the_service_agree(redis_state: State, tmp_path: Path) -> None:
    """No undocumented status, header or body, no 5xx; bad input refused, good input not."""
    found: Counter[str] = Counter()
    complaints: dict[tuple[str, str], str] = {}
    with isolation_stage(redis_state, tmp_path / "keys") as stage:
        schema = schemathesis.openapi.from_dict(json.loads(document(ROUTES)))
        config = schema.config
        key = stage.worlds[1].key
        config.update(base_url=stage.url, headers={"Authorization": f"Bearer {key}"})
        config.seed = SEED
        config.generation.update(max_examples=EXAMPLES, database="none", deterministic=True)
        config.phases.stateful.enabled = False
        config.checks.positive_data_acceptance.enabled = False  # `refused_unjustly` knows better
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                found[f"{event.phase.name.lower()} scenarios"] += 1
                _read(event.recorder, found, complaints)
            elif isinstance(event, events.NonFatalError | events.FatalError):
                complaints["error", str(getattr(event, "label", ""))] = str(event)
    print(f"\nseed {SEED}, {EXAMPLES} examples: {dict(sorted(found.items()))}")
    unknown = {where: what for where, what in complaints.items() if where not in KNOWN}
    for where, what in unknown.items():
        print(*where, what)
    assert list(unknown) == []
    assert found["5xx"] == 0
    assert found["calls"] > 20 * len(ROUTES)
    assert found["refused"] > 0


def _read(recorder: Any, found: Counter[str], complaints: dict[tuple[str, str], str]) -> None:
    """Count what was asked and answered, and keep each kind of complaint once."""
    for case_id, checks in recorder.checks.items():
        label = recorder.cases[case_id].value.operation.label
        for check in checks:
            found["checks"] += 1
            if check.failure_info is not None:
                told = f"{check.failure_info.failure.message} {check.failure_info.code_sample}"
                complaints.setdefault((check.name, label), told[:800])
    for case_id, interaction in recorder.interactions.items():
        case, response = recorder.cases[case_id].value, interaction.response
        if response is None:
            continue
        found["calls"] += 1
        found["5xx"] += response.status_code >= 500
        found["refused"] += 400 <= response.status_code < 500
        if refused := refused_unjustly(case, response):
            complaints.setdefault(("accepted", case.operation.label), refused[:800])


def is_beyond_schemas(fault: dict[str, str]) -> bool:
    """What no JSON schema can tell: which hosts are origins, that 1.0 is not written as an integer
    is, which times have passed and which sweeps are done, and that a token may come in the head
    instead.
    """
    pointer, detail = fault.get("pointer", ""), fault.get("detail", "")
    return (
        pointer.startswith("/allowed_origins/")
        or pointer == "/since"
        or detail == "Input should be a valid integer"
        or (pointer, detail) == ("/token", "Field required")
    )


def refused_unjustly(case: Any, response: Any) -> str:
    """What the service said of a request that the document allows, if it called it malformed."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return ""
    if response.status_code not in {400, 408, 413, 415, 422} or case.method.lower() != (
        case.operation.method.lower()
    ):
        return ""
    body = json.loads(response.content)
    if body["code"] == "field_invalid" and all(map(is_beyond_schemas, body.get("errors", [{}]))):
        return ""
    return "" if body["code"] in WELL_FORMED else f"{body} {case.as_curl_command()}"
