"""A blocked face: whoever has it is sent to a reviewer, whatever name they come under.

Its templates are kept as those of a customer are, under a name that no tenant can give, so that
they are followed, searched, re-wrapped and erased like everybody else's.
"""

from pydantic import Field

from serve.domain.customer import Customer, Reference
from serve.domain.document import Document
from serve.domain.ids import Mode
from serve.domain.search.gallery import GalleryKind, blocked_customer_id


class Block(Document):
    """An entry of a tenant's blocklist. `faces` is how many templates it has, all of `model_id`."""

    id: str
    tenant_id: str
    mode: Mode
    reason: str = Field(default="", repr=False)
    model_id: str
    faces: int
    created_at_ms: int


def customer_of(block: Block, face_ids: tuple[str, ...]) -> Customer:
    """What the blocked face is kept as."""
    return Customer(
        customer_id=blocked_customer_id(block.id),
        created_at_ms=block.created_at_ms,
        gallery=GalleryKind.BLOCKED,
        references=tuple(
            Reference(
                face_id=face_id,
                model_id=block.model_id,
                enrolled_at_ms=block.created_at_ms,
                has_chip=False,
            )
            for face_id in face_ids
        ),
    )
