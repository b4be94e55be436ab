"""The lists that a tenant's faces are on; a search looks into one of them."""

from enum import StrEnum


class GalleryKind(StrEnum):
    """A list of faces. These words stand in the log: one may be added, none renamed."""

    ENROLLED = "enrolled"
    BLOCKED = "blocked"


class Standing(StrEnum):
    """What may be done with a reference."""

    HELD = "held"  # not compared with until it has been screened, or a reviewer has decided
    APPROVED = "approved"
    REFUSED = "refused"  # stays searchable, so that the same face is found again


BLOCKED_PREFIX = "\x00blocked\x00"
"""Begins the name under which a blocked face is kept; no tenant can name a customer so."""


def blocked_customer_id(block_id: str) -> str:
    """The customer's id under which the blocked face `block_id` is kept. It decides the partition,
    so the one that the id carries is no part of it.
    """
    return f"{BLOCKED_PREFIX}{block_id.partition('_')[2][2:]}"
