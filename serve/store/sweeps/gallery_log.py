"""The log of faces, one gallery at a time."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from redis.asyncio import Redis

from index.entry import Enrolled, Gallery, LogId
from serve.domain.search.gallery import GalleryKind
from serve.domain.sweeps.sweep import Segment
from serve.ports import LoggedFace, LoggedFaces
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.scripts import Argument, Script, run
from serve.store.search.opening import Row
from serve.store.search.rows import entries_of
from serve.store.vault.keyring import Keyring

READ_TOGETHER = 1_024  # entries of the log that one call looks at

# KEYS: 1 a log of faces. ARGV: 1, 2 the first and the last place, 3 how many entries to look at,
# 4 the beginning of the owners' locators, 5 the list, 6 the list of entries that name none,
# 7 the model, 8 whether the sealed templates are wanted, "1" or "".
# Returns {place of the last that was looked at, or nil for none behind it; {place, fields} of each
# that is in this gallery}.
GALLERY_ROWS = Script(
    "gallery_rows",
    """
local rows = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local found = {}
for _, row in ipairs(rows) do
  local said = {l = ARGV[6]}
  for i = 1, #row[2], 2 do said[row[2][i]] = row[2][i + 1] end
  if said.k == 'enrol' and said.l == ARGV[5] and said.m == ARGV[7] and said.f
      and said.u and string.sub(said.u, 1, #ARGV[4]) == ARGV[4] then
    found[#found + 1] = {row[1], ARGV[8] == '1' and row[2] or {'u', said.u, 'f', said.f}}
  end
end
return {#rows == tonumber(ARGV[3]) and rows[#rows][1], found}
""",
)


@dataclass(frozen=True, slots=True)
class RedisGalleryLog:
    """The `GalleryLog` port. Redis leaves out what is of other galleries: it is not even read."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def faces(self, gallery: Gallery, segment: Segment) -> LoggedFaces:
        """The gallery's faces that came by these entries and are there still; decrypted, and
        nothing of other galleries is.

        An entry that does not open is counted as refused and left out. Raises `keys_mismatch` when
        the key of an epoch is missing, and `state_unavailable`.
        """
        told: list[LoggedFace] = []
        vectors = []
        async for rows in self._rows(gallery, segment, with_templates=True):
            entries = await entries_of(self.link, self.keyring, rows)
            for row, entry in zip(rows, entries, strict=True):
                if isinstance(entry, Enrolled):
                    told.append(_face(row))
                    vectors.append(entry.vector)
        stacked = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
        return LoggedFaces(tuple(told), stacked)

    async def places(
        self, gallery: Gallery, segment: Segment
    ) -> AsyncIterator[Sequence[LoggedFace]]:
        """Where they stand, without their templates, batch by batch. Nothing is decrypted. Raises
        `state_unavailable`.
        """
        async for rows in self._rows(gallery, segment, with_templates=False):
            yield [_face(row) for row in rows]

    async def _rows(
        self, gallery: Gallery, segment: Segment, *, with_templates: bool
    ) -> AsyncIterator[list[Row]]:
        """The gallery's rows, in order; no batch is empty."""
        after = LogId.parse(segment.after)
        named: list[Argument] = [
            f"{gallery.world}:", gallery.kind, GalleryKind.ENROLLED, gallery.model_id,
            "1" if with_templates else "",
        ]  # fmt: skip
        while True:
            first = LogId(after.ms, after.seq + 1)
            arguments = [str(first), segment.upto, READ_TOGETHER, *named]
            last, rows = await self._read(segment.partition, arguments)
            if rows:
                yield [_row(segment.partition, *each) for each in rows]
            if last is None:
                return
            after = LogId.parse(last.decode())

    async def _read(self, partition: int, arguments: list[Argument]) -> Any:  # noqa: ANN401
        with reaching_redis():
            found, _ = await run(self.link, GALLERY_ROWS, [names.faces(partition)], arguments)
        return found


def _row(partition: int, log_id: bytes, flat: Sequence[bytes]) -> Row:
    return Row(partition, log_id, dict(zip(flat[::2], flat[1::2], strict=True)))


def _face(row: Row) -> LoggedFace:
    return LoggedFace(row.partition, row.place, row.fields[b"f"].decode(), row.subject_key)
