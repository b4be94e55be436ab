"""Requests about verifications."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from serve.api.wire import Body, IdentityToken, Name, Parameters, VerificationId
from serve.domain.verifications.verification import DocumentType

EMAIL_LENGTH_MAX = 254
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ADDRESS_PART = r"[^@\x00-\x20\x7f-\xa0]+"


def _calendar_date(text: str) -> str:
    if not _DATE.fullmatch(text) or not _is_date(text):
        raise ValueError("a date of the calendar is written YYYY-MM-DD")
    return text


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:  # it quotes what was sent
        return False
    return True


Email = Annotated[
    str, Field(max_length=EMAIL_LENGTH_MAX, pattern=f"^{_ADDRESS_PART}@{_ADDRESS_PART}$")
]
CalendarDate = Annotated[
    str, AfterValidator(_calendar_date), WithJsonSchema({"type": "string", "format": "date"})
]
Country = Annotated[str, Field(pattern="^[A-Z]{3}$")]


class VerificationParameters(Parameters):
    """A verification."""

    verification_id: VerificationId


class ApplicantBody(Body):
    """What the tenant says of the person; nothing here is checked against anything."""

    name: Name | None = Field(default=None, repr=False)
    email: Email | None = Field(default=None, repr=False)
    dob: CalendarDate | None = Field(default=None, repr=False)
    """YYYY-MM-DD."""
    country: Country | None = None
    """ISO 3166-1 alpha-3."""


class CreateVerificationBody(Body):
    """What is to be verified."""

    document_type: DocumentType = DocumentType.PASSPORT
    applicant: ApplicantBody = Field(default_factory=ApplicantBody, repr=False)
    reference: Name | None = Field(default=None, repr=False)
    """The tenant's own name for this verification; its id where none is given."""
    customer_id: Name | None = Field(default=None, repr=False)
    """Whose it is, under the tenant's own name; the verification's id where none is given."""


class VerificationReviewBody(Body):
    """A reviewer's decision."""

    decision: Literal["approved", "rejected"]


class ReverifyBody(Body):
    """A person who was verified before, once more."""

    token: IdentityToken = Field(repr=False)
    """Their reusable identity token."""
    selfie: str = Field(repr=False)
    """The image of a face, in base64 or as a data URL."""
