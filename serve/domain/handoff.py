"""The hand-off from desktop to phone: what a session token finds, and for how long."""

from pydantic import Field

from serve.domain.document import Document
from serve.domain.ids import Mode, Subject
from serve.errors import Code, ServeError

TOKEN_VALID_MS = 600_000
HANDOFF_VALID_MS = 900_000
HANDOFF_KEPT_MS = 24 * 3_600_000  # so that an old token is told from one that never was


class Handoff(Document):
    """The record under a token's digest. It holds no personal data, so it lies unencrypted."""

    token_sha256: str = Field(repr=False)
    session_id: str
    tenant_id: str
    mode: Mode
    subject_key: str
    created_at_ms: int
    mobile_connected: bool = False

    @property
    def subject(self) -> Subject:
        """Whose session it is."""
        return Subject(self.tenant_id, self.mode, self.subject_key)


def check_readable(handoff: Handoff, now_ms: int) -> None:
    """Raises `token_expired` 15 minutes after the session was opened."""
    if now_ms - handoff.created_at_ms >= HANDOFF_VALID_MS:
        raise ServeError(Code.TOKEN_EXPIRED, "the session token can no longer be read")
