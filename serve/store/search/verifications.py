"""Verifications as a tenant reads them: records, and sessions seen as such."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import (
    Mode,
    Prefix,
    Subject,
    digest,
    identity_partition,
    partition_of,
    renamed,
)
from serve.domain.session import Session, elapsed
from serve.domain.verifications.rules import view_of
from serve.domain.verifications.verification import Verification
from serve.errors import ServeError
from serve.ports import Page
from serve.store import names
from serve.store.link import now_ms, reaching_redis
from serve.store.listings import newest
from serve.store.records import Opened, SealedRecords
from serve.store.vault.keyring import Keyring

ROUNDS_MAX = 8
"""Reads of one page: records that have gone leave their names in a list for a while."""


def _as_verification(name: str) -> str:
    return renamed(Prefix.VERIFICATION, name)


_LISTS = {"verifications": _as_verification, "sessions": _as_verification}


@dataclass(frozen=True, slots=True)
class RedisVerifications:
    """The `Verifications` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def one(
        self, tenant_id: str, mode: Mode, verification_id: str
    ) -> tuple[Subject, Verification] | None:
        """One, and whose it is."""
        return (await self._found(tenant_id, mode, [verification_id])).get(verification_id)

    async def named(
        self, tenant_id: str, mode: Mode, verification_ids: Sequence[str]
    ) -> Mapping[str, Verification]:
        """Those of the ids that are there, by id; in two round trips, however many."""
        found = await self._found(tenant_id, mode, verification_ids)
        return {name: verification for name, (_, verification) in found.items()}

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Verification]:
        """The tenant's, newest first. Raises `cursor_invalid`.

        Where many in a row have gone a page may hold fewer than there are, and a cursor.
        """
        items: list[Verification] = []
        for _ in range(ROUNDS_MAX):
            wanted = limit - len(items)
            ids, cursor = await newest(self.link, _LISTS, (tenant_id, mode), cursor, wanted)
            found = await self.named(tenant_id, mode, ids)
            items += [found[name] for name in ids if name in found]
            if not cursor or len(items) >= limit:
                break
        return Page(tuple(items), cursor)

    async def identified(self, token: str) -> Subject | None:
        """Whose reusable identity token this is. Raises `not_found` for what is none.

        It is found by its digest, so that the time this takes tells nothing of another token.
        """
        key = names.identity(identity_partition(token), digest(token))
        with reaching_redis():
            found: Any = await self.link.get(key)
        return None if found is None else names.located(found.decode())

    async def now_ms(self) -> int:
        """The clock by which sessions expire."""
        return await now_ms(self.link)

    async def _found(
        self, tenant_id: str, mode: Mode, verification_ids: Sequence[str]
    ) -> dict[str, tuple[Subject, Verification]]:
        """Each is a record of its own, or the view of a session; nobody knows before it is read."""
        ids = [name for name in dict.fromkeys(verification_ids) if _is_one(name)]
        keys = [key for name in ids for key in _places(name)]
        if not keys:
            return {}
        records = SealedRecords(self.link, self.keyring)
        with reaching_redis():
            reading = records.read(keys, (tenant_id, mode))
            rows, at_ms = await asyncio.gather(reading, self.now_ms())
        found = {}
        for name, record, session in zip(ids, rows[::2], rows[1::2], strict=True):
            row = record or session
            if row is not None:
                found[name] = row.subject, _opened(record, session, at_ms)
        return found


def _opened(record: Opened | None, session: Opened | None, at_ms: int) -> Verification:
    if record is not None:
        return Verification.model_validate_json(record.document)
    assert session is not None, "one of both was found"
    return view_of(elapsed(Session.model_validate_json(session.document), at_ms))


def _is_one(verification_id: str) -> bool:
    try:
        partition_of(Prefix.VERIFICATION, verification_id)
    except ServeError:  # `not_found`
        return False
    return True


def _places(verification_id: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Key and label of the record, and of the session that it may be a view of."""
    partition = partition_of(Prefix.VERIFICATION, verification_id)
    session_id = renamed(Prefix.SESSION, verification_id)
    return (
        (names.verification(partition, verification_id), f"verification|{verification_id}"),
        (names.session(partition, session_id), f"session|{session_id}"),
    )
