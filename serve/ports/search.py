"""Ports of 1:N search, which tells who else has a face."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from index.entry import Entry, LogId
from pipeline.evidence import Template
from serve.domain.ids import Mode, Subject
from serve.domain.search.block import Block
from serve.domain.search.duplicate import DuplicateFlag
from serve.domain.search.evidence import ImpostorEvidence
from serve.domain.search.gallery import GalleryKind
from serve.domain.search.screening import Screening
from serve.ports.records import Page

Tails = Mapping[int, LogId]
"""How far the log of each partition reaches, or has been followed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One search. It sees every face of the gallery that the log held up to `after`, and no
    customer whose erasure it held.

    `floor` is a native score; `exclude` is the subject key of a customer who is not to be found.
    """

    tenant_id: str
    mode: Mode
    kind: GalleryKind
    template: Template = field(repr=False)
    floor: float
    limit: int
    after: Tails
    exclude: str = ""


@dataclass(frozen=True, slots=True)
class FaceHit:
    """A customer who was found, by the face of theirs that is most alike."""

    subject: Subject
    face_id: str
    native: float


@dataclass(frozen=True, slots=True)
class Found:
    """The customers most alike, best first; every one at or above the floor if they are fewer
    than the limit. Exact: what float64 arithmetic over all faces finds.

    `gallery_size` is how many faces were looked at. `missing` are partitions that nobody could
    answer for in time, and `lost` the shards that should have: then there may be more.
    """

    hits: tuple[FaceHit, ...]
    gallery_size: int
    missing: tuple[int, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everybody was looked at."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What one holder of the index tells of itself.

    `applied` is how far it has followed each of its partitions, `digests` the sum over the
    partition's live faces of a digest of each one's id, modulo 2**64: two holders at one place of
    a log agree on it. `replayed` counts entries since it began; it `is_ready` once it has come to
    where the log ended at its start. `wish` is the last wish for a rebuild that it has fulfilled.
    """

    name: str
    host: str
    pid: int
    applied: Tails
    digests: Mapping[int, int]
    live: int
    dead: int
    size_bytes: int
    galleries: int
    replayed: int
    is_ready: bool
    at_ms: int = 0
    wish: int = 0


class FaceIndex(Protocol):
    """Every enrolled face, searched while faces come and go."""

    async def search(self, asked: Asked) -> Found:
        """Look for a face. Waits for `asked.after` as long as the settings say; whoever has not
        come so far by then is missing. Raises `overloaded` when too many searches wait.
        """
        ...

    async def statuses(self) -> Sequence[ShardStatus]:
        """Those who hold the index for this process."""
        ...


class FaceLog(Protocol):
    """The log of faces: what the index is made from."""

    async def tails(self) -> dict[int, LogId]:
        """How far the log of every partition reaches now; START where it is empty."""
        ...

    async def read(
        self, after: Tails, *, limit: int, wait_ms: int = 0
    ) -> dict[int, tuple[LogId, list[Entry]]]:
        """Entries behind `after`, up to `limit` of each partition named there, and how far they
        reach; decrypted. Waits up to `wait_ms` for the first when there is none.

        A face whose customer is gone is left out: their erasure follows in the log.
        """
        ...


class FaceCensus(Protocol):
    """Whose faces there should be, and where each log ends: what the index is compared with."""

    async def entries(self) -> int:
        """How many entries the logs of all partitions hold now."""
        ...

    async def end(self, partition: int) -> tuple[LogId, LogId]:
        """Where the log of a partition says that it ends, and where it does; at one moment."""
        ...

    def customers(self, partition: int) -> AsyncIterator[Subject]:
        """Every customer of a partition; one who comes meanwhile may be left out, and one may be
        told of twice.
        """
        ...


class ShardBoard(Protocol):
    """Where holders of the index tell of themselves, for operators to read."""

    async def put(self, status: ShardStatus, kept_s: int) -> None:
        """Tell; forgotten after `kept_s` unless told again."""
        ...

    async def statuses(self) -> list[ShardStatus]:
        """All that have told of late."""
        ...

    async def ask_rebuild(self) -> int:
        """Ask every holder to begin anew; the number of this wish."""
        ...

    async def rebuild_wish(self) -> int:
        """The number of the last wish, 0 for none."""
        ...

    async def ask_shards(self, number: int) -> None:
        """Ask engines to cut the index into so many shards; 0 for as many as their settings say.

        It holds until somebody asks for another number, over restarts as well.
        """
        ...

    async def shards_wish(self) -> int:
        """How many shards are asked for, 0 for none in particular."""
        ...


class Blocklist(Protocol):
    """Faces that a tenant has blocked, in one mode."""

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Block]:
        """The tenant's, newest first. Raises `cursor_invalid`."""
        ...

    async def one(self, tenant_id: str, mode: Mode, block_id: str) -> Block | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        ...


class Screenings(Protocol):
    """Searches that are owed and were not done by whoever wrote them down."""

    async def claim(self, limit: int) -> list[tuple[Subject, Screening]]:
        """Due ones, each leased for 45 s."""
        ...


@dataclass(frozen=True, slots=True)
class KeptFlag:
    """A duplicate flag, and the customer with whom it is kept."""

    subject: Subject
    flag: DuplicateFlag


class Flags(Protocol):
    """Duplicate flags. One whose other face has gone is not found any more."""

    async def known(self, flag_ids: Sequence[str]) -> list[KeptFlag]:
        """Those of the ids that are there, in the same order."""
        ...

    async def one(self, tenant_id: str, mode: Mode, flag_id: str) -> KeptFlag | None:
        """One of this tenant and mode. Raises `not_found` for what is no such id."""
        ...

    async def page(self, flag_ids: Sequence[str], cursor: str, limit: int) -> Page[KeptFlag]:
        """Those of the ids that are there, newest first. Raises `cursor_invalid`."""
        ...

    async def evidence(self, tenant_id: str, mode: Mode) -> ImpostorEvidence:
        """What the tenant's own enrolments have shown of chance matches."""
        ...
