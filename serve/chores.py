"""Ports of what is done when nobody asks: each a Protocol, as in `serve.ports`."""

from collections.abc import AsyncGenerator
from typing import Protocol

from serve.domain.change import Job
from serve.domain.erasure import ErasureReceipt, Tombstone
from serve.domain.ids import Subject


class Jobs(Protocol):
    """Submissions that were accepted to be judged later."""

    async def claim(self, limit: int) -> list[tuple[Subject, Job]]:
        """Due jobs, leased for 45 s."""
        ...

    def wakeups(self) -> AsyncGenerator[int | None, None]:
        """Yields whenever there may be new work; a poll is the safety net."""
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


class Deadlines(Protocol):
    """Sessions that time alone will move."""

    async def claim(self, limit: int) -> list[tuple[Subject, str]]:
        """Whose sessions, by id, have come to their time; each leased for 45 s."""
        ...
