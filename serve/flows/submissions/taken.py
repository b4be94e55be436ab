"""One submission on its way, and what is known of it from step to step."""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.decision.verdict import Recapture, Verdict
from pipeline.evidence import Template
from serve.deps import Deps
from serve.domain.change import Snapshot
from serve.domain.handoff import Handoff
from serve.domain.ids import Subject
from serve.domain.session import Session
from serve.domain.tenancy.tenant import Tenant
from serve.flows.liveness.clip import Capture, FrameBurst
from serve.flows.verifications.compare import Judged
from serve.ports import Records

DIGESTED_AT_ONCE_BYTES_MAX = 2**18  # in a fifth of a millisecond; megabytes in a thread


@dataclass(frozen=True, slots=True)
class Taken:
    """What was handed in: whose, of which session, under which operation."""

    subject: Subject
    session_id: str
    op_id: str
    capture: Capture = field(repr=False)
    job_id: str | None = None

    @property
    def picture(self) -> bytes:
        """The one picture of a job; clips are never kept for later."""
        assert isinstance(self.capture, bytes), "a clip is judged at once"
        return self.capture

    @property
    def ended_job(self) -> dict[str, int]:
        """The job that is done with this submission, and the bytes that it held."""
        return {} if self.job_id is None else {self.job_id: len(self.picture)}


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that is being judged, and what its capture is judged by.

    `after` are the records as beginning left them, at `at_s` on the event loop's clock.
    """

    session: Session
    tenant: Tenant | None = None
    references: Sequence[Template] = field(default=(), repr=False)
    after: Snapshot | None = field(default=None, repr=False)
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What the models and the rules say of a capture; `code` and `detail` of one unfit.

    `image` is the picture that was compared: of a clip its best shot.
    """

    judged: Judged
    code: str = ""
    detail: str = ""
    image: bytes = field(default=b"", repr=False)

    @property
    def outcome(self) -> Verdict | Recapture:
        """What becomes of it."""
        return self.judged.outcome


async def take(handoff: Handoff, token: str, capture: Capture) -> Taken:
    """The submission of `capture`; the same bytes are the same operation."""
    if _size(capture) <= DIGESTED_AT_ONCE_BYTES_MAX:
        digest = _digest(capture)
    else:
        digest = await asyncio.to_thread(_digest, capture)
    op_id = hmac.new(token.encode(), digest, hashlib.sha256).hexdigest()
    return Taken(handoff.subject, handoff.session_id, op_id, capture)


async def read_records(deps: Deps, taken: Taken, *, to_judge: bool = False) -> Records:
    """The records that a submission concerns."""
    return await deps.ledger.read(taken.subject, taken.session_id, taken.op_id, to_judge=to_judge)


def _size(capture: Capture) -> int:
    """Bytes that are still to be digested; those of a stream were as they came."""
    if isinstance(capture, bytes):
        return len(capture)
    if isinstance(capture, FrameBurst):
        return sum(len(frame.image) for frame in capture.frames)
    return 0


def _digest(capture: Capture) -> bytes:
    return hashlib.sha256(capture).digest() if isinstance(capture, bytes) else capture.digest
