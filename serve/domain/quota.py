"""How much a tenant may ask for, and what is refused first when images wait too long.

A bucket drains at a steady pace and holds a burst: the generic cell rate algorithm, whose whole
state is one time, that at which the bucket will be empty. `ahead_us` is how far that lies ahead
of the clock. Times are whole microseconds, and a request's share of them is rounded up: what is
admitted is never more than what is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from serve.domain.ids import Mode

SECOND_US = 1_000_000
LEASE_MS = 45_000
"""How long a submission that is judged now counts as under way, if its door never says more."""
INFLIGHT_RETRY_S = 1
WAIT_S_MAX = 60
FACTOR_MIN, FACTOR_MAX = 0.001, 1_000.0
ADDRESS = "address"
"""Name of the policy of one address, which is told where no tenant is known."""


class Quota(StrEnum):
    """Classes of requests that are counted apart; each route has one."""

    OPEN = "open"
    SUBMIT = "submit"
    ENROL = "enrol"
    SEARCH = "search"
    LIVENESS = "liveness"
    READ = "read"
    WRITE = "write"
    PHONE = "phone"


class Cause(StrEnum):
    """Why a request was refused."""

    QUOTA = "quota"
    INFLIGHT = "inflight"
    ADDRESS = "address"
    SHED = "shed"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Holds `burst_us` microseconds of requests, of which each takes `step_us`."""

    step_us: int
    burst_us: int

    @classmethod
    def of(cls, per_s: float, burst_s: float) -> "Bucket":
        """So many requests a second, and those of `burst_s` seconds at once; at least one."""
        step_us = max(1, math.ceil(SECOND_US / per_s))
        return cls(step_us, max(step_us, math.floor(burst_s * SECOND_US)))

    def paced(self, step_us: int) -> "Bucket":
        """The same at another pace."""
        return Bucket(step_us, max(step_us, self.burst_us))

    @property
    def quota(self) -> int:
        """Requests that an empty bucket takes at once."""
        return self.burst_us // self.step_us

    @property
    def window_s(self) -> int:
        """Whole seconds in which a full one empties."""
        return math.ceil(self.burst_us / SECOND_US)

    def taken(self, empty_at_us: int, now_us: int, cost: int = 1) -> "Taken":
        """What becomes of a request that weighs `cost`, where the bucket is empty at a time."""
        ahead_us = max(0, empty_at_us - now_us)
        wanted_us = ahead_us + cost * self.step_us
        if wanted_us > self.burst_us:
            return Taken(ahead_us, Cause.QUOTA)
        return Taken(wanted_us)


@dataclass(frozen=True, slots=True)
class Taken:
    """How full the bucket is after a request, which `refused` it if there is a cause."""

    ahead_us: int
    refused: Cause | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with the policy `name`: what is told with every answer."""

    name: str
    bucket: Bucket
    ahead_us: int

    @property
    def remaining(self) -> int:
        """Requests that would be admitted now."""
        return max(0, self.bucket.burst_us - self.ahead_us) // self.bucket.step_us

    @property
    def reset_s(self) -> int:
        """Whole seconds until all of the quota is there again."""
        return math.ceil(self.ahead_us / SECOND_US)

    def retry_after_s(self, cost: int = 1) -> int:
        """Whole seconds, at least 1, after which a request of this cost is admitted."""
        over_us = self.ahead_us + cost * self.bucket.step_us - self.bucket.burst_us
        return max(1, math.ceil(over_us / SECOND_US))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a tenant, and how much it weighs; `lease` names one that is long under way."""

    tenant_id: str
    mode: Mode
    quota: Quota
    lease: str = ""
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """What one class of one world may do: a bucket, and how many may be under way at once.

    `inflight_max` 0 means that nothing is counted as under way.
    """

    bucket: Bucket
    inflight_max: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What every tenant may ask for in a second, by class, and hold at once.

    Test mode has `test_share` of it. `timeout_s` is after how long an image is given up.
    """

    per_s: Mapping[Quota, float] = field(
        default_factory=lambda: MappingProxyType(dict.fromkeys(Quota, 100.0))
    )
    burst_s: float = 10.0
    test_share: float = 0.1
    inflight_submits_max: int = 1_000
    timeout_s: float = 20.0

    def rule(self, quota: Quota, mode: Mode) -> Rule:
        """What holds for one class in one world."""
        share = self.test_share if mode is Mode.TEST else 1.0
        inflight_max = 0
        if quota is Quota.SUBMIT:
            inflight_max = max(1, math.floor(share * self.inflight_submits_max))
        return Rule(Bucket.of(share * self.per_s[quota], self.burst_s), inflight_max)


SHED_AT: Mapping[tuple[Mode, Quota], float] = MappingProxyType(
    {
        (Mode.TEST, Quota.OPEN): 0.3,
        (Mode.TEST, Quota.ENROL): 0.5,
        (Mode.TEST, Quota.SEARCH): 0.5,
        (Mode.TEST, Quota.LIVENESS): 0.3,
        (Mode.TEST, Quota.SUBMIT): 0.5,
        (Mode.LIVE, Quota.ENROL): 0.7,
        (Mode.LIVE, Quota.SEARCH): 0.7,
        (Mode.LIVE, Quota.LIVENESS): 0.5,
        (Mode.LIVE, Quota.OPEN): 0.85,
    }
)
"""What is refused once an image would wait for this part of the time after which it is given up.

A submission of a live session is not here: somebody stands before a camera, and its tenant was
told that there is a session. It meets only the full queue.
"""


def is_shed(quota: Quota, mode: Mode, wait_s: float, timeout_s: float) -> bool:
    """Whether this is refused while an image would wait `wait_s`."""
    share = SHED_AT.get((mode, quota))
    return share is not None and wait_s >= share * timeout_s


def shed_retry_after_s(wait_s: float) -> int:
    """Whole seconds until what waits now is done; 1 to 60."""
    return max(1, min(WAIT_S_MAX, math.ceil(wait_s)))
