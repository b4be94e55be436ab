"""A front door with scripted faces that move, and a client that may break every rule."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from redis.asyncio import Redis

from pipeline.decision.policy import LivenessPolicy
from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Measure, Mesh, Quality
from pipeline.face.steps import SELFIE, Plan
from pipeline.liveness.challenge import Step
from serve.api.application import build_application
from serve.deps import Deps
from serve.domain.liveness.credits import CREDITS, EXAMINED_MAX
from serve.domain.liveness.wire import STREAM_PATH, SUBPROTOCOL, Frame, write_frame
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.tenants import create_tenant
from serve.sections import StreamSection
from serve.settings import Server, Settings
from serve.store.vault.keyring import Keyring
from tests.helpers import front_door as plain
from tests.helpers.builders import a_trace, face_evidence
from tests.helpers.front_door import BOUNDLESS, KYC, ORIGIN, PHONE, Door, ScriptedFaces, serving
from tests.helpers.records import a_template
from tests.pipeline.liveness import heads

WAIT_S = 20.0  # for what comes in milliseconds
STEP_MS = 100


@dataclass(slots=True)
class MovingFaces(ScriptedFaces):
    """An image is who is on it, and after a bar how the head is held. The next `troubles` frames
    are refused.
    """

    troubles: list[Exception] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    async def examine(
        self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE
    ) -> FaceEvidence | Failure:
        """A face that moves, for a frame; else what its base says."""
        name, _, held = image.partition(b"|")
        if not plan.trace:
            return await ScriptedFaces.examine(self, name, tenant_id=tenant_id, plan=plan)
        self.frames.append(image)
        if self.troubles:
            raise self.troubles.pop(0)
        found = await ScriptedFaces.examine(self, name, tenant_id=tenant_id, plan=plan)
        if isinstance(found, Failure) or not held:
            return found
        return _moved(json.loads(held))


def _moved(way: Sequence[float]) -> FaceEvidence:
    number, angles = int(way[0]), heads.Held(*way[1:])
    seen = heads.seen(angles, np.random.default_rng(number))
    return face_evidence(
        detections=(plain.A_FACE,),
        mesh=Mesh(seen.points, 1.0),
        pose=seen.pose,
        quality=(
            Quality(Measure.EYES_OPEN, 90, seen.eyes_open),
            Quality(Measure.MOUTH_CLOSED, 90, seen.mouth_open),
        ),
        template=a_template(),
        trace=a_trace(100 + number % 40),
    )


def clip(who: bytes, steps: Sequence[str]) -> list[bytes]:
    """Frames of somebody who does what is asked, 100 ms apart."""
    way = heads.poses([Step(step) for step in steps])
    return [
        who + b"|" + json.dumps([n, h.yaw, h.pitch, h.roll, h.shut, h.gape]).encode()
        for n, h in enumerate(way)
    ]


@dataclass
class Talk:
    """One WebSocket, message by message. `heard` is all that came."""

    socket: ClientWebSocketResponse
    heard: list[dict[str, Any]] = field(default_factory=list)
    nonce: bytes = b""
    seq: int = 0
    credits: int = 0

    async def start(self, token: str, **more: object) -> dict[str, Any]:
        """Say the first message; the first that is said to it."""
        await self.socket.send_json({"type": "start", "token": token, **more})
        first = await self.hear()
        if first["type"] == "hello":
            self.nonce = bytes.fromhex(first["nonce"])
            self.seq, self.credits = first["next"], first["credits"]
        return first

    async def hear(self) -> dict[str, Any]:
        """The next message; `closed` where none follows."""
        async with asyncio.timeout(WAIT_S):
            received = await self.socket.receive()
        if received.type is not WSMsgType.TEXT:
            return {"type": "closed"}
        message: dict[str, Any] = json.loads(received.data)
        self.heard.append(message)
        self.credits += message.get("credits", 0) if message["type"] == "credits" else 0
        return message

    async def hear_until(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        while (message := await self.hear())["type"] != kind:
            assert message["type"] != "closed", (self.socket.close_code, self.heard)
        return message

    async def frame(self, image: bytes, captured_ms: int | None = None) -> int:
        """Send the next frame, credit or not; its sequence."""
        seq, self.seq = self.seq, self.seq + 1
        at_ms = seq * STEP_MS if captured_ms is None else captured_ms
        self.credits -= 1
        await self.socket.send_bytes(write_frame(Frame(seq, at_ms, image), self.nonce))
        return seq

    async def show(self, images: Sequence[bytes]) -> None:
        """Send frames one after the other, as fast as they are looked at and none is dropped."""
        for image in images:
            while self.credits <= CREDITS - EXAMINED_MAX:
                await self.hear()
            await self.frame(image)

    async def submit(self) -> dict[str, Any]:
        """Hand it in; the answer."""
        await self.socket.send_json({"type": "submit"})
        while (message := await self.hear())["type"] not in {"done", "problem", "closed"}:
            pass
        return message

    async def closing(self) -> tuple[int | None, str]:
        """The closing code, and the code of the problem before it, if there was one."""
        problem = ""
        async with asyncio.timeout(WAIT_S):
            async for received in self.socket:
                if received.type is WSMsgType.TEXT:
                    message = json.loads(received.data)
                    self.heard.append(message)
                    if message["type"] == "problem":
                        problem = str(message["problem"]["code"])
        return self.socket.close_code, problem


@asynccontextmanager
async def stream_door(
    link: Redis, keyring: Keyring, deps: Deps | None = None, inflight: int = 2**28, **stream: Any
) -> AsyncIterator[Door]:
    """A door with two tenants whose policy is `match_only`; `stream` are settings of the section.

    One over the `deps` of another is another door of the same install. It holds `inflight` bytes.
    """
    faces = MovingFaces()
    deps = deps or plain.deps_on(link, keyring, faces)
    patch = TenantPatch(liveness_policy=LivenessPolicy.MATCH_ONLY, allowed_origins=(ORIGIN,))
    tenant = await create_tenant(deps, "First", patch)
    other = TenantPatch(allowed_origins=("https://b.example",))
    stranger = await create_tenant(deps, "Second", other)
    server = Server(inflight_bytes_max=inflight)
    settings = Settings(server=server, quota=BOUNDLESS, stream=StreamSection(**stream))
    application = build_application(deps, settings)
    async with serving(application, server) as url, ClientSession() as client:
        found = deps.faces
        assert isinstance(found, MovingFaces)
        yield Door(url, client, deps, tenant, stranger, found)


@asynccontextmanager
async def talking(door: Door, **headers: str) -> AsyncIterator[Talk]:
    """A WebSocket to a door, before its first message; from a phone unless said otherwise."""
    sent: Mapping[str, str] = {"User-Agent": PHONE, **headers}
    url = door.url + STREAM_PATH
    async with door.client.ws_connect(url, protocols=(SUBPROTOCOL,), headers=sent) as socket:
        yield Talk(socket)


def faces_of(door: Door) -> MovingFaces:
    """What stands where its models stand."""
    assert isinstance(door.faces, MovingFaces)
    return door.faces


async def told(door: Door, token: str) -> tuple[str, int]:
    """How the session stands, and how many attempts are left."""
    answer = await door.call("GET", f"{KYC}/face/verify/{token}", key="")
    return answer.body["status"], answer.body["data"]["retries_remaining"]
