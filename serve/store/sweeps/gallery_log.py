"""The log of faces, one gallery at a time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from index.entry import Gallery
from serve.domain.sweeps.sweep import Segment
from serve.ports import LoggedFace, LoggedFaces
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisGalleryLog:
    """The `GalleryLog` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def faces(self, gallery: Gallery, segment: Segment) -> LoggedFaces:
        """The gallery's faces that came by these entries and are there still; decrypted, and
        nothing of other galleries is.
        """
        raise NotImplementedError

    def places(self, gallery: Gallery, segment: Segment) -> AsyncIterator[Sequence[LoggedFace]]:
        """Where they stand, without their templates, batch by batch."""
        raise NotImplementedError
