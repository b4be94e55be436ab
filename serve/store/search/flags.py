"""Duplicate flags: sealed with the customer who was screened, gone with either of the two."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.search.duplicate import DuplicateFlag
from serve.domain.search.evidence import ERRORS, PAIRS, ImpostorEvidence
from serve.ports import KeptFlag, Page
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.listings import LIMIT_MAX, read_cursor, write_cursor
from serve.store.records import SealedRecords
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisFlags:
    """The `Flags` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def known(self, flag_ids: Sequence[str]) -> list[KeptFlag]:
        """Those of the ids that are there, in the same order; in three round trips."""
        return await self._known(flag_ids)

    async def _known(
        self, flag_ids: Sequence[str], world: tuple[str, Mode] | None = None
    ) -> list[KeptFlag]:
        if not flag_ids:
            return []
        rows = await SealedRecords(self.link, self.keyring).read(
            [
                (names.flag(partition_of(Prefix.FLAG, flag_id), flag_id), f"flag|{flag_id}")
                for flag_id in flag_ids
            ],
            world,
        )
        found = [
            KeptFlag(row.subject, DuplicateFlag.model_validate_json(row.document))
            for row in rows
            if row is not None
        ]
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for kept in found:
                    matched = names.customer(kept.flag.matched)
                    pipe.hexists(matched, f"f:{kept.flag.matched_face_id}")
                are_there = await pipe.execute()
        return [kept for kept, is_there in zip(found, are_there, strict=True) if is_there]

    async def one(self, tenant_id: str, mode: Mode, flag_id: str) -> KeptFlag | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        return next(iter(await self._known([flag_id], (tenant_id, mode))), None)

    async def page(self, flag_ids: Sequence[str], cursor: str, limit: int) -> Page[KeptFlag]:
        """Those of the ids that are there, newest first. Raises `cursor_invalid`."""
        after = read_cursor(cursor)
        limit = min(limit, LIMIT_MAX)
        found = sorted(
            ((kept.flag.created_at_ms, kept.flag.id, kept) for kept in await self.known(flag_ids)),
            key=lambda entry: entry[:2],
            reverse=True,
        )
        if after is not None:
            found = [entry for entry in found if entry[:2] < after]
        page = found[:limit]
        following = write_cursor(*page[-1][:2]) if len(found) > limit else ""
        return Page(tuple(kept for _, _, kept in page), following)

    async def evidence(self, tenant_id: str, mode: Mode) -> ImpostorEvidence:
        """What the tenant's own enrolments have shown of chance matches."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for partition in names.EVERY_PARTITION:
                    pipe.hmget(names.counts(partition, tenant_id, mode), [PAIRS, ERRORS])
                rows = await pipe.execute()
        pairs, errors = zip(*rows, strict=True)
        return ImpostorEvidence(_total(pairs), _total(errors))


def _total(numbers: Iterable[bytes | None]) -> int:
    return sum(int(number or 0) for number in numbers)
