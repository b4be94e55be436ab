"""Ports of streams: what ends them from elsewhere, and where they wait for a lost connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from serve.domain.ids import Subject

Places = Mapping[int, str]
"""By partition, how far its endings have been read."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why streams are to end: the session has a status in which nothing is captured, a newer
    stream of it has begun, or, with no session, its customer was erased.

    `resumed` is the stream that the newer one goes on with, if it does.
    """

    locator: str
    session_id: str = ""
    status: str = ""
    stream_id: str = field(default="", repr=False)
    resumed: str = field(default="", repr=False)


class Endings(Protocol):
    """What ends streams on whichever door they are. Told in the change that ends a session."""

    async def places(self) -> Places:
        """Where endings will be read from that are told after this call."""
        ...

    async def read(self, after: Places) -> tuple[Places, Sequence[Ending]]:
        """Those told behind `after`, and how far they reach; waits for a while if there are none.

        Raises `state_unavailable`.
        """
        ...

    async def supersede(self, subject: Subject, ending: Ending) -> None:
        """Tell that a newer stream of a session has begun."""
        ...


class Parking(Protocol):
    """Streams without a connection, sealed for their customer, for 15 s."""

    async def park(self, subject: Subject, name: str, stream: bytes) -> None:
        """Keep a stream under a name that nobody guesses; nothing where the customer is gone."""
        ...

    async def take(self, subject: Subject, name: str) -> bytes | None:
        """The stream of that name, once; None where there is none."""
        ...
