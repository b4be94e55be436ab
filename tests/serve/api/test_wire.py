"""Requests: closed, bounded, quiet about what they hold."""

import re
import unicodedata

import pytest
from pydantic import BaseModel, ValidationError

from serve.api import wire
from serve.api.routes import ROUTES

BODIES = sorted({route.body for route in ROUTES}, key=lambda model: model.__name__)
PARAMETERS = sorted({route.parameters for route in ROUTES}, key=lambda model: model.__name__)


@pytest.mark.parametrize("model", [*BODIES, *PARAMETERS])
def test_every_request_is_closed(model: type[BaseModel]) -> None:
    """No model takes a name it does not know."""
    assert model.model_config["extra"] == "forbid"


def test_no_repr_shows_a_person() -> None:
    """Customer, reference, token and image stay out of what a log or a debugger prints."""
    secret = "secret"  # noqa: S105 (what must not be found)
    shown = [
        wire.OpenBody(reference=secret, customer_id=secret, callback_url=secret),
        wire.SubmitBody(token=secret, proof=secret),
        wire.ConnectBody(token=secret),
        wire.EnrolBody(image=secret, consent_id=secret),
        wire.TokenParameters(token=secret),
        wire.SessionsParameters(customer_id=secret, reference=secret),
    ]
    assert secret not in repr(shown)


def test_a_page_has_one_to_a_hundred() -> None:
    """The limit is a whole number from 1 to 100, and 20 where none is given."""
    assert wire.PageParameters().limit == 20
    for limit in ("1", "100"):
        assert wire.PageParameters.model_validate_strings({"limit": limit}).limit == int(limit)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "", "ten"])
def test_any_other_limit_is_refused(limit: str) -> None:
    """Nothing is rounded or cut off in silence."""
    with pytest.raises(ValidationError):
        wire.PageParameters.model_validate_strings({"limit": limit})


def test_a_name_has_no_control_character_and_may_have_any_other() -> None:
    """The pattern, as every JSON schema reader reads it, says what Unicode calls control."""
    for number in (*range(0x300), 0x200B, 0x2028, 0xE000, 0xFFFD, 0x1F642, 0x10FFFF):
        text = chr(number)
        try:
            is_taken = wire.CustomerParameters(customer_id=text).customer_id == text
        except ValidationError:
            is_taken = False
        assert is_taken == (unicodedata.category(chr(number)) != "Cc"), hex(number)
        assert is_taken == bool(re.search(wire.NAME_PATTERN, text)), hex(number)
