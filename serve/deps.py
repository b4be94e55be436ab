"""The ports a running service holds: built once in `serve.app`, handed to every flow."""

from collections.abc import Callable
from dataclasses import dataclass, field

from serve.domain.quota import Policy
from serve.domain.sweeps.lately import Lately
from serve.ports import (
    Audit,
    Blocklist,
    Comparator,
    Deadlines,
    Directory,
    Epochs,
    Erasures,
    FaceCensus,
    FaceIndex,
    FaceLog,
    Faces,
    Flags,
    GalleryLog,
    Headroom,
    Idempotency,
    Jobs,
    Ledger,
    Listings,
    Masters,
    Outbox,
    Quotas,
    Screenings,
    ShardBoard,
    Sweeps,
    Tombstones,
    Verifications,
)
from serve.ports.liveness import Endings, Parking


@dataclass(frozen=True, slots=True)
class Deps:
    """What flows may use. `random(n)` gives n unpredictable bytes."""

    ledger: Ledger
    listings: Listings
    audit: Audit
    directory: Directory
    outbox: Outbox
    jobs: Jobs
    deadlines: Deadlines
    erasures: Erasures
    epochs: Epochs
    masters: Masters
    tombstones: Tombstones
    headroom: Headroom
    idempotency: Idempotency
    quotas: Quotas
    faces: Faces
    index: FaceIndex
    face_log: FaceLog
    face_census: FaceCensus
    shard_board: ShardBoard
    screenings: Screenings
    flags: Flags
    blocklist: Blocklist
    verifications: Verifications
    sweeps: Sweeps
    gallery_log: GalleryLog
    endings: Endings
    parking: Parking
    scale: Comparator
    model_id: str
    random: Callable[[int], bytes]
    pepper: bytes = field(repr=False)
    quota_policy: Policy = field(default_factory=Policy)
    public_base_url: str = ""
    allow_http: bool = False
    calibrations: Lately = field(default_factory=Lately)
