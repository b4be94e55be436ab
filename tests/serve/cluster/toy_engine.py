"""An engine of toy replicas: `python -m tests.serve.cluster.toy_engine FOLDER REPLICAS`.

    <- {"address": ..., "socket": ...}   when a replica is ready
    -> any line                          as often as wanted
    <- {"calls": n, "batches": n, ...}   counted since the line before

Ends with its input. In a process of its own because a driver dies with its node.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TextIO

from serve.inference.cluster import driver
from serve.inference.cluster.head import own_head
from serve.inference.cluster.options import ReplicaOptions, read_plan
from serve.inference.cluster.replica import bind
from serve.inference.dispatch import Dispatcher, Limits
from serve.inference.link.server import serve_link
from serve.observe import metrics
from tests.serve.cluster.toy_replica import MODEL, ToyFaces

SLOTS = 1  # as on a GPU
QUEUE_MAX = 256
SAMPLES = {
    "calls": "limen_engine_calls_total",
    "batches": "limen_engine_batch_images_count",
    "images": "limen_engine_batch_images_sum",
    "retries": "limen_engine_retries_total",
}


def counted() -> dict[str, float]:
    return {name: metrics.REGISTRY.get_sample_value(key) or 0.0 for name, key in SAMPLES.items()}


def say(document: dict[str, object], stream: TextIO = sys.stdout) -> None:
    """To the stdout of the start: `join` gives Ray another."""
    stream.write(json.dumps(document) + "\n")
    stream.flush()


async def main(folder: Path, replicas: int) -> None:
    options = ReplicaOptions("", "", 2**20, 2**20, slots=SLOTS)
    deployment = {**read_plan(None).options, "num_replicas": replicas}
    async with own_head(folder / "ray", os.environ, replicas) as (address, _):
        await driver.join(address)
        made = await driver.deployed(bind(options, deployment, ToyFaces))
        width = 2 * SLOTS * replicas
        async with (
            Dispatcher(made.examine, Limits(QUEUE_MAX, width)) as dispatcher,
            serve_link(folder / "faces.sock", dispatcher, model_id=MODEL, queue_max=QUEUE_MAX),
        ):
            say({"address": address, "socket": str(folder / "faces.sock")})
            before = counted()
            while await asyncio.to_thread(sys.stdin.readline):
                now = counted()
                say({name: now[name] - before[name] for name in now})
                before = now
        await driver.leave()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
