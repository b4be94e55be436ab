"""What the service writes down: closed, frozen, and as JSON."""

from pydantic import BaseModel, ConfigDict

UNBOUNDED = ConfigDict(ser_json_inf_nan="constants")
"""The configuration of documents with a number that may be infinite, which others would lose."""


class Document(BaseModel):
    """A record. Unknown members are refused, because a misread record is a lost one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,  # what is rendered has every member
    )

    def dump(self) -> bytes:
        """UTF-8 JSON."""
        return self.model_dump_json().encode()
