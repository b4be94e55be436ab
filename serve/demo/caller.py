"""HTTP as the demonstration's clients speak it: JSON out, JSON back, each with its headers."""

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from serve.errors import Code, ServeError

ANSWER_BYTES_MAX = 2**20
CALL_S_MAX = 60.0
POLL_S = 0.25
PATIENT_TRIES_MAX = 60
PATIENT_S = 0.5
MOBILE_AGENT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
DESKTOP_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON document of one answer."""

    status: int
    document: Mapping[str, Any] = field(repr=False)

    def at(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """The value at a dotted path; None where there is none. Digits count into lists."""
        found: Any = self.document
        for part in path.split("."):
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Caller:
    """One client: what it sends along with every request."""

    http: aiohttp.ClientSession
    base_url: str
    headers: Mapping[str, str] = field(repr=False)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request, never repeated.

        Raises `server_unreachable` when no answer comes, or one that is not a JSON object.
        """
        try:
            async with self.http.request(
                method, self.base_url + path, json=body, headers=self.headers,
                allow_redirects=False, timeout=aiohttp.ClientTimeout(total=CALL_S_MAX),
            ) as response:  # fmt: skip
                data = await _bounded(response.content)
                return Answer(response.status, _json_object(data))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            detail = f"{method} {path}: {type(error).__name__}"
            raise ServeError(Code.SERVER_UNREACHABLE, detail) from error

    async def call_patiently(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """The same, made again while the server says that it has no room, or no models, for now."""
        for _ in range(PATIENT_TRIES_MAX):
            answer = await self.call(method, path, body)
            if answer.status not in {429, 503}:
                break
            await asyncio.sleep(PATIENT_S)
        return answer

    async def wait_until_up(self, seconds: float) -> None:
        """Ask `/healthz` until it answers 200. Raises `server_unreachable` after `seconds`."""
        for _ in range(math.ceil(seconds / POLL_S)):
            if await self._is_up():
                return
            await asyncio.sleep(POLL_S)
        raise ServeError(Code.SERVER_UNREACHABLE, f"{self.base_url}/healthz")

    async def _is_up(self) -> bool:
        try:
            return (await self.call("GET", "/healthz")).status == 200
        except ServeError:
            return False


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    async for chunk in stream.iter_chunked(2**16):
        data += chunk
        if len(data) > ANSWER_BYTES_MAX:
            raise ValueError("a longer answer than any of Limen's")
    return bytes(data)


def _json_object(data: bytes) -> Mapping[str, Any]:
    found = json.loads(data) if data else {}
    if not isinstance(found, dict):
        raise ValueError("an answer that is no JSON object")  # noqa: TRY004 (of the other side)
    return found
