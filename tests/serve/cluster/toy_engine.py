"""An engine of toy replicas: `python -m tests.serve.cluster.toy_engine FOLDER CPUS OPTIONS`.

    <- {"address": ...}             when a replica is ready, deployed with these options
    -> {"open": {"width": 2, ...}}  a dispatcher with these limits, in place of the one before
    <- {"socket": ...}              where doors reach it
    -> {"close": {}}                when what is under way has been answered
    <- {}
    -> {"count": {}}
    <- {"calls": n, ...}            since it was last asked
    -> {"check": {"GPU": 1, ...}}   whether the cluster has these resources
    <- {"refusal": ...}             empty if it has

Ends with its input. In a process of its own because a driver dies with its node.
"""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

from serve.errors import ServeError
from serve.inference.cluster import driver
from serve.inference.cluster.head import own_head
from serve.inference.cluster.options import ReplicaOptions
from serve.inference.cluster.replica import bind
from serve.inference.dispatch import Dispatcher, Limits
from serve.inference.link.server import Work, serve_link
from serve.observe import metrics
from tests.serve.cluster.toy_replica import MODEL, ToyFaces

REPLICA = ReplicaOptions(
    cache_dir="", detector="", image_bytes_max=2**20, image_pixels_max=2**20,
    slots=1,  # as on a GPU
)  # fmt: skip
SAMPLES = {
    "calls": "limen_engine_calls_total",
    "batches": "limen_engine_batch_images_count",
    "images": "limen_engine_batch_images_sum",
    "retries": "limen_engine_retries_total",
}


def counted() -> dict[str, float]:
    return {name: metrics.REGISTRY.get_sample_value(key) or 0.0 for name, key in SAMPLES.items()}


def say(document: dict[str, Any], stream: TextIO = sys.stdout) -> None:
    """To the stdout of the start: `join` gives Ray another."""
    stream.write(json.dumps(document) + "\n")
    stream.flush()


async def refusal(wanted: dict[str, float]) -> str:
    try:
        await driver.check_room(wanted)
    except ServeError as error:
        return str(error)
    return ""


async def obey(made: driver.Driver, path: Path) -> None:
    """Do what is asked for until there is nothing more."""
    before = counted()
    async with AsyncExitStack() as engine:
        while line := await asyncio.to_thread(sys.stdin.readline):
            ((wanted, values),) = json.loads(line).items()
            if wanted == "count":
                now = counted()
                say({name: now[name] - before[name] for name in now})
                before = now
                continue
            if wanted == "check":
                say({"refusal": await refusal(values)})
                continue
            await engine.aclose()
            if wanted == "open":
                limits = Limits(**values)
                dispatcher = await engine.enter_async_context(Dispatcher(made.examine, limits))
                link = serve_link(path, Work(dispatcher, MODEL, limits.queue_max))
                await engine.enter_async_context(link)
            say({"socket": str(path)} if wanted == "open" else {})


async def main(folder: Path, cpus: int, options: dict[str, Any]) -> None:
    async with own_head(folder / "ray", os.environ, cpus) as (address, _):
        await driver.join(address)
        made = await driver.deployed(bind(REPLICA, options, ToyFaces))
        say({"address": address})
        await obey(made, folder / "faces.sock")
        await driver.leave()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
