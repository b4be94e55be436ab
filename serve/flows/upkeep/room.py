"""Watch how much room the store has, so that an operator reads it and hears of a change."""

import asyncio
import logging
from contextlib import suppress

from serve.deps import Deps
from serve.domain.headroom import Shortage
from serve.errors import ServeError
from serve.observe import logs

LOOK_S = 5.0


async def run_watch(deps: Deps, stop: asyncio.Event) -> None:
    """Look every few seconds until `stop` is set; each look renews what the metrics show."""
    before: Shortage | None = None
    while not stop.is_set():
        with suppress(ServeError):  # an outage is told of by whoever needs the store
            before = tell(before, await deps.headroom.short_of())
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


def tell(before: Shortage | None, now: Shortage | None) -> Shortage | None:
    """Write a change to the log; what there is too little of now."""
    if now is not None and now is not before:
        logs.write("store short of room", level=logging.WARNING, reason=now)
    elif before is not None and now is None:
        logs.write("store has room again", reason=before)
    return now
