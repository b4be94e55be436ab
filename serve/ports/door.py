"""Ports of what the front door asks before a flow is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serve.domain.headroom import Shortage
from serve.domain.idempotency import Answer, Keyed
from serve.domain.ids import Mode
from serve.domain.operation import Operation
from serve.domain.quota import Asked, Rule, Taken


class Quotas(Protocol):
    """What tenants have asked for of late, counted for all front doors together."""

    async def take(self, asked: Asked, rule: Rule) -> tuple[Taken, int]:
        """What becomes of a request, and the µs that one takes of the bucket at its tenant's pace.

        One with a lease counts as under way until that is given back, or for 45 s.
        """
        ...

    async def give_back(self, tenant_id: str, mode: Mode, leases: Sequence[str]) -> None:
        """End leases before their time."""
        ...

    async def factor(self, tenant_id: str) -> float:
        """How many times what the settings say this tenant may ask for."""
        ...

    async def put_factor(self, tenant_id: str, factor: float) -> None:
        """Let it ask for so many times as much, from the next request on."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that may be carried out, by whoever brings `fence`, until its lease runs out.

    `is_first` says that nobody claimed it before, `began_ms` when somebody first did.
    """

    digest: str
    fence: str
    is_first: bool
    began_ms: int


class Idempotency(Protocol):
    """Requests with a key of their sender's, each carried out by one at a time."""

    async def claim(self, keyed: Keyed, fence: str) -> Claim | Answer:
        """Claim a request for 30 s, or find what it was answered in the last 24 hours.

        Claimed again with the same `fence` it is the same claim. Raises `idempotency_mismatch`
        when another request came under its key, `idempotency_in_progress` while another's claim
        lasts, and `answer_erased` when the answer went with the customer it told of.
        """
        ...

    async def finish(self, claim: Claim, answer: Answer, op: Operation) -> bool:
        """Keep the answer, for as long as the customer exists whom `op` concerned.

        False, and nothing written, when somebody else has claimed the request since.
        """
        ...

    async def release(self, claim: Claim) -> bool:
        """Give a claim back without an answer; False when it is lost. The key keeps its request:
        another under it is a mismatch still.
        """
        ...

    async def is_outlived(self, op: Operation) -> bool:
        """Whether the customer whom `op` concerns was erased since it was first asked for."""
        ...


class Headroom(Protocol):
    """Whether the system of record has room for something new, or only for what has begun."""

    async def check(self) -> None:
        """For whoever begins something. Raises `storage_low`, or `state_unavailable`."""
        ...

    async def short_of(self) -> Shortage | None:
        """What there is too little of. Raises as `check` does where that cannot be told."""
        ...
