"""Ports to the system of record: customers and all that belongs to them, tenants, the trail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pipeline.evidence import Template
from serve.domain.alert import Alert, AlertStatus
from serve.domain.audit import Action, AuditEntry, AuditRecord, Concern
from serve.domain.callback import CallbackEvent
from serve.domain.change import Change, Snapshot
from serve.domain.delivery.outage import Outage, Standing
from serve.domain.erasure import ErasureReceipt
from serve.domain.handoff import Handoff
from serve.domain.ids import Mode, Subject
from serve.domain.session import Session
from serve.domain.tenancy.api_key import ApiKey
from serve.domain.tenancy.tenant import SigningSecret, Tenant

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Committed:
    """A change that is durable. `is_repeat` says that it had been before, under the same id.

    `after` are the records as the change left them, where that is known without looking.
    """

    answer: bytes = field(repr=False)
    is_repeat: bool
    after: Snapshot | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Records:
    """A customer, one session and what one operation answered, all of the same moment.

    `answer` is there if the operation was carried out in the last 24 hours. `templates` are the
    customer's references, decrypted, in order of enrolment. `tenant` is the customer's, None
    where it was not asked for.
    """

    snapshot: Snapshot
    session: Session | None
    answer: bytes | None = field(repr=False)
    templates: tuple[Template, ...] = field(default=(), repr=False)
    tenant: Tenant | None = None


class Ledger(Protocol):
    """The system of record of customers and all that belongs to them."""

    def subject(self, tenant_id: str, mode: Mode, customer_id: str) -> Subject:
        """Where this customer's records lie."""
        ...

    async def snapshot(self, subject: Subject) -> Snapshot:
        """The customer as of now; version 0 and a fresh data key when there is none."""
        ...

    async def handoff(self, token: str) -> tuple[Handoff, int] | None:
        """What a session token finds, and the clock in ms; None when it finds nothing."""
        ...

    async def session(self, snapshot: Snapshot, session_id: str) -> Session | None:
        """A session of this customer; its version is the snapshot's."""
        ...

    async def owner(self, session_id: str) -> Subject | None:
        """Whose session this is."""
        ...

    async def read(
        self, subject: Subject, session_id: str, op_id: str, *, to_judge: bool = False
    ) -> Records:
        """All that a submission is decided by, in one round trip; what it is judged by as well,
        templates and tenant, where that is wanted.

        Raises `version_conflict` when a template is wanted and not in the log of faces.
        """
        ...

    async def templates(self, snapshot: Snapshot) -> Mapping[str, Template]:
        """Every face of the customer by its id, whatever it may be compared with.

        Raises `version_conflict` when one is not in the log of faces any more.
        """
        ...

    async def commit(self, snapshot: Snapshot, change: Change, op_id: str) -> Committed:
        """Write `change` in one step, durably, or raise `version_conflict` and write nothing.

        Workers are told of the callbacks and jobs in it. An `op_id` that was carried out before
        writes nothing and returns its stored answer.
        """
        ...

    async def answer(self, snapshot: Snapshot, op_id: str) -> bytes | None:
        """What an operation of the last 24 hours answered, if it was carried out."""
        ...

    async def receipt(self, subject: Subject, op_id: str) -> ErasureReceipt | None:
        """The same of an erasure, whose answer outlives the customer."""
        ...

    def later(self, snapshot: Snapshot, elapsed_s: float) -> Snapshot:
        """`snapshot` as it is that much later, unless somebody changed it: a commit tells."""
        ...

    def epoch_destroyed_by_ms(self, epoch: int) -> int:
        """When the key of `epoch` will have been destroyed, with every backup's data keys."""
        ...

    async def confirm(self, snapshot: Snapshot) -> None:
        """Let what `snapshot` shows be as durable as a commit is, before it is answered once more.

        Raises `version_conflict` when it is no longer so, and `durability_unavailable`.
        """
        ...

    async def erase(
        self,
        snapshot: Snapshot,
        receipt: ErasureReceipt,
        op_id: str,
        audit: Sequence[AuditEntry] = (),
    ) -> Committed:
        """Delete every record of the customer in one step and leave `receipt`, and `audit`."""
        ...


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list, newest first; `next_cursor` is empty on the last."""

    items: tuple[Item, ...]
    next_cursor: str


class Listings(Protocol):
    """Bounded reads over all partitions, newest first."""

    async def sessions(
        self, snapshot: Snapshot, reference: str | None, limit: int
    ) -> list[Session]:
        """A customer's sessions, all or those of one reference."""
        ...

    async def alerts(
        self, tenant_id: str, mode: Mode, status: AlertStatus | None, cursor: str, limit: int
    ) -> Page[Alert]:
        """A tenant's alerts. Raises `cursor_invalid`."""
        ...

    async def alert(self, tenant_id: str, mode: Mode, alert_id: str) -> Alert | None:
        """One alert of this tenant and mode."""
        ...

    async def events(
        self, tenant_id: str, mode: Mode, cursor: str, limit: int
    ) -> Page[CallbackEvent]:
        """A tenant's callbacks."""
        ...

    async def event(self, tenant_id: str, mode: Mode, event_id: str) -> CallbackEvent | None:
        """One callback of this tenant and mode."""
        ...

    async def erasure(self, tenant_id: str, mode: Mode, erasure_id: str) -> ErasureReceipt | None:
        """One receipt of this tenant and mode."""
        ...

    async def chips(self, snapshot: Snapshot) -> dict[str, bytes]:
        """The aligned faces that are kept of a customer, as JPEG, by the face's id."""
        ...

    async def counts(self, tenant_id: str, mode: Mode) -> dict[str, int]:
        """The tenant's overview."""
        ...


Audited = tuple[Concern, AuditEntry]


class Audit(Protocol):
    """The trail of who did what. What is written with a change comes with that change."""

    async def add(self, concern: Concern, entry: AuditEntry) -> None:
        """Append an entry, durably."""
        ...

    async def page(
        self, tenant_id: str, mode: Mode, action: Action | None, cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """A tenant's entries in one world, and those of both. Raises `cursor_invalid`."""
        ...

    async def page_of(
        self, subject: Subject, action: Action | None, cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """The same of one customer."""
        ...

    async def page_of_tenant(self, tenant_id: str, cursor: str, limit: int) -> Page[AuditRecord]:
        """A tenant's entries in both worlds."""
        ...

    async def page_of_install(
        self, tenant_ids: Sequence[str], cursor: str, limit: int
    ) -> Page[AuditRecord]:
        """The install's own entries and those of tenants, but of no customers."""
        ...


class Directory(Protocol):
    """Tenants, their keys and secrets. A change and its `audit` are both written, or neither."""

    async def now_ms(self) -> int:
        """The clock of the system of record."""
        ...

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """One tenant."""
        ...

    async def tenants(self) -> list[Tenant]:
        """All of them, oldest first."""
        ...

    async def put_tenant(
        self,
        tenant: Tenant,
        expected_updated_at_ms: int | None,
        audit: Audited | None = None,
        op_id: str = "",
    ) -> Committed | None:
        """Create (None) or replace; None when somebody else changed it in between.

        An operation that was carried out before writes nothing, and answers what it wrote.
        """
        ...

    async def key(self, key_id: str) -> ApiKey | None:
        """The record of an API key."""
        ...

    async def put_key(self, key: ApiKey, audit: Audited | None = None) -> None:
        """Create or replace the record of a key."""
        ...

    async def keys(self, tenant_id: str) -> list[ApiKey]:
        """A tenant's keys, revoked ones among them."""
        ...

    async def secrets(self, tenant_id: str) -> list[SigningSecret]:
        """Signing secrets in force, the newest first."""
        ...

    async def standings(
        self, tenant_id: str, mode: Mode, urls: Collection[str]
    ) -> dict[str, Standing]:
        """What a world knows of `urls`; one that takes no callbacks is gone until it is tried
        by hand.
        """
        ...

    async def put_gone(self, tenant_id: str, mode: Mode, url: str, *, is_gone: bool) -> None:
        """Remember, or forget, that a URL takes no callbacks any more; either ends its outage."""
        ...

    async def put_outage(
        self, tenant_id: str, mode: Mode, url: str, before: Outage | None, after: Outage | None
    ) -> None:
        """Replace `before` by `after`, unless somebody else did meanwhile; None ends it anyway."""
        ...

    async def put_secrets(
        self, tenant_id: str, secrets: Sequence[SigningSecret], audit: Audited | None = None
    ) -> None:
        """Replace the signing secrets."""
        ...
