"""What the flows need from outside: each port a Protocol, its adapters chosen in `serve.app`."""

from serve.ports.door import Claim, Headroom, Idempotency, Quotas
from serve.ports.faces import Comparator, Engine, Faces
from serve.ports.records import (
    Audit,
    Audited,
    Committed,
    Directory,
    Ledger,
    Listings,
    Page,
    Records,
)
from serve.ports.search import (
    Blocklist,
    FaceCensus,
    FaceIndex,
    FaceLog,
    Flags,
    KeptFlag,
    Screenings,
    ShardBoard,
)
from serve.ports.verifications import Verifications
from serve.ports.work import (
    Deadlines,
    Epochs,
    Erasures,
    Jobs,
    Lease,
    Masters,
    Outbox,
    Sender,
    Tombstones,
)

__all__ = [
    "Audit",
    "Audited",
    "Blocklist",
    "Claim",
    "Committed",
    "Comparator",
    "Deadlines",
    "Directory",
    "Engine",
    "Epochs",
    "Erasures",
    "FaceCensus",
    "FaceIndex",
    "FaceLog",
    "Faces",
    "Flags",
    "Headroom",
    "Idempotency",
    "Jobs",
    "KeptFlag",
    "Lease",
    "Ledger",
    "Listings",
    "Masters",
    "Outbox",
    "Page",
    "Quotas",
    "Records",
    "Screenings",
    "Sender",
    "ShardBoard",
    "Tombstones",
    "Verifications",
]
