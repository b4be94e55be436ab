"""Requests about sweeps and rings as models."""

import re
from datetime import date
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from serve.api.wire import Body, PageParameters, Parameters, RingId, SweepId
from serve.domain.ids import Prefix, id_pattern
from serve.domain.sweeps.sweep import (
    TARGET_FPIR_MAX,
    TARGET_FPIR_MIN,
    SweepRequest,
    SweepScope,
)

SINCE_LENGTH_MAX = 64
EPOCH = date(1970, 1, 1)
_SWEEP = re.compile(id_pattern(Prefix.SWEEP))
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def moment_ms(text: str) -> int | None:
    """Milliseconds since 1970 of an RFC 3339 date-time, 0 for what lies before; None for what is
    none. The second of a leap is the one before it.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[number]) for number in range(1, 7))
    ahead_h, ahead_min = int(found[9] or 0), int(found[10] or 0)
    is_time = hour < 24 and minute < 60 and second <= 60
    if not is_time or ahead_h >= 24 or ahead_min >= 60 or not _is_day(year, month, day):
        return None
    if year < EPOCH.year - 1:  # no offset is so large
        return 0
    ahead_s = (ahead_h * 60 + ahead_min) * 60 * (-1 if found[8] == "-" else 1)
    days = (date(year, month, day) - EPOCH).days
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + min(second, 59) - ahead_s
    return max(0, seconds * 1_000 + int(((found[7] or "") + "000")[:3]))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year or 4, month, day)  # the year 0 is a leap year, and not one of Python's
    except ValueError:  # it quotes what was sent
        return False
    return True


def _since(text: str) -> str:
    if _SWEEP.fullmatch(text) is None and moment_ms(text) is None:
        raise ValueError("the id of a sweep, or a date-time as RFC 3339 has them")
    return text


Since = Annotated[
    str,
    Field(max_length=SINCE_LENGTH_MAX),
    AfterValidator(_since),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": SINCE_LENGTH_MAX,
            "anyOf": [
                {"pattern": f"^{id_pattern(Prefix.SWEEP)}$"},
                {"format": "date-time"},
            ],
        }
    ),
]
_NEVER_BOTH: dict[str, Any] = {
    "not": {
        "required": ["threshold", "target_fpir"],
        "properties": {"threshold": {"type": "number"}, "target_fpir": {"type": "number"}},
    }
}


class CreateSweepBody(Body):
    """Which pairs of customers to look for: those at or above a `threshold`, or above one at which
    a search of the same gallery shows a stranger as seldom as `target_fpir` says; never both.
    Without either the usual target is meant, 0.001.
    """

    model_config = ConfigDict(json_schema_extra=_NEVER_BOTH)

    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The least similarity of a pair; 0.36 is that of a 1:1 match. Below 0.30 is refused."""
    target_fpir: (
        Annotated[float, Field(ge=TARGET_FPIR_MIN, le=TARGET_FPIR_MAX, allow_inf_nan=False)] | None
    ) = None
    """The share of searches for who is not enrolled that may show somebody. The threshold is found
    by the tenant's own scores, of this sweep if of none before; where there is too little to go
    by, it is the model's.
    """
    scope: SweepScope = SweepScope.ENROLLED
    """Whom to compare: all customers with each other, or all with the blocklist."""
    since: Since | None = None
    """The id of a done sweep, or a date-time: only pairs with a face enrolled later are
    compared. After a sweep its pairs and those of this one are what its rings are made of.
    """

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.threshold is not None and self.target_fpir is not None:
            raise ValueError("give `threshold` or `target_fpir`, not both")
        return self

    @property
    def request(self) -> SweepRequest:
        """What is asked for."""
        at_ms = moment_ms(self.since or "")
        return SweepRequest(
            threshold=self.threshold,
            target_fpir=self.target_fpir,
            scope=self.scope,
            since_sweep=self.since or "" if at_ms is None else "",
            since_ms=at_ms or 0,
        )


class SweepParameters(Parameters):
    """A sweep."""

    sweep_id: SweepId


class SweepPageParameters(PageParameters):
    """A page of what a sweep came to."""

    sweep_id: SweepId


class RingParameters(Parameters):
    """A ring."""

    ring_id: RingId
