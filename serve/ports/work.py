"""Ports of work that waits, and of what is done when nobody asks."""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

from serve.domain.audit import AuditEntry
from serve.domain.callback import CallbackEvent, Delivery
from serve.domain.change import Job
from serve.domain.erasure import ErasureReceipt, Tombstone
from serve.domain.ids import Subject
from serve.domain.operation import Operation
from serve.domain.tenancy.tenant import SigningSecret
from serve.ports.records import Item


@dataclass(frozen=True, slots=True)
class Lease(Generic[Item]):
    """Work claimed until its lease runs out; `fence` tells this claim from later ones.

    `data_key` is the customer's, in the clear: it never leaves the process. `claimed_at_ms` is
    the clock of the system of record.
    """

    item: Item
    fence: int
    data_key: bytes = field(repr=False)
    claimed_at_ms: int


class Outbox(Protocol):
    """Callbacks on their way."""

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields the partition where a callback was written, or None: look into all of them.

        That comes at least every second; it is the safety net.
        """
        ...

    async def claim(
        self, limit: int, partitions: Collection[int] | None = None
    ) -> list[Lease[CallbackEvent]]:
        """Due callbacks of these partitions or of all, leased for 45 s: each goes to one claimer
        at a time.
        """
        ...

    async def settle(self, lease: Lease[CallbackEvent], event: CallbackEvent) -> bool:
        """Write the outcome of an attempt; False, and nothing written, when the lease is lost."""
        ...

    async def defer(self, lease: Lease[CallbackEvent], delay_ms: int) -> None:
        """Give a claim back untried, due again after `delay_ms`."""
        ...

    async def resend(
        self, event: CallbackEvent, op: Operation | None = None, audit: AuditEntry | None = None
    ) -> CallbackEvent:
        """Make a callback due now, whatever became of it; the same operation does so once, and
        leaves `audit` with it.
        """
        ...


class Sender(Protocol):
    """Posts a signed callback to a tenant's server, and nowhere else."""

    async def send(
        self, event: CallbackEvent, secrets: Sequence[SigningSecret], at_ms: int
    ) -> Delivery:
        """One attempt. Never raises for what the other side does."""
        ...


class Jobs(Protocol):
    """Submissions that were accepted to be judged later."""

    async def claim(self, limit: int) -> list[tuple[Subject, Job]]:
        """Due jobs, leased for 45 s."""
        ...

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields whenever there may be new work; a poll is the safety net."""
        ...


class Deadlines(Protocol):
    """Sessions that time alone will move."""

    async def claim(self, limit: int) -> list[tuple[Subject, str]]:
        """Whose sessions, by id, have come to their time; each leased for 45 s."""
        ...


class Erasures(Protocol):
    """Receipts of erasure whose later steps are still open."""

    async def unfinished(self, limit: int) -> list[ErasureReceipt]:
        """Receipts with open steps, those whose next is due first in front."""
        ...

    async def put(self, receipt: ErasureReceipt) -> None:
        """Write a step down; a receipt with none open is not `unfinished` any more."""
        ...

    async def rewrite_log(self) -> int | None:
        """Rewrite the append-only file; the clock in ms at which the finished rewrite began.

        None when it could not be done, or is not ours to do.
        """
        ...


class Epochs(Protocol):
    """The keys that wrap the customers' data keys, each for a day."""

    async def renew(self, *, at_once: bool = False) -> None:
        """Begin a new epoch if it is time, or `at_once`, wrap every live data key under it, and
        destroy the keys that backups may no longer need.
        """
        ...

    def is_destroyed(self, epoch: int) -> bool:
        """Whether the key of `epoch` is gone."""
        ...


class Masters(Protocol):
    """The keys that seal what belongs to no customer: the tenants' signing secrets."""

    async def renew(self, *, at_once: bool = False) -> None:
        """Seal under the current key what older ones sealed, and destroy the keys that backups
        may no longer need. With `at_once` a new key takes over first.
        """
        ...


class Tombstones(Protocol):
    """Who was erased, kept where no backup of the records reaches."""

    async def put(self, tombstone: Tombstone) -> None:
        """Write it down durably. Raises `erasure_unavailable`."""
        ...

    async def remove(self, tombstone: Tombstone) -> None:
        """Of an erasure that certainly did not happen; one that cannot be removed stays."""
        ...

    async def returned(self) -> list[Tombstone]:
        """The tombstones of customers who are there although they were erased."""
        ...
