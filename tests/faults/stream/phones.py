"""Phones that stream clips whatever breaks, and what became of their sessions.

A phone goes on with `resume` until it is told how its clip was judged. What is promised: a session
is told as what it then is, and no attempt is counted that was not submitted.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from pipeline.models.cache import ModelCache
from pipeline.models.load import load_faces
from serve.bench.frames import SIZES_PX, default_photo, make_frame
from serve.bench.streams.clips import Clips, actor, read_clips, write_clips
from serve.demo.caller import Answer, Caller
from serve.errors import ServeError
from serve.outbound.phone import Ended, Phone, Refused, Start, opened
from tests.faults.load import PHONE_HEADERS
from tests.faults.stage import TRIGGERS

PACE = 5.0  # frames a second
PAUSE_S = 0.3
ASKED_MAX = 200
TRIES_MAX = 200
ENDS = frozenset({200, 409, 410, 422})  # nothing more is to be had of this clip
LEASED = "submission_in_progress"  # our own, of a front door that was killed
FINISHED = frozenset({"approved", "declined", "needs_review"})


@dataclass(slots=True)
class Taken:
    """One session, how often its clip was submitted, and what was said of it last."""

    customer_id: str
    reference: str
    token: str = field(repr=False)
    submitted: int = 0
    word: str = ""


@dataclass(slots=True)
class Phones:
    """All phones of a run."""

    tenant: Caller
    clips: Clips = field(repr=False)
    reference: bytes = field(repr=False)
    taken: list[Taken] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    async def live(self, http: aiohttp.ClientSession, name: str, stop: asyncio.Event) -> None:
        """Sessions of one customer, one after the other, until `stop`; one begun is told out."""
        image = {"image": base64.b64encode(self.reference).decode()}
        await self._until("POST", f"/api/v1/customers/{name}/faces", image)
        number = 0
        while not stop.is_set():
            number += 1
            body = {"reference": f"{name}-{number}", "customer_id": name, "event": "login"}
            answer = await self._until("POST", "/api/v1/kyc/face/session", body)
            if answer.at("token") is None:
                self.ends[f"no session: {answer.status}"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            taken = Taken(name, body["reference"], str(answer.at("token")))
            self.taken.append(taken)
            await self._capture(http, taken)

    async def broken(self) -> list[str]:
        """What is not as it was told, once everything is quiet."""
        found = []
        for taken in self.taken:
            names = f"customer_id={taken.customer_id}&reference={taken.reference}"
            answer = await self._until("GET", f"/api/v1/kyc/face/sessions?{names}")
            status = str(answer.at("data.0.status"))
            attempts = int(answer.at("data.0.attempts"))
            if attempts > taken.submitted:
                found.append(f"{taken}: {attempts} attempts")
            if taken.word in FINISHED and taken.word != status:
                found.append(f"{taken}: it is {status}")
            if not taken.submitted and status in FINISHED:
                found.append(f"{taken}: it is {status}, and was never submitted")
            if taken.word == "no end of it":
                found.append(f"{taken}")
        return found

    async def _capture(self, http: aiohttp.ClientSession, taken: Taken) -> None:
        """Stream, and go on after every loss, until it is known what came of it."""
        resume = ""
        for _ in range(TRIES_MAX):
            start = Start(self.tenant.base_url, taken.token, resume, PHONE_HEADERS)
            try:
                async with opened(http, start) as phone:
                    resume = phone.stream or resume
                    ended = await self._shown(phone, taken)
            except Refused as refused:
                ended = refused.ended
            except (ConnectionError, TimeoutError, aiohttp.ClientError) as error:
                self.ends[f"lost: {type(error).__name__}"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            self.ends[ended.word] += 1
            if ended.status in ENDS and ended.word != LEASED:
                taken.word = ended.word
                return
            await asyncio.sleep(PAUSE_S)
        taken.word = "no end of it"

    async def _shown(self, phone: Phone, taken: Taken) -> Ended:
        clock_s = asyncio.get_running_loop().time
        if phone.is_open:
            clip, start_s = self.clips[phone.steps], clock_s()
            for frame, captured_ms in zip(clip.frames, clip.captured_ms, strict=True):
                await asyncio.sleep(max(0.0, start_s + captured_ms / 1_000 - clock_s()))
                await phone.offer(frame, round(1_000 * start_s) + captured_ms)
            taken.submitted += 1
        return await phone.submit()

    async def _until(self, method: str, path: str, body: dict[str, str] | None = None) -> Answer:
        """The answer, once there is one that says what happened."""
        for _ in range(ASKED_MAX):
            try:
                answer = await self.tenant.call(method, path, body)
            except ServeError:
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.status < 500:
                return answer
            await asyncio.sleep(PAUSE_S)
        raise TimeoutError(path)


def film(cache: ModelCache, folder: Path) -> tuple[Clips, bytes]:
    """A clip for each challenge, rendered from a portrait, and the photo that is enrolled."""
    photo = default_photo()
    write_clips(actor(load_faces(cache).faces, photo), folder, PACE, 1)
    return read_clips(folder), make_frame(photo, SIZES_PX["720x960"])


@asynccontextmanager
async def streaming(
    tenant: Caller, filmed: tuple[Clips, bytes], number: int
) -> AsyncIterator[Phones]:
    """So many phones at work while the block runs; afterwards each tells its session out."""
    phones, stop = Phones(tenant, *filmed), asyncio.Event()
    await tenant.call("PATCH", "/api/v1/kyc/preferences", TRIGGERS)
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        for each in range(number):
            tasks.create_task(phones.live(http, f"phone-{each}", stop))
        yield phones
        stop.set()
