"""Searches that are owed."""

from dataclasses import dataclass, field

from redis.asyncio import Redis

from serve.domain.ids import Subject
from serve.domain.search.screening import Screening
from serve.store import names
from serve.store.queues import Queue
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisScreenings:
    """The `Screenings` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def claim(self, limit: int) -> list[tuple[Subject, Screening]]:
        """Due ones, each leased for 45 s; one whose customer is gone is left out."""
        queue = Queue(self.link, names.screenings, names.screening, ("d",))
        claims = await queue.claim(limit)
        opened = [
            (claimed.subject, claimed.opened(self.keyring, "screening")) for claimed in claims
        ]
        return [
            (subject, Screening.model_validate_json(found[1]))
            for subject, found in opened
            if found is not None
        ]
