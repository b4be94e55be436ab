"""What a backup says of itself: which records, of which install, and which keys open them.

It holds no keys. With them inside, destroying an epoch key would erase nothing.
"""

from typing import Annotated

from pydantic import Field

from serve.domain.document import Document

BACKUP_FORMAT = 1
Count = Annotated[int, Field(ge=0)]


class Counts(Document):
    """How many of each there are. `sessions` is counted while they change, so it is about right;
    the others are of the very moment.
    """

    tenants: Count
    customers: Count
    sessions: Count


class Manifest(Document):
    """`manifest.json` of a backup; its snapshot of Redis is `rdb_bytes` long.

    `epochs` are the numbers of the epoch keys that its data keys may be wrapped under,
    `current_epoch` the one that wrapped when it was taken.
    """

    format: int
    created_at_ms: int
    keys_fingerprint: str
    schema_version: int
    partitions: int
    redis_version: str
    epochs: tuple[int, ...]
    current_epoch: int
    rdb_bytes: Count
    rdb_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    counts: Counts
