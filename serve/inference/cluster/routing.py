"""Which replica an envelope goes to: the one with fewest on their way, by turns among equals.

Serve's own router goes by what replicas last said of their queues, and takes one that it has
heard of over one that it would have to ask. So a burst goes whole to one replica while the
others stand idle: with two idle replicas and four envelopes at once, all four went to the same
one in most rounds (2.60). The engine is the only caller, so what it has sent is what they have.
"""

import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)

FORGOTTEN_AFTER_S = 60.0  # twice what any image may take: that call ended unheard


class LeastLoadedRouter(FIFOMixin, RequestRouter):
    """Counts the calls that each replica has of this process."""

    def initialize_state(
        self, now_s: Callable[[], float] = time.monotonic, **_kwargs: object
    ) -> None:
        """Called by Serve once."""
        self._now_s = now_s
        self._turns = count()
        self._turn_of: dict[ReplicaID, int] = {}
        self._calls: dict[str, tuple[ReplicaID, float]] = {}

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The one replica to ask; the call counts as its from now on, not when it is sent."""
        if not candidate_replicas:
            return []
        load = Counter(replica_id for replica_id, _ in self._calls.values())
        chosen = min(
            (each.replica_id for each in candidate_replicas),
            key=lambda each: (load[each], self._turn_of.get(each, -1)),
        )
        self._turn_of[chosen] = next(self._turns)
        if pending_request is not None:
            self._calls[pending_request.metadata.internal_request_id] = chosen, self._now_s()
        self._forget({each.replica_id for each in candidate_replicas})
        return [[each for each in candidate_replicas if each.replica_id == chosen]]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: object
    ) -> None:
        """Called by Serve: a choice may have served an older call than the one it was made for.

        A call that the replica answers in one message has ended before this is said of it.
        """
        del result
        request_id = pending_request.metadata.internal_request_id
        if request_id in self._calls:
            self._calls[request_id] = replica_id, self._now_s()

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Called by Serve, however the call ended."""
        del replica_id
        self._calls.pop(internal_request_id, None)

    def _forget(self, alive: set[ReplicaID]) -> None:
        """Replicas that are gone, and calls whose end was never told."""
        self._turn_of = {each: turn for each, turn in self._turn_of.items() if each in alive}
        oldest_s = self._now_s() - FORGOTTEN_AFTER_S
        self._calls = {
            request_id: (replica_id, sent_s)
            for request_id, (replica_id, sent_s) in self._calls.items()
            if replica_id in alive and sent_s > oldest_s
        }


LEAST_LOADED = RequestRouterConfig(
    request_router_class=LeastLoadedRouter  # type: ignore[arg-type]  # a class is taken as well
)
