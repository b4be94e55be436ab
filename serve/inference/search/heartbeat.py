"""A holder of the index tells of itself, and does what operators wish of all holders."""

import asyncio

from serve.errors import ServeError
from serve.inference.search.holder import Holder
from serve.observe import logs
from serve.ports.search import ShardBoard

BEAT_S = 2.0
KEPT_S = 10


async def beat(holder: Holder, board: ShardBoard) -> None:
    """Every two seconds, until cancelled: put the holder's status on the board, and rebuild it
    once for each wish that came since the beginning.

    A board that cannot be reached is told with the next beat.
    """
    granted: int | None = None
    rebuilding: asyncio.Task[None] | None = None
    try:
        while True:
            try:
                await board.put(holder.status(), KEPT_S)
                wish = await board.rebuild_wish()
            except ServeError:
                pass
            else:
                granted = wish if granted is None else granted
                if wish > granted and (rebuilding is None or rebuilding.done()):
                    granted = wish
                    rebuilding = asyncio.create_task(_rebuild(holder))
            await asyncio.sleep(BEAT_S)
    finally:
        if rebuilding is not None:
            rebuilding.cancel()
            await asyncio.gather(rebuilding, return_exceptions=True)


async def _rebuild(holder: Holder) -> None:
    clock_s = asyncio.get_running_loop().time
    begun_s = clock_s()
    try:
        await holder.rebuild()
    except Exception as error:  # noqa: BLE001 (the old shard goes on)
        logs.write_error("the index could not be rebuilt", error)
        return
    seconds = round(clock_s() - begun_s, 3)
    logs.write("index rebuilt", count=holder.status().live, seconds=seconds)
