"""Erasure of a customer: four steps, each with the time by which it is done.

search   the face is found by no search any more      at once
store    every live record is deleted                 at once
log      the append-only file no longer holds it      within 60 minutes
backups  the epoch key that could open old copies     when that key is destroyed
         is destroyed
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from serve.domain.change import Snapshot
from serve.domain.document import Document
from serve.domain.ids import Mode, Subject

LOG_REWRITE_MS_MAX = 3_600_000


class ErasureStep(StrEnum):
    """The steps, in the order in which they complete."""

    SEARCH = "search"
    STORE = "store"
    LOG = "log"
    BACKUPS = "backups"


class StepRecord(Document):
    """One step: when it is due, and when it was done."""

    step: ErasureStep
    due_at_ms: int
    done_at_ms: int | None = None


class Tombstone(Document):
    """What is kept of an erasure outside the store: an older backup of it does not know.

    `epoch` is the newest that ever wrapped the customer's data key: once its key is destroyed,
    no backup brings the customer back.
    """

    erasure_id: str
    tenant_id: str
    mode: Mode
    subject_key: str
    epoch: int
    erased_at_ms: int

    @property
    def subject(self) -> Subject:
        """Who was erased."""
        return Subject(self.tenant_id, self.mode, self.subject_key)

    def covers(self, created_at_ms: int) -> bool:
        """Whether a customer of that name and age is the one who was erased, and not one who
        came after. Between the two lies a write to the disk: no millisecond holds both.
        """
        return created_at_ms <= self.erased_at_ms


class ErasureReceipt(Document):
    """What is kept of an erased customer: not who it was, only that and when it happened."""

    id: str
    tenant_id: str
    mode: Mode
    requested_at_ms: int
    epoch: int
    """Number of the newest epoch key that ever wrapped the customer's data key."""
    faces: int
    sessions: int
    steps: Annotated[tuple[StepRecord, ...], Field(min_length=4, max_length=4)]

    @property
    def is_complete(self) -> bool:
        """Whether every step is done."""
        return all(step.done_at_ms is not None for step in self.steps)

    @property
    def due_ms(self) -> int | None:
        """When the next open step is due, or None when all are done."""
        return min((s.due_at_ms for s in self.steps if s.done_at_ms is None), default=None)


def receipt_of(
    erasure_id: str, snapshot: Snapshot, sessions: int, epoch_destroyed_by_ms: int
) -> ErasureReceipt:
    """The receipt of an erasure that deletes what `snapshot` shows in one step.

    No search finds the face any more and the store is empty of it as soon as that is done.
    `epoch_destroyed_by_ms` is of the snapshot's epoch.
    """
    now_ms, customer = snapshot.now_ms, snapshot.customer
    return ErasureReceipt(
        id=erasure_id,
        tenant_id=snapshot.subject.tenant_id,
        mode=snapshot.subject.mode,
        requested_at_ms=now_ms,
        epoch=snapshot.epoch,
        faces=0 if customer is None else len(customer.references),
        sessions=sessions,
        steps=(
            StepRecord(step=ErasureStep.SEARCH, due_at_ms=now_ms, done_at_ms=now_ms),
            StepRecord(step=ErasureStep.STORE, due_at_ms=now_ms, done_at_ms=now_ms),
            StepRecord(step=ErasureStep.LOG, due_at_ms=now_ms + LOG_REWRITE_MS_MAX),
            StepRecord(step=ErasureStep.BACKUPS, due_at_ms=max(now_ms, epoch_destroyed_by_ms)),
        ),
    )


def tombstone_of(receipt: ErasureReceipt, subject: Subject) -> Tombstone:
    """The tombstone of the customer whose erasure this is."""
    return Tombstone(
        erasure_id=receipt.id,
        tenant_id=subject.tenant_id,
        mode=subject.mode,
        subject_key=subject.key,
        epoch=receipt.epoch,
        erased_at_ms=receipt.requested_at_ms,
    )


def with_step(receipt: ErasureReceipt, step: ErasureStep, now_ms: int) -> ErasureReceipt:
    """`receipt` with `step` done; a step that is done already keeps its time."""
    steps = tuple(
        item.model_copy(update={"done_at_ms": now_ms})
        if item.step is step and item.done_at_ms is None else item
        for item in receipt.steps
    )  # fmt: skip
    return receipt.model_copy(update={"steps": steps})
