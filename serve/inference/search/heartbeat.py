"""A holder of the index tells of itself, and does what operators wish of all holders."""

import asyncio
from dataclasses import replace

from serve.errors import ServeError
from serve.inference.search.follower import end
from serve.inference.search.holder import Holder
from serve.observe import logs
from serve.ports.search import ShardBoard

BEAT_S = 2.0
KEPT_S = 10


async def beat(holder: Holder, board: ShardBoard, every_s: float = BEAT_S) -> None:
    """Again and again, until cancelled: put the holder's status on the board, and rebuild it
    once for each wish that came since the beginning.

    A board that cannot be reached is told with the next beat.
    """
    granted: int | None = None
    fulfilled = 0
    rebuilding: asyncio.Task[bool] | None = None
    try:
        while True:
            holder.measure()
            try:
                wish = await board.rebuild_wish()
                if granted is None:  # what was wished for before we began is fulfilled
                    granted = fulfilled = wish
                if rebuilding is not None and rebuilding.done():
                    if rebuilding.result():
                        fulfilled = granted
                    granted, rebuilding = fulfilled, None  # what failed is tried again
                if wish > granted and rebuilding is None:
                    granted = wish
                    rebuilding = asyncio.create_task(_rebuild(holder))
                await board.put(replace(holder.status(), wish=fulfilled), KEPT_S)
            except ServeError:
                pass
            await asyncio.sleep(every_s)
    finally:
        if rebuilding is not None:
            await end([rebuilding])


async def _rebuild(holder: Holder) -> bool:
    """Whether it could be."""
    clock_s = asyncio.get_running_loop().time
    begun_s = clock_s()
    try:
        await holder.rebuild()
    except Exception as error:  # noqa: BLE001 (the old shard goes on)
        logs.write_error("the index could not be rebuilt", error)
        return False
    seconds = round(clock_s() - begun_s, 3)
    logs.write("index rebuilt", count=holder.status().live, seconds=seconds)
    return True
