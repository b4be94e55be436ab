"""A tenant's blocklist: one list over all partitions, each entry sealed under a key of its own."""

from dataclasses import dataclass, field

from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.search.block import Block
from serve.ports import Page
from serve.store import names
from serve.store.listings import newest
from serve.store.records import SealedRecords
from serve.store.vault.keyring import Keyring


@dataclass(frozen=True, slots=True)
class RedisBlocklist:
    """The `Blocklist` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Block]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        kinds = {"blocklist": str}
        ids, cursor = await newest(self.link, kinds, (tenant_id, mode), cursor, limit)
        rows = await SealedRecords(self.link, self.keyring).read([_place(name) for name in ids])
        found = [Block.model_validate_json(row.document) for row in rows if row is not None]
        return Page(tuple(found), cursor)

    async def one(self, tenant_id: str, mode: Mode, block_id: str) -> Block | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        records = SealedRecords(self.link, self.keyring)
        found = await records.read_one(*_place(block_id), tenant_id, mode)
        return None if found is None else Block.model_validate_json(found)


def _place(block_id: str) -> tuple[str, str]:
    return names.block(partition_of(Prefix.BLOCK, block_id), block_id), f"block|{block_id}"
