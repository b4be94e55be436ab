"""An engine of shards: `python -m tests.serve.shards.shard_engine FOLDER DATA_DIR SHARDS`.

    <- {"socket": ...}                 when every shard is ready: where doors reach them
    -> {"scale": n}                    and wait until it is so
    <- {}
    -> {"move": [partition, target]}
    <- {}
    -> {"statuses": null}
    <- {"name": pid, ...}              of the shards that answer

Ends with its input. In a process of its own because a driver dies with its node.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from serve.app import open_face_log
from serve.inference.cluster import driver
from serve.inference.cluster.head import own_head
from serve.inference.cluster.shards import ActorShards
from serve.inference.dispatch import Dispatcher
from serve.inference.dispatch import Limits as DispatchLimits
from serve.inference.link.server import Work, serve_link
from serve.inference.parcels import Parcel, Report
from serve.inference.search.director import Director, directed
from serve.inference.search.holder import Limits
from serve.settings import State

MODEL = "toy"
LIMITS = Limits(wait_s=5.0, queue_max=1_024, threads=1)


def say(document: dict[str, Any], stream: TextIO = sys.stdout) -> None:
    """To the stdout of the start: `join` gives Ray another."""
    stream.write(json.dumps(document) + "\n")
    stream.flush()


async def nobody(envelope: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
    """There are no replicas here."""
    raise NotImplementedError


async def obey(index: Director) -> None:
    """Do what is asked for until there is nothing more."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        ((wanted, value),) = json.loads(line).items()
        if wanted == "scale":
            await index.scale(value)
        elif wanted == "move":
            await index.move(*value)
        statuses = await index.statuses() if wanted == "statuses" else ()
        say({status.name.partition("@")[0]: status.pid for status in statuses})


async def main(folder: Path, state: State, number: int) -> None:
    opening = partial(open_face_log, state)
    async with own_head(folder / "ray", os.environ, 1) as (address, _):
        await driver.join(address)
        async with (
            opening() as (_, board),
            directed(
                ActorShards(opening, LIMITS, is_here=True), number, LIMITS.wait_s,
                board.shards_wish,
            ) as index,
            Dispatcher(nobody, DispatchLimits(1, 1)) as dispatcher,
            serve_link(folder / "faces.sock", Work(dispatcher, MODEL, 1, index)),
        ):  # fmt: skip
            await index.until_ready()
            say({"socket": str(folder / "faces.sock")})
            await obey(index)
        await driver.leave()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), State(data_dir=Path(sys.argv[2])), int(sys.argv[3])))
