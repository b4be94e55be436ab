"""A tenant's lists: 64 bounded reads, merged newest first, with a cursor that survives inserts."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.alert import Alert, AlertStatus
from serve.domain.callback import CallbackEvent
from serve.domain.change import Snapshot
from serve.domain.erasure import ErasureReceipt
from serve.domain.ids import Mode, Prefix, keyed_digest, partition_of
from serve.domain.search.evidence import ERRORS, PAIRS
from serve.domain.session import Session
from serve.errors import Code, ServeError
from serve.ports import Page
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.records import SealedRecords
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import unseal

LIMIT_MAX = 100
CURSOR_LENGTH_MAX = 200
SAME_MS_MAX = 64  # ids of one partition, tenant and millisecond that a page boundary may split


@dataclass(frozen=True, slots=True)
class RedisListings:
    """The `Listings` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    @property
    def _records(self) -> SealedRecords:
        return SealedRecords(self.link, self.keyring)

    async def sessions(
        self, snapshot: Snapshot, reference: str | None, limit: int
    ) -> list[Session]:
        """A customer's sessions, all or those of one reference, newest first."""
        subject = snapshot.subject
        listed = ""
        if reference is not None:
            listed = keyed_digest(self.keyring.salt, "reference", subject.key, reference)
        with reaching_redis():
            found: Any = await self.link.zrevrange(
                names.customer_sessions(subject, listed), 0, min(limit, LIMIT_MAX) - 1
            )
        ids = [member.decode() for member in found]
        rows = await self._records.read(
            [(names.session(subject.partition, sid), f"session|{sid}") for sid in ids]
        )
        return [Session.model_validate_json(row.document) for row in rows if row is not None]

    async def alerts(
        self, tenant_id: str, mode: Mode, status: AlertStatus | None, cursor: str, limit: int
    ) -> Page[Alert]:
        """A tenant's alerts. Raises `cursor_invalid`."""
        kind = "alerts" if status is None else f"alerts.{status}"
        ids, next_cursor = await self._merged(kind, tenant_id, mode, cursor, limit)
        rows = await self._records.read(
            [(names.alert(partition_of(Prefix.ALERT, aid), aid), f"alert|{aid}") for aid in ids]
        )
        found = tuple(Alert.model_validate_json(row.document) for row in rows if row is not None)
        return Page(found, next_cursor)

    async def alert(self, tenant_id: str, mode: Mode, alert_id: str) -> Alert | None:
        """One alert of this tenant and mode."""
        key = names.alert(partition_of(Prefix.ALERT, alert_id), alert_id)
        found = await self._records.read_one(key, f"alert|{alert_id}", tenant_id, mode)
        return None if found is None else Alert.model_validate_json(found)

    async def events(
        self, tenant_id: str, mode: Mode, cursor: str, limit: int
    ) -> Page[CallbackEvent]:
        """A tenant's callbacks. Raises `cursor_invalid`."""
        ids, next_cursor = await self._merged("events", tenant_id, mode, cursor, limit)
        rows = await self._records.read(
            [(names.event(partition_of(Prefix.EVENT, eid), eid), f"event|{eid}") for eid in ids]
        )
        found = [CallbackEvent.model_validate_json(row.document) for row in rows if row is not None]
        return Page(tuple(found), next_cursor)

    async def event(self, tenant_id: str, mode: Mode, event_id: str) -> CallbackEvent | None:
        """One callback of this tenant and mode."""
        key = names.event(partition_of(Prefix.EVENT, event_id), event_id)
        found = await self._records.read_one(key, f"event|{event_id}", tenant_id, mode)
        return None if found is None else CallbackEvent.model_validate_json(found)

    async def erasure(self, tenant_id: str, mode: Mode, erasure_id: str) -> ErasureReceipt | None:
        """One receipt of this tenant and mode."""
        key = names.erasure(partition_of(Prefix.ERASURE, erasure_id), erasure_id)
        with reaching_redis():
            found = await self.link.get(key)
        if found is None:
            return None
        receipt = ErasureReceipt.model_validate_json(found)
        return receipt if (receipt.tenant_id, receipt.mode) == (tenant_id, mode) else None

    async def chips(self, snapshot: Snapshot) -> dict[str, bytes]:
        """The aligned faces that are kept of a customer, as JPEG, by the face's id."""
        customer, partition = snapshot.customer, snapshot.subject.partition
        kept = [item.face_id for item in customer.references if item.has_chip] if customer else []
        if not kept:
            return {}
        with reaching_redis():
            found: Any = await self.link.mget([names.chip(partition, face) for face in kept])
        return {
            face: unseal(snapshot.data_key, sealed, f"chip|{face}")
            for face, sealed in zip(kept, found, strict=True)
            if sealed is not None
        }

    async def counts(self, tenant_id: str, mode: Mode) -> dict[str, int]:
        """Sessions by status since the tenant began, and alerts by status as they are."""
        totals: Counter[str] = Counter()
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.hgetall(names.counts(partition, tenant_id, mode))
                    for status in AlertStatus:
                        pipe.zcard(names.listing(partition, f"alerts.{status}", tenant_id, mode))
                rows = await pipe.execute()
        width = 1 + len(AlertStatus)
        for start in range(0, len(rows), width):
            for name, number in rows[start].items():
                if name.decode() not in {PAIRS, ERRORS}:
                    totals[name.decode()] += int(number)
            for status, number in zip(AlertStatus, rows[start + 1 : start + width], strict=True):
                totals[f"alerts.{status}"] += number
        return dict(totals)

    async def _merged(
        self, kind: str, tenant_id: str, mode: Mode, cursor: str, limit: int
    ) -> tuple[list[str], str]:
        return await newest(self.link, {kind: str}, (tenant_id, mode), cursor, limit)


async def newest(
    link: Redis,
    kinds: Mapping[str, Callable[[str], str]],
    world: tuple[str, Mode],
    cursor: str,
    limit: int,
) -> tuple[list[str], str]:
    """The newest names after `cursor` in a tenant's lists of several kinds, over all partitions,
    and the cursor behind the last. `kinds` says by what name a list's ids go. Raises
    `cursor_invalid`.
    """
    limit = min(limit, LIMIT_MAX)
    after = read_cursor(cursor)
    highest = "+inf" if after is None else after[0]
    lists = [(kind, partition) for kind in kinds for partition in names.EVERY_PARTITION]
    with reaching_redis():
        async with link.pipeline(transaction=False) as pipe:
            for kind, partition in lists:
                key = names.listing(partition, kind, *world)
                # One more than fits tells whether there is a next page; ids of the cursor's
                # own millisecond come again and are dropped below.
                pipe.zrevrangebyscore(
                    key, highest, "-inf", start=0, num=limit + SAME_MS_MAX, withscores=True
                )
            rows = await pipe.execute()
    found = sorted(
        (
            (int(score), kinds[kind](member.decode()))
            for (kind, _), row in zip(lists, rows, strict=True)
            for member, score in row
        ),
        reverse=True,
    )
    if after is not None:
        found = [entry for entry in found if entry < after]
    page = found[:limit]
    has_more = len(found) > limit
    return [name for _, name in page], write_cursor(*page[-1]) if has_more else ""


def write_cursor(at_ms: int, name: str) -> str:
    """The place of what lies at `at_ms` under `name`."""
    return base64.urlsafe_b64encode(f"{at_ms}|{name}".encode()).decode()


def read_cursor(cursor: str) -> tuple[int, str] | None:
    """What `write_cursor` was given; None for the beginning. Raises `cursor_invalid`."""
    if not cursor:
        return None
    text = ""
    if len(cursor) <= CURSOR_LENGTH_MAX:
        with suppress(ValueError):  # of base64 as of UTF-8
            text = base64.urlsafe_b64decode(cursor).decode()
    at_ms, _, name = text.partition("|")
    if not (at_ms.isdecimal() and at_ms.isascii() and name):
        raise ServeError(Code.CURSOR_INVALID, "not a cursor of this list")
    return int(at_ms), name
