"""What a request for a sweep may say, and how what it says is understood."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.api.sweeps.wire import CreateSweepBody, moment_ms
from serve.domain.ids import Prefix
from serve.domain.sweeps.sweep import TARGET_FPIR_MAX, TARGET_FPIR_MIN, SweepRequest, SweepScope
from tests.helpers.records import an_id

SWEEP = an_id(Prefix.SWEEP, 7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(**body: object) -> SweepRequest:
    """What a body asks for."""
    return CreateSweepBody.model_validate_json(json.dumps(body), strict=True).request


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, SweepRequest()),
        ({"threshold": 0.5}, SweepRequest(threshold=0.5)),
        ({"threshold": 1}, SweepRequest(threshold=1.0)),
        ({"threshold": 0.5, "target_fpir": None}, SweepRequest(threshold=0.5)),
        ({"target_fpir": 0.01, "scope": "blocked"},
         SweepRequest(target_fpir=0.01, scope=SweepScope.BLOCKED)),
        ({"target_fpir": TARGET_FPIR_MIN}, SweepRequest(target_fpir=TARGET_FPIR_MIN)),
        ({"since": SWEEP}, SweepRequest(since_sweep=SWEEP)),
        ({"since": None}, SweepRequest()),
        ({"since": "1970-01-01T00:00:02.5Z"}, SweepRequest(since_ms=2_500)),
    ],
)  # fmt: skip
def test_a_body_asks_for_a_sweep(body: dict[str, object], wanted: SweepRequest) -> None:
    """Each member becomes what the flow takes; what is not there is the usual."""
    assert read(**body) == wanted


@pytest.mark.parametrize(
    "body",
    [
        {"threshold": 0.5, "target_fpir": 0.01},
        *({"threshold": wrong} for wrong in (-0.1, 1.01, "0.5", True, [0.5])),
        *({"target_fpir": wrong} for wrong in (0, TARGET_FPIR_MIN / 2, TARGET_FPIR_MAX * 2, "x")),
        *({"scope": wrong} for wrong in ("all", "", None, 1, "ENROLLED")),
        *(
            {"since": wrong}
            for wrong in (
                "", 0, True, "yesterday", "2026-01-01", "2026-01-01T00:00:00", SWEEP + "\n",
                SWEEP[:-1], an_id(Prefix.SESSION, 7), "2026-02-30T00:00:00Z",
                "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
                "2026-01-01T00:00:61Z", "2026-01-01T00:00:00+24:00", "2026-01-01 00:00:00Z",
                "2026-01-01T00:00:00.Z", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00." + "0" * 60 +
                "Z",
            )
        ),
        {"limit": 1},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(body: dict[str, object]) -> None:
    """Every field by itself, both bars at once, and members that nobody knows."""
    with pytest.raises(ValidationError):
        read(**body)


@given(
    st.timedeltas(timedelta(days=2), timedelta(days=2_900_000)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("Tt"),
)
def test_a_date_time_is_that_of_the_calendar(
    since: timedelta, ahead_min: int, between: str
) -> None:
    """In any zone, to the millisecond: digits beyond are dropped."""
    zoned = (EPOCH + since).astimezone(timezone(timedelta(minutes=ahead_min)))
    wanted = (zoned - EPOCH) // timedelta(milliseconds=1)
    assert moment_ms(zoned.isoformat(sep=between)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0000-02-29T00:00:00Z", 0),
        ("0001-01-01T00:00:00+23:59", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1969-12-31T23:00:01-01:00", 1_000),
        ("1970-01-01T00:00:00z", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("2016-12-31T23:59:59.999999999Z", 1_483_228_799_999),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
        ("0000-02-30T00:00:00Z", None),
        ("1900-02-29T00:00:00Z", None),
    ],
)
def test_the_edges_of_the_calendar_are_known(text: str, wanted: int | None) -> None:
    """Years before 1970 and before Python's, leap seconds and the last day."""
    assert moment_ms(text) == wanted
