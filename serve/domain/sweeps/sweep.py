"""A sweep: a comparison of everybody with everybody, as it stands and as it ended.

queued    asked for; nobody has looked at the log yet
running   pinned to places of the log and cut into tiles, which workers lease
done      all tiles are there, and what they come to is written down
failed    it was given up, for a reason that is said
canceled  the tenant did not want it any more
"""

from enum import StrEnum

from pydantic import Field

from serve.domain.document import UNBOUNDED, Document
from serve.domain.ids import PARTITIONS, Mode, digest

ACTIVE_MAX = 4  # sweeps of one tenant in one mode that are queued or running
TARGET_FPIR = 1e-3  # where nothing is asked for
TAIL_MIN = 20_000  # pairs kept below the threshold over all tiles; or as many as there are faces
PAIRS_MAX = 1_000_000  # found at or above the threshold; more mean that it is no threshold
TARGET_FPIR_MIN, TARGET_FPIR_MAX = 1e-6, 0.5
KEPT_MS = 90 * 24 * 3_600_000
SALVAGED_MAX = 3  # times that a tile may fail before the sweep is given up
LAPSES_MAX = 20  # and that whoever worked on it may be heard of no more


class SweepStatus(StrEnum):
    """Where a sweep stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self in {SweepStatus.DONE, SweepStatus.FAILED, SweepStatus.CANCELED}


class SweepScope(StrEnum):
    """Who is compared with whom."""

    ENROLLED = "enrolled"  # all customers with each other
    BLOCKED = "blocked"  # all customers with the blocklist


class SweepFailure(StrEnum):
    """Why a sweep was given up."""

    TOO_MANY_PAIRS = "too_many_pairs"  # the threshold is too low for so many faces
    EVIDENCE_INSUFFICIENT = "evidence_insufficient"  # for a threshold of the asked error rate
    MODEL_CHANGED = "model_changed"  # the install compares with another model by now
    TILE_FAILED = "tile_failed"  # one tile failed again and again
    BASE_GONE = "base_gone"  # the sweep that this one goes on from is kept no more


class ThresholdSource(StrEnum):
    """Where a sweep's threshold comes from."""

    REQUEST = "request"
    CALIBRATION = "calibration"  # the tenant's own impostor scores, for the error rate asked for
    MANIFEST = "manifest"  # the pack's, as there is not enough evidence for another


class SweepRequest(Document):
    """What a tenant asks for: a `threshold` (similarity, 0 to 1), or a `target_fpir`, for which it
    is found by calibration, of the sweep itself at its end if of nothing earlier; or neither, which
    is the usual target. `since_sweep` is the id of a done sweep, whose pairs are not compared
    again; `since_ms` a time: only pairs with a face enrolled later are compared.
    """

    threshold: float | None = None
    target_fpir: float | None = None
    scope: SweepScope = SweepScope.ENROLLED
    since_sweep: str = ""
    since_ms: int = 0


class Segment(Document):
    """Entries of one partition's log, behind `after` up to and with `upto` (`ms-seq`)."""

    partition: int
    after: str
    upto: str


class BlockPlan(Document):
    """A block of a sweep: the faces that came by these parts of the log, in this order; those who
    have gone since are not in it. `faces` is how many there were when it was planned.
    """

    segments: tuple[Segment, ...]
    faces: int
    is_blocklist: bool = False


class SweepPlan(Document):
    """What a sweep was cut into. Tiles are `index.sweep.grid`'s: `all_pairs(len(blocks),
    first_new)`, or `across` where the scope is the blocklist. `pin` is where the log of each
    partition ended, `ms-seq`.
    """

    blocks: tuple[BlockPlan, ...]
    first_new: int
    pin: dict[int, str]


class Sweep(Document):
    """A sweep. Scores are native but for `request.threshold`; times are ms.

    `threshold` is None until it is known: from the plan on, or, where the sweep calibrates itself,
    at its end. `complete_from` is the score from which on every pair of the tiles done so far is
    known: what calibration counts from.
    """

    model_config = UNBOUNDED

    id: str
    tenant_id: str
    mode: Mode
    request: SweepRequest
    model_id: str
    status: SweepStatus = SweepStatus.QUEUED
    failure: SweepFailure | None = None
    detail: str = ""
    threshold: float | None = None
    threshold_source: ThresholdSource | None = None
    complete_from: float = -1.0
    faces: int = 0
    customers: int = 0
    tiles: int = 0
    tiles_done: int = 0
    compared: int = 0
    to_compare: int = 0
    mates: int = 0
    found: int = 0
    """Pairs at or above the threshold."""
    busy_ms: int = 0
    """Time that workers spent on tiles, added up."""
    rings: int = 0
    base: str = ""
    """The sweep that its rings go on from: the one that was named, or, for a time, the tenant's."""
    is_whole: bool = True
    """Whether, with the sweeps that it goes on from, everybody met everybody: the rings of one
    that is not are not the tenant's."""
    created_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None


class FacePair(Document):
    """Two faces of different customers, and their native score, exact. Customers are named by
    subject key; (`subject_a`, `face_a`) < (`subject_b`, `face_b`).
    """

    subject_a: str = Field(repr=False)
    face_a: str
    subject_b: str = Field(repr=False)
    face_b: str
    score: float

    @property
    def customers(self) -> tuple[str, str]:
        """Whose faces they are, in order."""
        return self.subject_a, self.subject_b


class TileResult(Document):
    """What one tile came to: see `index.sweep.block.Swept`. `pairs` at or above the threshold and
    the best below it, in no order.
    """

    model_config = UNBOUNDED

    row: int
    column: int
    pairs: tuple[FacePair, ...]
    complete_from: float
    compared: int
    mates: int
    found: int
    busy_ms: int


def home(tenant_id: str, mode: Mode) -> int:
    """The partition that all sweeps of a tenant in one mode lie in, and that their ids carry."""
    return int(digest(f"{tenant_id}:{mode}"), 16) % PARTITIONS
