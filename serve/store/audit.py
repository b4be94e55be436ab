"""The audit trail: streams that are only ever appended to, read newest first.

A customer's entries lie in their partition, so that the script which changes their records writes
the entry as well; a tenant's and the install's lie beside the directory. Within a stream Redis
numbers entries by its clock and never backwards, so a place in the trail (time, stream, number)
is exact: a page begins where the last one ended, whatever was written in between.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from redis.asyncio import Redis

from serve.domain.audit import Action, Actor, AuditEntry, AuditRecord, Concern
from serve.domain.ids import Mode, Subject
from serve.errors import Code, ServeError
from serve.ports import Page
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.listings import LIMIT_MAX, read_cursor, write_cursor
from serve.store.scripts import APPEND, Argument, check_reached, run

EXAMINED_MAX = LIMIT_MAX  # of each stream, for a page that is picked from more than it holds
EXAMINED_ALONE_MAX = 1_000  # the same where one stream is all there is to read
FEW = 8  # entries of each stream that are read first

Place = tuple[int, str, int]  # ms, the stream's name, the entry's number within the ms


def fields_of(concern: Concern, entry: AuditEntry) -> list[Argument]:
    """An entry as a stream keeps it: all fields in one order, which it then keeps only once."""
    count = "" if entry.count is None else entry.count
    fields: list[Argument] = [
        "a", entry.action, "w", str(entry.actor), "t", entry.target, "o", entry.outcome,
        "n", count,
    ]  # fmt: skip
    return [*fields, "c", concern.customer] if concern.customer else fields


def added_at(now_ms: int, fields: Sequence[Argument]) -> list[Argument]:
    """What XADD needs behind the key: what is older than a year may go with this."""
    return ["MINID", "~", max(0, now_ms - names.AUDIT_KEPT_MS), "*", *fields]


@dataclass(frozen=True, slots=True)
class _Stream:
    """One stream of the trail. `name` orders streams and is part of cursors and ids."""

    name: str
    concern: Concern
    key: str

    @classmethod
    def of(cls, tenant_id: str, mode: Mode, partition: int) -> "_Stream":
        """The customers of one partition."""
        key = names.audit(partition, tenant_id, mode)
        return cls(f"{partition:02d}.{mode}.{tenant_id}", Concern(tenant_id, mode), key)

    @classmethod
    def beside(cls, concern: Concern) -> "_Stream":
        """A tenant's, or the install's."""
        world = concern.mode or "both"
        name = f"t.{world}.{concern.tenant_id}" if concern.tenant_id else "i"
        return cls(name, concern, names.audit_beside(concern.tenant_id, concern.mode))

    def before(self, place: Place | None) -> str:
        """Where in this stream the entries behind `place` begin, for XREVRANGE."""
        if place is None:
            return "+"
        at_ms, name, number = place
        if self.name == name:
            return f"({at_ms}-{number}"
        return str(at_ms) if self.name < name else f"({at_ms}-0"


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry where it was found, its fields not yet read."""

    place: Place
    stream: _Stream
    fields: Mapping[bytes, bytes]

    @classmethod
    def of(cls, stream: _Stream, entry_id: bytes, fields: Mapping[bytes, bytes]) -> "_Row":
        at_ms, _, number = entry_id.partition(b"-")
        return cls((int(at_ms), stream.name, int(number)), stream, fields)

    def record(self) -> AuditRecord:
        at_ms, name, number = self.place
        text = {field: value.decode() for field, value in self.fields.items()}
        entry = AuditEntry(
            Action(text[b"a"]), Actor.parse(text[b"w"]), text[b"t"], text[b"o"],
            int(text[b"n"]) if text[b"n"] else None,
        )  # fmt: skip
        concern = replace(self.stream.concern, customer=text.get(b"c", ""))
        return AuditRecord(f"aud_{_place(name)}-{at_ms}-{number}", at_ms, concern, entry)


@dataclass(frozen=True, slots=True)
class RedisAudit:
    """The `Audit` port. `replicas` is how many must hold an entry, and for how many ms to wait."""

    link: Redis
    replicas: tuple[int, int] = (0, 0)

    async def add(self, concern: Concern, entry: AuditEntry) -> None:
        """Append an entry, durably. Raises `durability_unavailable`."""
        subject = concern.subject
        if subject is None:
            key = names.audit_beside(concern.tenant_id, concern.mode)
        else:
            key = names.audit(subject.partition, subject.tenant_id, subject.mode)
        arguments = [names.AUDIT_KEPT_MS, *fields_of(concern, entry)]
        with reaching_redis():
            _, reached = await run(self.link, APPEND, [key], arguments, self.replicas)
        check_reached(reached, self.replicas)

    async def page(
        self, tenant_id: str, mode: Mode, action: Action | None, cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """A tenant's entries in one world, and those of both, newest first."""
        streams = [*_customers(tenant_id, mode), *_beside(tenant_id, mode)]
        return await self._page(streams, action, "", cursor, limit)

    async def page_of(
        self, subject: Subject, action: Action | None, cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """The same of one customer."""
        stream = _Stream.of(subject.tenant_id, subject.mode, subject.partition)
        return await self._page([stream], action, subject.key, cursor, limit)

    async def page_of_tenant(self, tenant_id: str, cursor: str, limit: int) -> Page[AuditRecord]:
        """A tenant's entries in both worlds, newest first."""
        streams = _beside(tenant_id)
        for mode in Mode:
            streams += _customers(tenant_id, mode)
        return await self._page(streams, None, "", cursor, limit)

    async def page_of_install(
        self, tenant_ids: Sequence[str], cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """The install's own entries and those of tenants, but of no customers, newest first."""
        streams = [_Stream.beside(Concern())]
        for tenant_id in tenant_ids:
            streams += _beside(tenant_id)
        return await self._page(streams, None, "", cursor, limit)

    async def _page(
        self,
        streams: Sequence[_Stream],
        action: Action | None,
        customer: str,
        cursor: str,
        limit: int,
    ) -> Page[AuditRecord]:
        """The wanted entries among the newest behind `cursor`, and where it was stopped to look."""
        after = _read_place(cursor)
        limit = examined = min(limit, LIMIT_MAX)
        if action is not None or customer:
            examined = EXAMINED_ALONE_MAX if len(streams) == 1 else EXAMINED_MAX
        # One more than is looked at tells whether there is more.
        found = await self._newest(streams, after, examined + 1)
        wanted: list[AuditRecord] = []
        looked_at = 0
        for row in found[:examined]:
            if len(wanted) == limit:
                break
            looked_at += 1
            record = row.record()
            if action in {None, record.entry.action} and customer in {"", record.concern.customer}:
                wanted.append(record)
        has_more = looked_at < len(found)
        return Page(tuple(wanted), _write_place(found[looked_at - 1].place) if has_more else "")

    async def _newest(
        self, streams: Sequence[_Stream], after: Place | None, count: int
    ) -> list[_Row]:
        """The newest `count` entries behind `after` or more, the newest first; all, if fewer.

        A few of each stream are read, which are enough where entries are spread; else those
        streams that had more, once more.
        """
        few = min(count, FEW) if len(streams) > 1 else count
        rows = await self._read(streams, after, few)
        full = [stream for stream in streams if len(rows[stream.name]) == few]
        # What lies behind the last entry read of a stream that has more may not be in order.
        end = max((rows[stream.name][-1].place for stream in full), default=None)
        found = sorted(_all(rows), key=lambda row: row.place, reverse=True)
        if end is None or few == count or sum(row.place >= end for row in found) >= count:
            return found
        rows |= await self._read(full, after, count)
        return sorted(_all(rows), key=lambda row: row.place, reverse=True)

    async def _read(
        self, streams: Sequence[_Stream], after: Place | None, count: int
    ) -> dict[str, list[_Row]]:
        """Up to `count` entries of each stream behind `after`, by the stream's name."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for stream in streams:
                    pipe.xrevrange(stream.key, stream.before(after), "-", count)
                answers = await pipe.execute()
        return {
            stream.name: [_Row.of(stream, *entry) for entry in entries]
            for stream, entries in zip(streams, answers, strict=True)
        }


def _all(rows: Mapping[str, Sequence[_Row]]) -> Iterable[_Row]:
    return chain.from_iterable(rows.values())


def _customers(tenant_id: str, mode: Mode) -> list[_Stream]:
    return [_Stream.of(tenant_id, mode, partition) for partition in names.EVERY_PARTITION]


def _beside(tenant_id: str, *modes: Mode) -> list[_Stream]:
    """A tenant's own streams: that of both its worlds, and those of `modes`, or of each."""
    worlds = (None, *(modes or Mode))
    return [_Stream.beside(Concern(tenant_id, mode)) for mode in worlds]


def _place(name: str) -> str:
    """The part of a stream's name that tells it from the others of its tenant: `07.live`, `t.both`,
    or `i` for the install's.
    """
    return ".".join(name.split(".")[:2])


def _write_place(place: Place) -> str:
    at_ms, name, number = place
    return write_cursor(at_ms, f"{number}|{name}")


def _read_place(cursor: str) -> Place | None:
    """Raises `cursor_invalid`."""
    read = read_cursor(cursor)
    if read is None:
        return None
    at_ms, rest = read
    number, _, name = rest.partition("|")
    if not (number.isdecimal() and number.isascii() and name and 0 < at_ms < 2**53):
        raise ServeError(Code.CURSOR_INVALID, "not a cursor of this list")
    if int(number) >= 2**53:
        raise ServeError(Code.CURSOR_INVALID, "not a cursor of this list")
    return at_ms, name, int(number)
