"""The ports a running service holds: built once in `serve.app`, handed to every flow."""

from collections.abc import Callable
from dataclasses import dataclass, field

from serve.gates import Idempotency
from serve.ports import (
    Comparator,
    Deadlines,
    Directory,
    Epochs,
    Erasures,
    Faces,
    Headroom,
    Jobs,
    Ledger,
    Listings,
    Outbox,
)


@dataclass(frozen=True, slots=True)
class Deps:
    """What flows may use. `random(n)` gives n unpredictable bytes."""

    ledger: Ledger
    listings: Listings
    directory: Directory
    outbox: Outbox
    jobs: Jobs
    deadlines: Deadlines
    erasures: Erasures
    epochs: Epochs
    headroom: Headroom
    idempotency: Idempotency
    faces: Faces
    scale: Comparator
    model_id: str
    random: Callable[[int], bytes]
    pepper: bytes = field(repr=False)
    public_base_url: str = ""
    allow_http: bool = False
