"""Ray's own batching before a model in virtual time, for each time a batch may wait.

    python -m tests.serve.inference.ray_batching_program RATE SECONDS BATCH_MAX WAIT...

Prints a line of JSON for each wait. A process of its own, because importing Ray leaves traces:
warnings, an exception hook, a variable in the environment.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from unittest.mock import patch

from ray.serve import batching
from ray.serve.batching import _BatchQueue

from tests.serve.inference.simulation import Device, Result, VirtualLoop, offer

# Warns of settings that it looks up in the replica around it, which is not there.
REPLICA_ONLY = "_warn_if_max_batch_size_exceeds_max_ongoing_requests"


async def batched_by_ray(rate_per_s: float, seconds: float, most: int, wait_s: float) -> Result:
    """What `@serve.batch` makes of this load."""
    device = Device()

    @batching.batch(max_batch_size=most, batch_wait_timeout_s=wait_s)
    async def examine(images: list[bytes]) -> list[bytes]:
        return await device.run(images)

    return await offer(examine, device, rate_per_s, seconds)


def main(rate_per_s: float, seconds: float, batch_max: float, *waits_s: float) -> None:
    """Each wait in a world of its own."""
    for wait_s in waits_s:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda *_: None)  # Ray trips over tasks cancelled at the end
            with patch.object(batching, "time", loop), patch.object(_BatchQueue, REPLICA_ONLY):
                load = batched_by_ray(rate_per_s, seconds, int(batch_max), wait_s)
                result = runner.run(load)
        sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
