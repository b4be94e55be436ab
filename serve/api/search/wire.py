"""Requests about 1:N search, the blocklist and duplicates as models."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY
from serve.api.wire import (
    NAME_PATTERN,
    BlockId,
    Body,
    FlagId,
    Name,
    PageParameters,
    Parameters,
    VerificationId,
)
from serve.domain.search.duplicate import FlagStatus
from serve.flows.search.find import LIMIT_DEFAULT, LIMIT_MAX

EMBEDDING_LENGTH_MAX = 512
REASON_LENGTH_MAX = 500

Reason = Annotated[str, Field(max_length=REASON_LENGTH_MAX, pattern=NAME_PATTERN)]


def _either(*names: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in names]})


class FaceSearchBody(Body):
    """Who has this face: a `selfie`, or an `embedding`, which needs the scope `search:embedding`;
    never both.
    """

    model_config = _either("selfie", "embedding")

    selfie: str | SkipJsonSchema[None] = Field(default=None, repr=False)
    """The image of a face, in base64 or as a data URL."""
    embedding: (
        Annotated[tuple[float, ...], Field(max_length=EMBEDDING_LENGTH_MAX)] | SkipJsonSchema[None]
    ) = Field(default=None, repr=False)
    """A template of unit norm that this install's model made."""
    model: Name | None = None
    """What made the embedding: refused unless it is the model of this install."""
    threshold: float = Field(default=SEARCH_FLOOR_SIMILARITY, ge=0, le=1, allow_inf_nan=False)
    """The least similarity that is told; 0.36 is that of a 1:1 match. Below 0.30 is refused."""
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.selfie is None) == (self.embedding is None):
            raise ValueError("give either `selfie` or `embedding`")
        return self


class BlockBody(Body):
    """Whom to block: who is on a `selfie`, or a customer; never both."""

    model_config = _either("selfie", "customer_id")

    selfie: str | SkipJsonSchema[None] = Field(default=None, repr=False)
    """The image of a face, in base64 or as a data URL."""
    customer_id: Name | SkipJsonSchema[None] = Field(default=None, repr=False)
    """A customer, whose faces are copied: they stay blocked when the customer is erased."""
    reason: Reason | None = Field(default=None, repr=False)
    """The tenant's own words."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.selfie is None) == (self.customer_id is None):
            raise ValueError("give either `selfie` or `customer_id`")
        return self


class BlockParameters(Parameters):
    """An entry of the blocklist."""

    block_id: BlockId


class DuplicatesParameters(PageParameters):
    """Which flags of a verification."""

    verification_id: VerificationId


class FlagParameters(Parameters):
    """A flag of a verification."""

    verification_id: VerificationId
    flag_id: FlagId


class FlagBody(Body):
    """What a reviewer makes of a flag; dismissed means for ever: these are different people."""

    status: FlagStatus
    reviewer: Name | None = Field(default=None, repr=False)
    """The tenant's own name for who decided."""
    reason: Reason | None = Field(default=None, repr=False)
    """The tenant's own words; a dismissal needs some."""
