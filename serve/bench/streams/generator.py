"""The phones of `limen bench stream`, in a process of their own.

    -> {"play": a `Play`} or {"hold": a `Hold`}, one line of JSON, until the input ends
    <- a `Played` when its streams have ended; a `Held` when its sockets are open, and once more
       when they are closed, which they are at the next line

Clips were rendered before, sessions opened before: what runs while the clock runs is the protocol.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from serve.bench.streams.crowd import Hold, hold
from serve.bench.streams.play import Play, play

Line = Callable[[], Awaitable[str]]


async def obey(line: Line, say: Callable[[dict[str, Any]], None]) -> None:
    """Do what each line asks for, one after the other, until an empty one."""
    while text := await line():
        asked: dict[str, Any] = json.loads(text)
        if "play" in asked:
            say(asdict(await play(Play.of(asked["play"]), time.process_time)))
            continue
        async with hold(Hold.of(asked["hold"])) as held:
            say(asdict(held))
            await line()
        say(asdict(held))


async def _line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(obey(_line, _say))
