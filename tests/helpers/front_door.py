"""A front door on loopback: real HTTP, real flows, a real Redis; only the models are scripted."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
from aiohttp import ClientSession, web
from redis.asyncio import Redis

from pipeline.decision.comparison import Comparison
from pipeline.decision.policy import LivenessPolicy
from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.evidence import (
    Age,
    Box,
    Detection,
    FaceEvidence,
    Feedback,
    Missing,
    Template,
)
from pipeline.face.compare import ScoreScale
from pipeline.face.steps import SELFIE, Plan
from serve.api.application import build_application, build_runner
from serve.api.routes import ROUTES
from serve.app import Models, build_deps
from serve.bench import service
from serve.deps import Deps
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.tenants import CreatedTenant, create_tenant
from serve.sections import QuotaSection, StreamSection
from serve.settings import Server, Settings, replaced
from serve.store.vault.keyring import Keyring
from tests.helpers.builders import a_trace, face_evidence
from tests.helpers.records import MODEL, a_template
from tests.helpers.search.read_index import ReadIndex

ORIGIN = "https://tenant.example"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36"
JOHN, MARY, NOBODY, BROKEN, CROWD = b"john", b"mary", b"nobody", b"broken", b"crowd"
MATCH_MIN = 0.9
SCALE = ScoreScale(MODEL, search_floor=0.5, verify_threshold=MATCH_MIN, dimension=128)
WAIT_S = 7
BOUNDLESS = QuotaSection.model_validate(service.BOUNDLESS)
KYC = "/api/v1/kyc"
A_FACE = Detection(
    Box(200.0, 120.0, 440.0, 360.0), 0.9, np.array([[260.0, 200.0], [380.0, 200.0]], np.float32)
)
AN_AGE = Age(31.4, 25.0, 38.0, 0.8)


@dataclass(slots=True)
class ScriptedFaces:
    """Stands where the models stand: an image is the name of who is on it.

    For images of the tenants in `crowded` there is no room. `examined` counts the others, and
    `let_in` is what the door said last of those it has let in. Those of a tenant in `waits_s` would
    wait so long. While there is a `gate`, all do until it is set. Everybody is of that `age`.
    """

    crowded: set[str] = field(default_factory=set)
    waits_s: dict[str, float] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    age: Age | Missing = AN_AGE
    examined: int = 0
    let_in: int = 0

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        """Raises `overloaded` for whom there is no room."""
        self.let_in = let_in
        if tenant_id in self.crowded:
            raise ServeError(Code.OVERLOADED, "a full queue", retry_after_s=WAIT_S)

    def wait_s(self, tenant_id: str) -> float:
        """As long as the test says."""
        return self.waits_s.get(tenant_id, 0.0)

    async def examine(
        self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE
    ) -> FaceEvidence | Failure:
        """A face for each name, none on `nobody`, two on `crowd`, a failure for `broken`."""
        self.admit(tenant_id, self.let_in)
        self.examined += 1
        if self.gate is not None:
            await self.gate.wait()
        if image == BROKEN:
            return Failure(PipelineCode.IMAGE_CORRUPT, "ends early")
        trace = a_trace() if plan.trace else Missing.NOT_REQUESTED
        if image == NOBODY:
            return face_evidence(feedback=(Feedback.FACE_NOT_FOUND,), trace=trace)
        if image == CROWD:
            two = (A_FACE, A_FACE)
            return face_evidence(feedback=(Feedback.MULTI_FACE,), trace=trace, detections=two)
        return face_evidence(
            template=a_template(seed=int.from_bytes(image[:4])),
            trace=trace,
            detections=(A_FACE,),
            age=self.age if plan.age else Missing.NOT_REQUESTED,
        )

    def compare(self, reference: Template, probe: Template, /) -> Comparison:
        """The cosine, which is 1 for the same name."""
        native = float(np.dot(reference.vector, probe.vector))
        is_match = native >= MATCH_MIN
        return Comparison(native, 0.9 if is_match else 0.1, 0.36, is_match)

    @property
    def dimension(self) -> int:
        """Numbers in a template."""
        return SCALE.dimension

    def similarity(self, native: float) -> float:
        """On a scale whose search looks from half a cosine on."""
        return SCALE.similarity(native)

    def native(self, similarity: float) -> float:
        """The inverse."""
        return SCALE.native(similarity)


def deps_on(
    link: Redis,
    keyring: Keyring,
    faces: ScriptedFaces | None = None,
    quota: QuotaSection = BOUNDLESS,
) -> Deps:
    """Every real adapter of the store, scripted models, and an index without memory."""
    faces = faces or ScriptedFaces()
    base = Settings(quota=quota)
    settings = replaced(base, {"server.public_base_url": "https://limen.example"})
    built = build_deps(link, keyring, settings, Models(faces, faces, MODEL))
    return replace(built, index=ReadIndex(built.face_log))


@dataclass(frozen=True)
class Answer:
    """A response that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: Any = field(default=None)

    @property
    def code(self) -> str:
        """The code of a refusal, or an empty string."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


@dataclass(frozen=True)
class Door:
    """A running front door and two tenants behind it."""

    url: str
    client: ClientSession
    deps: Deps
    tenant: CreatedTenant
    stranger: CreatedTenant
    faces: ScriptedFaces

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Answer:
        """One request; `key` is the first tenant's test key unless given, and "" sends none."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        key = self.tenant.test_api_key if key is None else key
        if key:
            sent.setdefault("Authorization", f"Bearer {key}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        stream = None if data is None else BytesIO(data)
        async with self.client.request(method, self.url + path, data=stream, headers=sent) as got:
            read = await got.read()
            is_json = bool(read) and "json" in got.content_type
            return Answer(got.status, got.headers, json.loads(read) if is_json else read)

    async def enrol(self, image: bytes = JOHN, customer: str = "alice") -> Answer:
        """A reference face."""
        return await self.call(
            "POST", f"/api/v1/customers/{customer}/faces", {"image": text(image)}
        )

    async def open(self, **fields: object) -> Answer:
        """A session for a login of alice, whose face is enrolled."""
        body = {"reference": "order-1", "customer_id": "alice", "event": "login", **fields}
        return await self.call("POST", f"{KYC}/face/session", body)

    async def ready_token(self) -> str:
        """The token of a session that waits for a capture of john."""
        triggers = {"login": True, "password_change": True}
        wanted = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": triggers}
        assert (await self.call("PATCH", f"{KYC}/preferences", wanted)).status == 200
        assert (await self.enrol()).status in {200, 201}
        return str((await self.open()).body["token"])

    async def submit(self, token: str, image: bytes = JOHN, **headers: str) -> Answer:
        """A capture, from a phone unless `User_Agent` says otherwise."""
        headers.setdefault("User_Agent", PHONE)
        body = {"token": token, "proof": text(image)}
        return await self.call("POST", f"{KYC}/face/submit", body, key="", **headers)


def text(image: bytes) -> str:
    """An image as JSON carries it."""
    return base64.b64encode(image).decode()


@asynccontextmanager
async def front_door(link: Redis, keyring: Keyring, **server: Any) -> AsyncIterator[Door]:
    """A door with two tenants whose policy is `match_only`; `server` are settings, with a `quota`
    and a `stream` among them for those sections.
    """
    quota: QuotaSection = server.pop("quota", BOUNDLESS)
    stream: StreamSection = server.pop("stream", StreamSection())
    faces = ScriptedFaces()
    deps = deps_on(link, keyring, faces, quota)
    patch = TenantPatch(
        liveness_policy=LivenessPolicy.MATCH_ONLY,
        allowed_origins=(ORIGIN,),
        keep_reference_images=False,
    )
    tenant = await create_tenant(deps, "First", patch)
    stranger = await create_tenant(
        deps, "Second", TenantPatch(allowed_origins=("https://b.example",))
    )
    settings = Settings(server=Server(**server), quota=quota, stream=stream)
    application = build_application(deps, settings)
    async with serving(application, settings.server) as url, ClientSession() as client:
        yield Door(url, client, deps, tenant, stranger, faces)


@asynccontextmanager
async def serving(application: web.Application, server: Server | None = None) -> AsyncIterator[str]:
    """`application` behind the runner of the service, on a free port of loopback."""
    runner = build_runner(application, server or Server())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def assert_documented(answer: Answer, method: str, template: str) -> None:
    """Fail unless the table of routes names this refusal's code."""
    (route,) = (item for item in ROUTES if (item.method, item.path) == (method, template))
    assert answer.code in {str(code) for code in route.codes}, (answer.status, answer.body)
