"""Problem documents: every code that may leave has a status, and says nothing it should not."""

import json

import pytest

from pipeline.errors import Code as PipelineCode
from serve.api.problem import ProblemResponse, Refusal, refusal_of, rendered
from serve.errors import SENTENCES, STATUSES, CaptureUnfit, Code, ServeError


def document(refusal: Refusal) -> dict[str, object]:
    body = rendered(refusal, "req_1").body
    assert isinstance(body, bytes)
    found: dict[str, object] = json.loads(body)
    return found


@pytest.mark.parametrize("code", STATUSES)
def test_every_refusal_is_a_problem(code: PipelineCode | Code) -> None:
    """Members of RFC 9457 and ours, valid by the published schema."""
    response = rendered(Refusal(code, "why"), "req_1")
    found = document(Refusal(code, "why"))
    assert response.content_type == "application/problem+json"
    assert response.status == STATUSES[code] == found["status"]
    assert found["title"] == SENTENCES[code]
    assert found["error"] == {"message": SENTENCES[code], "code": code}
    assert (found["detail"], found["request_id"]) == ("why", "req_1")
    assert ProblemResponse.model_validate(found).code == code


@pytest.mark.parametrize(
    "code", [code for code, status in STATUSES.items() if status in {429, 503}]
)
def test_who_has_to_wait_is_told_how_long(code: PipelineCode | Code) -> None:
    """429 and 503 always come with `Retry-After`: the flow's, or else the code's own."""
    assert int(rendered(Refusal(code), "").headers["Retry-After"]) >= 1
    known = refusal_of(ServeError(Code.OVERLOADED, "", retry_after_s=17))
    assert rendered(known, "").headers["Retry-After"] == "17"


def test_a_refusal_without_a_wait_has_none() -> None:
    """What waiting does not mend names no time."""
    assert "Retry-After" not in rendered(Refusal(Code.NOT_FOUND), "").headers


def test_hints_travel() -> None:
    """An unfit capture carries its feedback; others have no such member."""
    unfit = CaptureUnfit(PipelineCode.IMAGE_CORRUPT, "ends early", feedback=("other", "blur"))
    assert document(refusal_of(unfit))["feedback"] == ["other", "blur"]
    assert "feedback" not in document(Refusal(Code.NOT_FOUND))


def test_a_code_of_the_command_line_says_nothing() -> None:
    """A code without a status becomes an internal error, without its detail."""
    found = document(refusal_of(ServeError(Code.KEYS_MISMATCH, "a secret path")))
    assert (found["status"], found["code"]) == (500, "internal_error")
    assert "secret" not in str(found)
