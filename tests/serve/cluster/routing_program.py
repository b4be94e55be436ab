"""The router without a cluster: `python -m tests.serve.cluster.routing_program` over JSON lines.

    ["begin"]                     a new router
    ["send", CALL, REPLICAS]      a call to be given to one of these; null is a call without a name
    ["routed", CALL, REPLICA]     Serve gave it to this one instead
    ["done", CALL]                it ended
    ["wait", SECONDS]             time passes

Prints the replica chosen for each "send", null for none. A process of its own, because importing
Ray leaves traces.
"""

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

from serve.inference.cluster.routing import LeastLoadedRouter

MAKE: Any = LeastLoadedRouter  # which has no types
DEPLOYMENT = DeploymentID("Faces", "limen")


def replica(name: str) -> Any:
    """As much of a replica as a router looks at."""
    return SimpleNamespace(replica_id=ReplicaID(name, DEPLOYMENT))


def call(name: str | None) -> Any:
    """As much of a call."""
    return name and SimpleNamespace(metadata=SimpleNamespace(internal_request_id=name))


async def main() -> None:
    """Follow the lines."""
    clock = SimpleNamespace(now_s=0.0)
    for line in sys.stdin:
        step, *words = json.loads(line)
        if step == "begin":
            router = MAKE(DEPLOYMENT, DeploymentHandleSource.UNKNOWN)
            router.initialize_state(now_s=lambda: clock.now_s)
        elif step == "send":
            ranked = await router.choose_replicas([*map(replica, words[1])], call(words[0]))
            chosen = [each.replica_id.unique_id for rank in ranked for each in rank]
            sys.stdout.write(json.dumps(chosen[0] if chosen else None) + "\n")
            sys.stdout.flush()
        elif step == "routed":
            router.on_request_routed(call(words[0]), replica(words[1]).replica_id, None)
        elif step == "done":
            router.on_request_completed(replica("any").replica_id, words[0])
        else:
            clock.now_s += words[0]


if __name__ == "__main__":
    asyncio.run(main())
