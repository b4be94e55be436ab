"""How much one receiver gets at once, so that a dead one costs nobody else anything.

An endpoint is a tenant's host: at most 8 attempts are under way to it, and of all attempts one
tenant has at most a quarter. After 20 failures in a row it is only probed, once a minute; a
receiver that asks for a pause gets one. `now_s` is any clock that never goes back.
"""

from collections import Counter
from dataclasses import dataclass

from serve.domain.tenancy.tenant import origin_of

ENDPOINT_INFLIGHT_MAX = 8
TENANT_SHARE = 4  # a tenant has at most one of so many parts
FAILURES_MAX = 20
PROBE_S = 60.0
WAIT_S_MIN = 0.05
WAIT_S_MAX = 60.0
ENDPOINTS_KEPT = 10_000
FIRST_GUESS_S = 0.05
LEARNING_RATE = 0.2

Key = tuple[str, str]


@dataclass(slots=True)
class _Endpoint:
    inflight: int = 0
    failures: int = 0
    resume_s: float = 0.0
    mean_s: float = FIRST_GUESS_S  # of an attempt
    turn_s: float = 0.0  # when the last one that was put off is expected to have its turn


class Endpoints:
    """Admits attempts, at most `inflight_max` at once, and learns from how they end."""

    def __init__(self, inflight_max: int) -> None:
        self._inflight_max = inflight_max
        self._tenant_max = max(ENDPOINT_INFLIGHT_MAX, inflight_max // TENANT_SHARE)
        self._tenants: Counter[str] = Counter()
        self._endpoints: dict[Key, _Endpoint] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    @property
    def has_room(self) -> bool:
        """Whether any attempt at all could start."""
        return self._tenants.total() < self._inflight_max

    def admit(self, key: Key, now_s: float) -> float:
        """0 if an attempt may start now, which counts it; else the seconds to put it off.

        Those put off for want of room get one turn after the other, at the endpoint's own pace.
        """
        endpoint = self._endpoints.setdefault(key, _Endpoint())
        if now_s < endpoint.resume_s:
            return max(WAIT_S_MIN, endpoint.resume_s - now_s)
        limit = 1 if endpoint.failures >= FAILURES_MAX else ENDPOINT_INFLIGHT_MAX
        tenant_id, _ = key
        if (
            endpoint.inflight < limit
            and self._tenants[tenant_id] < self._tenant_max
            and self.has_room
        ):
            endpoint.inflight += 1
            self._tenants[tenant_id] += 1
            return 0.0
        turn_s = max(now_s + WAIT_S_MIN, endpoint.turn_s + endpoint.mean_s / limit)
        endpoint.turn_s = min(turn_s, now_s + WAIT_S_MAX)
        return endpoint.turn_s - now_s

    def release(
        self, key: Key, now_s: float, *, seconds: float, is_delivered: bool, pause_s: float = 0.0
    ) -> None:
        """An attempt has ended after `seconds`; `pause_s` is what the receiver asked for."""
        tenant_id, _ = key
        endpoint = self._endpoints[key]
        endpoint.inflight -= 1
        self._tenants[tenant_id] -= 1
        if not self._tenants[tenant_id]:
            del self._tenants[tenant_id]
        endpoint.mean_s += LEARNING_RATE * (seconds - endpoint.mean_s)
        endpoint.failures = 0 if is_delivered else endpoint.failures + 1
        if endpoint.failures >= FAILURES_MAX:
            pause_s = PROBE_S
        endpoint.resume_s = now_s + min(pause_s, PROBE_S)
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        """Drop the oldest idle endpoints beyond the limit."""
        if len(self._endpoints) <= ENDPOINTS_KEPT:
            return
        for key, endpoint in list(self._endpoints.items())[: ENDPOINTS_KEPT // 10]:
            if not endpoint.inflight and endpoint.resume_s <= now_s:
                del self._endpoints[key]


def endpoint_of(tenant_id: str, url: str) -> Key:
    """The endpoint that `url` belongs to."""
    try:
        return tenant_id, origin_of(url)
    except ValueError:
        return tenant_id, ""
