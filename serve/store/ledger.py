"""The system of record: snapshots of a customer, and commits that stand or fall with them.

A commit names the version it was made from. If the customer moved on meanwhile nothing is
written; if this very operation was carried out before, its answer is returned and nothing is
written either. So a lost reply can be repeated by anybody, any number of times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from pipeline.evidence import Template
from serve.domain.audit import AuditEntry
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer
from serve.domain.erasure import ErasureReceipt
from serve.domain.handoff import Handoff
from serve.domain.ids import (
    Mode,
    Prefix,
    Subject,
    digest,
    partition_of,
    subject_of,
    token_partition,
)
from serve.domain.session import Session
from serve.domain.tenancy.tenant import Tenant
from serve.errors import Code, ServeError
from serve.ports import Committed, Records
from serve.ports.liveness import Ending
from serve.store import names
from serve.store.changes import COMMANDS_MAX, Batch, Writer
from serve.store.link import ask_together, reaching_redis
from serve.store.scripts import COMMIT, CONFIRM, READ, check_reached, run, run_beside
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import OVERHEAD_BYTES, new_key, seal, unseal

TENANTS_KEPT = 256
CONFIRMED_KEPT_MS = 1_000


@dataclass(frozen=True, slots=True)
class RedisLedger:
    """The `Ledger` port. `replicas` is how many must hold a commit, and for how many ms to wait."""

    link: Redis
    keyring: Keyring = field(repr=False)
    jobs_bytes_max: int
    backup_retention_days: int
    replicas: tuple[int, int] = (0, 0)

    def subject(self, tenant_id: str, mode: Mode, customer_id: str) -> Subject:
        """Where this customer's records lie."""
        return subject_of(self.keyring.salt, tenant_id, mode, customer_id)

    async def snapshot(self, subject: Subject) -> Snapshot:
        """The customer as of now; version 0 and a fresh data key when there is none."""
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.hgetall(names.customer(subject))
                (seconds, micros), fields = await pipe.execute()
        return self._snapshot(subject, seconds * 1000 + micros // 1000, fields)

    def _snapshot(self, subject: Subject, now_ms: int, fields: Mapping[bytes, bytes]) -> Snapshot:
        if b"v" not in fields:
            return Snapshot(subject, 0, now_ms, None, new_key(), self.keyring.current_epoch)
        data_key = self.keyring.unwrap(fields[b"k"], subject.key)
        document = unseal(data_key, fields[b"d"], f"customer|{subject.key}")
        log_ids = {
            name.decode()[2:]: value.decode()
            for name, value in fields.items()
            if name.startswith(b"f:")
        }
        customer = Customer.model_validate_json(document)
        epoch = self.keyring.epoch_of(fields[b"k"])
        return Snapshot(subject, int(fields[b"v"]), now_ms, customer, data_key, epoch, log_ids)

    async def read(
        self, subject: Subject, session_id: str, op_id: str, *, to_judge: bool = False
    ) -> Records:
        """All that a submission is decided by, in one round trip; what it is judged by as well,
        templates and tenant, where that is wanted.

        Raises `version_conflict` when a template is wanted and not in the log of faces. A
        customer who does not exist has no answer: a commit finds what whoever creates them said.
        """
        partition = subject.partition
        keys = [
            names.customer(subject), names.session(partition, session_id),
            names.operation(subject, op_id), names.faces(partition),
        ]  # fmt: skip
        document: bytes | None = None
        with reaching_redis():
            if to_judge:
                tenant = ("GET", names.tenant(subject.tenant_id))
                found, document = await run_beside(self.link, READ, keys, ["1"], tenant)
            else:
                found, _ = await run(self.link, READ, keys, [""])
        (seconds, micros), fields, row, sealed, entries = found
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        snapshot = self._snapshot(subject, now_ms, _paired(fields))
        is_known = snapshot.version != 0 and sealed is not None
        return Records(
            snapshot,
            _open_session(snapshot, session_id, row),
            _open_answer(snapshot, sealed, op_id) if is_known else None,
            _open_templates(snapshot, _paired(entries)) if to_judge else (),
            None if document is None else _tenant(document),
        )

    async def templates(self, snapshot: Snapshot) -> dict[str, Template]:
        """Every face of the customer by its id, whatever it may be compared with.

        Raises `version_conflict` when one is not in the log of faces any more.
        """
        log = names.faces(snapshot.subject.partition)
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                for log_id in snapshot.log_ids.values():
                    pipe.xrange(log, log_id, log_id)
                rows: Any = await pipe.execute()
        entries = [entry for row in rows for _, entry in row]
        if len(entries) < len(snapshot.log_ids):
            raise _not_in_log()
        return {
            face_id: Template(entry[b"m"].decode(), _vector(snapshot, face_id, entry[b"d"]))
            for face_id, entry in zip(snapshot.log_ids, entries, strict=True)
        }

    async def answer(self, snapshot: Snapshot, op_id: str) -> bytes | None:
        """What an operation of the last 24 hours answered, if it was carried out."""
        if snapshot.version == 0:
            return None
        with reaching_redis():
            sealed: Any = await self.link.get(names.operation(snapshot.subject, op_id))
        return None if sealed is None else _open_answer(snapshot, sealed, op_id)

    async def receipt(self, subject: Subject, op_id: str) -> ErasureReceipt | None:
        """The same of an erasure, whose answer outlives the customer."""
        with reaching_redis():
            found = await self.link.get(names.operation(subject, op_id))
        return None if found is None else ErasureReceipt.model_validate_json(found)

    def later(self, snapshot: Snapshot, elapsed_s: float) -> Snapshot:
        """`snapshot` as it is that much later, unless somebody changed it: a commit tells."""
        return replace(snapshot, now_ms=snapshot.now_ms + round(1000 * elapsed_s))

    def epoch_destroyed_by_ms(self, epoch: int) -> int:
        """When the key of `epoch` will have been destroyed, with every backup's data keys."""
        return self.keyring.destroyed_by_ms(epoch, self.backup_retention_days)

    async def handoff(self, token: str) -> tuple[Handoff, int] | None:
        """What a session token finds, and the clock in ms; None when it finds nothing."""
        key = names.handoff(token_partition(token), digest(token))
        with reaching_redis():
            (seconds, micros), found = await ask_together(self.link, ("TIME",), ("GET", key))
        if found is None:
            return None
        return Handoff.model_validate_json(found), seconds * 1000 + micros // 1000

    async def session(self, snapshot: Snapshot, session_id: str) -> Session | None:
        """A session of this customer; its version is the snapshot's."""
        subject = snapshot.subject
        with reaching_redis():
            found: Any = await self.link.hmget(
                names.session(subject.partition, session_id), ["u", "d"]
            )
        return _open_session(snapshot, session_id, found)

    async def owner(self, session_id: str) -> Subject | None:
        """Whose session this is."""
        key = names.session(partition_of(Prefix.SESSION, session_id), session_id)
        with reaching_redis():
            found: Any = await self.link.hget(key, "u")
        return None if found is None else names.located(found.decode())

    async def commit(self, snapshot: Snapshot, change: Change, op_id: str) -> Committed:
        """Write `change` in one step, durably, or raise `version_conflict` and write nothing.

        Raises `overloaded` when the queue of waiting images is full, `durability_unavailable`
        when too few replicas hold what was written: it may be repeated under the same `op_id`.
        """
        subject = snapshot.subject
        operation = names.operation(subject, op_id)
        writer = Writer(snapshot, self.keyring.salt, self.jobs_bytes_max)
        batch = writer.write(change, operation)
        # Time and the operation are in it: a customer who comes back after an erasure never meets
        # old versions, nor does a primary that was cut off reach those of its successor.
        version = max(snapshot.version + 1, snapshot.now_ms * 1000 + crc32(op_id.encode()) % 1000)
        fields: list[bytes | str] = []
        if change.customer is not snapshot.customer:
            sealed = seal(snapshot.data_key, change.customer.dump(), f"customer|{subject.key}")
            fields += ["d", sealed]
        if snapshot.version == 0:
            wrapped = self.keyring.wrap(snapshot.data_key, subject.key)
            fields += ["k", wrapped, "u", names.locator(subject)]
            batch.add(
                "ZADD", names.customers(subject.partition), snapshot.now_ms, names.locator(subject)
            )
        if fields:
            batch.add("HSET", names.customer(subject), *fields)
        answer = seal(snapshot.data_key, change.answer, f"answer|{op_id}")
        done = await self._commit(snapshot, batch, op_id, str(version), answer)
        if done.is_repeat:
            return done
        moved = change.faces or snapshot.version == 0  # the log gave them places unknown here
        after = done.after and replace(done.after, version=version, customer=change.customer)
        return Committed(change.answer, is_repeat=False, after=None if moved else after)

    async def confirm(self, snapshot: Snapshot) -> None:
        """Wait until enough replicas hold what `snapshot` shows.

        Whoever finds a record may find one that no replica has yet, and by the time of the wait
        be talking to one that never got it: so the version is asked for again. Raises
        `version_conflict`, `durability_unavailable`.
        """
        if self.replicas[0] == 0:
            return
        subject = snapshot.subject
        keys = [names.customer(subject), names.confirmed(subject.partition)]
        with reaching_redis():
            is_so, reached = await run(
                self.link, CONFIRM, keys, [snapshot.version, CONFIRMED_KEPT_MS], self.replicas
            )
        if not is_so:
            raise ServeError(Code.VERSION_CONFLICT, "the customer's records moved on")
        check_reached(reached, self.replicas)

    async def erase(
        self,
        snapshot: Snapshot,
        receipt: ErasureReceipt,
        op_id: str,
        audit: Sequence[AuditEntry] = (),
    ) -> Committed:
        """Delete every record of the customer in one step and leave `receipt`, and `audit`.

        Whoever follows the log of faces reads there that the customer went.
        """
        subject = snapshot.subject
        with reaching_redis():
            owned: Any = await self.link.zrange(names.owned(subject), 0, -1)
        keys = [member.decode() for member in owned]
        batch = Batch()
        batch.unlink(keys)
        for listed, members in self._listed(subject, keys).items():
            batch.remove(listed, members)
        for key in keys:
            await self._give_back(batch, subject, key)
        for entry in snapshot.log_ids.values():
            batch.add("XDEL", names.faces(subject.partition), entry)
        locator = names.locator(subject)
        batch.add("LOG", names.faces(subject.partition), "", "k", "erase", "u", locator)
        batch.add("ZREM", names.customers(subject.partition), locator)
        batch.add("UNLINK", names.owned(subject))
        batch.add("UNLINK", names.customer(subject))
        key = names.erasure(subject.partition, receipt.id)
        batch.add("SET", key, receipt.dump())
        batch.add("PEXPIREAT", key, receipt.requested_at_ms + names.ERASURE_KEPT_MS)
        since = (snapshot.now_ms, "PX", names.IDEMPOTENCY_KEPT_MS)
        batch.add("SET", names.erased(subject), *since)
        if receipt.due_ms is not None:
            batch.add("ZADD", names.erasures(subject.partition), receipt.due_ms, receipt.id)
        batch.end_streams(subject.partition, Ending(locator), snapshot.now_ms)
        for told in audit:
            batch.append_audit(subject, told, snapshot.now_ms)
        return await self._commit(snapshot, batch, op_id, "", receipt.dump())

    async def _give_back(self, batch: Batch, subject: Subject, key: str) -> None:
        """The bytes of a waiting image that goes."""
        if not key.startswith(names.job(subject.partition, "")):
            return
        with reaching_redis():
            sealed_bytes = await self.link.hstrlen(key, "d")
        size_bytes = max(0, sealed_bytes - OVERHEAD_BYTES)
        held = names.jobs_bytes(subject.partition)
        batch.add("QUOTA", held, -size_bytes, self.jobs_bytes_max)

    def _listed(self, subject: Subject, keys: Sequence[str]) -> dict[str, list[str]]:
        """What the records under `keys` are listed or waiting in, and under which names."""
        partition = subject.partition
        alerts = ("", ".open", ".in_review", ".resolved", ".dismissed")
        lists = {
            "session": [names.deadlines(partition), self._listing(subject, "sessions")],
            "event": [names.outbox(partition), self._listing(subject, "events")],
            "job": [names.jobs(partition)],
            "alert": [self._listing(subject, f"alerts{status}") for status in alerts],
            "verification": [self._listing(subject, "verifications")],
            "block": [self._listing(subject, "blocklist")],
            "screening": [names.screenings(partition)],
        }
        found: dict[str, list[str]] = {}
        for key in keys:
            kind, _, name = key.partition(":")[2].partition(":")
            for listed in lists.get(kind, []):
                found.setdefault(listed, []).append(name)
        return found

    def _listing(self, subject: Subject, kind: str) -> str:
        return names.listing(subject.partition, kind, subject.tenant_id, subject.mode)

    async def _commit(
        self, snapshot: Snapshot, batch: Batch, op_id: str, version: str, answer: bytes
    ) -> Committed:
        if batch.commands > COMMANDS_MAX:
            raise ServeError(Code.OVERLOADED, f"more than {COMMANDS_MAX} commands in one change")
        subject = snapshot.subject
        keys = [names.operation(subject, op_id), names.customer(subject), *batch.keys]
        head: Sequence[str | bytes | int] = (
            names.OPERATION_KEPT_MS, snapshot.version, version, answer,
        )  # fmt: skip
        with reaching_redis():
            result, reached = await run(
                self.link, COMMIT, keys, [*head, *batch.arguments], self.replicas
            )
        if result[0] == b"conflict":
            raise ServeError(Code.VERSION_CONFLICT, "the customer's records moved on")
        if result[0] == b"full":
            raise ServeError(Code.OVERLOADED, "the queue of images is full", retry_after_s=5)
        check_reached(reached, self.replicas)
        if result[0] == b"done":
            seconds, micros = result[1]
            now_ms = int(seconds) * 1000 + int(micros) // 1000
            return Committed(answer, is_repeat=False, after=replace(snapshot, now_ms=now_ms))
        if version == "":  # an erasure's answer is not sealed: it names nobody, the key is gone
            return Committed(result[1], is_repeat=True)
        # Whoever came first may have brought another key for a new customer.
        snapshot = await self.snapshot(subject)
        return Committed(_open_answer(snapshot, result[1], op_id), is_repeat=True)


@lru_cache(TENANTS_KEPT)
def _tenant(document: bytes) -> Tenant:
    """Read anew when it was written anew: every submission of a tenant asks for the same."""
    return Tenant.model_validate_json(document)


def _open_answer(snapshot: Snapshot, sealed: bytes, op_id: str) -> bytes:
    return unseal(snapshot.data_key, sealed, f"answer|{op_id}")


def _open_session(
    snapshot: Snapshot, session_id: str, row: Sequence[bytes | None]
) -> Session | None:
    """None for a session of another customer as well."""
    owner, sealed = row
    if sealed is None or owner is None or owner.decode() != names.locator(snapshot.subject):
        return None
    document = unseal(snapshot.data_key, sealed, f"session|{session_id}")
    return Session.model_validate_json(document)


def _open_templates(
    snapshot: Snapshot, entries: Mapping[bytes, list[bytes]]
) -> tuple[Template, ...]:
    references = () if snapshot.customer is None else snapshot.customer.usable_references
    templates = []
    for item in references:
        entry = entries.get(b"f:" + item.face_id.encode())
        if entry is None:
            raise _not_in_log()
        vector = _vector(snapshot, item.face_id, _paired(entry)[b"d"])
        templates.append(Template(item.model_id, vector))
    return tuple(templates)


def _vector(snapshot: Snapshot, face_id: str, sealed: bytes) -> NDArray[np.float32]:
    plain = unseal(snapshot.data_key, sealed, f"template|{face_id}")
    return np.frombuffer(plain, dtype="<f4").astype(np.float32)


def _not_in_log() -> ServeError:
    return ServeError(Code.VERSION_CONFLICT, "a reference is not in the log of faces")


def _paired(flat: Sequence[Any]) -> dict[bytes, Any]:
    """Redis's name, value, … as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
