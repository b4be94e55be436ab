"""One front-door process of a running service: its memory, its connections, its requests."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.helpers.running import Running, running


@dataclass(frozen=True, slots=True)
class DoorProcess:
    """The only door of a service, the demo tenant's test key, and a client."""

    service: Running
    http: aiohttp.ClientSession
    process: psutil.Process

    @property
    def headers(self) -> dict[str, str]:
        """Of a request in the demo tenant's name."""
        return {"Authorization": f"Bearer {self.service.credentials()['test_api_key']}"}

    def memory_bytes(self) -> int:
        """What is resident now."""
        return int(self.process.memory_info().rss)

    def forget_peak(self) -> None:
        """Let the peak of its memory begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most that was resident since then."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (found,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(found) * 1024

    async def connections(self) -> int:
        """Connections that it holds, by its own count."""
        text = await self.service.service.metrics(self.http)
        (found,) = re.findall(r"^limen_connections (\S+)$", text, re.MULTILINE)
        return int(float(found))

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of one request."""
        data = None if body is None else BytesIO(json.dumps(body).encode())
        headers = {**self.headers, "Content-Type": "application/json"}
        async with self.http.request(
            method, self.service.url + path, data=data, headers=headers
        ) as answer:
            return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def door_process(folder: Path, **settings: str) -> AsyncIterator[DoorProcess]:
    """A service with one door that holds the models itself."""
    async with (
        running(folder / "var", 1, "local", **settings) as service,
        aiohttp.ClientSession() as http,
    ):
        await service.until_ready()
        (door,) = [process for role, process in service.processes() if role == "front door"]
        yield DoorProcess(service, http, door)
