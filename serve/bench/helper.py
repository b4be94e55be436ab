"""A process of a benchmark's own that is told by lines of JSON and answers by lines of JSON."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

LINE_BYTES_MAX = 2**20


@dataclass(frozen=True, slots=True)
class Helper:
    """The process, and the two ends of what is said."""

    process: Process

    async def ask(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Say one line; its next one."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        await self.process.stdin.drain()
        return await self.said()

    async def said(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        return found


@asynccontextmanager
async def helper(module: str) -> AsyncIterator[Helper]:
    """`python -m module` until the block ends: it ends with its input."""
    command = (sys.executable, "-m", module)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
    )
    assert process.stdin is not None
    try:
        yield Helper(process)
    finally:
        process.stdin.close()
        await process.wait()
