"""Customers with one face each in a real ledger, and searches for them."""

import secrets
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from redis.asyncio import Redis

from index.entry import LogId
from pipeline.evidence import Template
from serve.domain.change import Change, EnrolledFace
from serve.domain.customer import Reference
from serve.domain.erasure import ErasureReceipt, ErasureStep, StepRecord
from serve.domain.ids import Mode, Prefix, Subject, make_id
from serve.domain.search.gallery import GalleryKind
from serve.ports.search import Asked, Tails
from serve.store.ledger import RedisLedger
from serve.store.search.face_log import RedisFaceLog
from serve.store.vault.keyring import Keyring
from tests.helpers.records import MODEL, NOW_MS, TENANT, a_customer

FLOOR = 0.9  # between strangers of 128 dimensions it is never reached


@dataclass(frozen=True, slots=True)
class Person:
    """Whose face it is."""

    subject: Subject
    face_id: str
    template: Template

    @property
    def partition(self) -> int:
        return self.subject.partition


@dataclass(slots=True)
class People:
    """Everybody enrolled in one store, by name."""

    ledger: RedisLedger
    log: RedisFaceLog
    enrolled: dict[str, Person] = field(default_factory=dict)

    async def enrol(
        self,
        name: str,
        template: Template | None = None,
        *,
        tenant: str = TENANT,
        mode: Mode = Mode.LIVE,
        kind: GalleryKind = GalleryKind.ENROLLED,
    ) -> Person:
        """A new customer, whose face is nobody else's if none is given."""
        subject = self.ledger.subject(tenant, mode, name)
        face_id = make_id(Prefix.FACE, subject.partition, secrets.token_bytes(16))
        person = Person(subject, face_id, template or a_face())
        change = Change(
            customer=a_customer(customer_id=name, references=(_reference(face_id),)),
            faces=(EnrolledFace(face_id, person.template, gallery=kind),),
        )
        await self.ledger.commit(await self.ledger.snapshot(subject), change, f"enrol {face_id}")
        self.enrolled[name] = person
        return person

    async def enrol_elsewhere(self, other: Person, template: Template | None = None) -> Person:
        """A new customer in another partition than that one's: keys of an install are random, so
        a name alone does not say where it leads.
        """
        names = (f"{other.face_id} {number}" for number in count())
        world = other.subject.tenant_id, other.subject.mode
        name = next(
            each for each in names
            if self.ledger.subject(*world, each).partition != other.partition
        )  # fmt: skip
        return await self.enrol(name, template, tenant=world[0], mode=world[1])

    async def erase(self, name: str) -> Person:
        """They go, with their face."""
        person = self.enrolled.pop(name)
        snapshot = await self.ledger.snapshot(person.subject)
        erasure_id = make_id(Prefix.ERASURE, person.partition, secrets.token_bytes(16))
        steps = tuple(StepRecord(step=step, due_at_ms=NOW_MS) for step in ErasureStep)
        receipt = ErasureReceipt(
            id=erasure_id, tenant_id=person.subject.tenant_id, mode=person.subject.mode,
            requested_at_ms=NOW_MS + 10**12, epoch=1, faces=1, sessions=0, steps=steps,
        )  # fmt: skip
        await self.ledger.erase(snapshot, receipt, erasure_id)
        return person

    async def asked(self, person: Person, **changes: object) -> Asked:
        """A search for that very face, behind all that was committed."""
        return asked_for(person, await self.log.tails(), **changes)


def people_of(link: Redis, keyring: Keyring) -> People:
    """Nobody yet."""
    return People(RedisLedger(link, keyring, 2**20, 7), RedisFaceLog(link, keyring))


def asked_for(person: Person, after: Tails, **changes: object) -> Asked:
    """A search for that very face."""
    of = person.subject
    fields: dict[str, Any] = {"kind": GalleryKind.ENROLLED, "floor": FLOOR, "limit": 5, **changes}
    return Asked(of.tenant_id, of.mode, template=person.template, after=after, **fields)


def a_face() -> Template:
    """128 numbers of unit norm that nobody else has."""
    vector = np.random.default_rng().normal(size=128).astype(np.float32)
    return Template(MODEL, vector / np.float32(np.linalg.norm(vector)))


def behind(place: LogId) -> LogId:
    """The earliest place after that one."""
    return LogId(place.ms, place.seq + 1)


def _reference(face_id: str) -> Reference:
    return Reference(face_id=face_id, model_id=MODEL, enrolled_at_ms=NOW_MS, has_chip=False)
