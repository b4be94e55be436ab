"""A front door over the real models, and a man before it who was rendered from one photo."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import ClientSession
from redis.asyncio import Redis

from pipeline.models.load import LoadedPack
from pipeline.render.perform import Clip
from serve.api.application import build_application
from serve.app import Models, build_deps
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.tenants import create_tenant
from serve.inference.local import Limits, LocalFaces
from serve.settings import Settings
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import (
    BOUNDLESS,
    KYC,
    ORIGIN,
    PHONE,
    Answer,
    Door,
    ScriptedFaces,
    serving,
    text,
)
from tests.helpers.search.read_index import ReadIndex

TRIGGERS = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}


@asynccontextmanager
async def real_door(link: Redis, keyring: Keyring, pack: LoadedPack) -> AsyncIterator[Door]:
    """A door with one tenant of the default policies, whom every login calls for a face."""
    settings = Settings(quota=BOUNDLESS)
    async with LocalFaces(pack.faces, Limits(2, 256, 20.0)) as faces:
        built = build_deps(link, keyring, settings, Models(faces, pack.scale, pack.scale.model_id))
        deps = replace(built, index=ReadIndex(built.face_log))
        tenant = await create_tenant(deps, "First", TenantPatch(allowed_origins=(ORIGIN,)))
        application = build_application(deps, settings)
        async with serving(application) as url, ClientSession() as client:
            door = Door(url, client, deps, tenant, tenant, ScriptedFaces())
            assert (await door.call("PATCH", f"{KYC}/preferences", TRIGGERS)).status == 200
            yield door


async def asked(door: Door, token: str) -> Answer:
    """The challenge of a session."""
    body = {"token": token}
    return await door.call("POST", f"{KYC}/face/challenge", body, key="", User_Agent=PHONE)


async def handed_in(door: Door, token: str, clip: Clip, nonce: str) -> Answer:
    """The answer to a clip."""
    frames = framed(clip.frames, clip.captured_ms)
    body = {"token": token, "proof": text(clip.frames[0]), "nonce": nonce, "frames": frames}
    return await door.call("POST", f"{KYC}/face/submit", body, key="", User_Agent=PHONE)


def framed(frames: Sequence[bytes], captured_ms: Sequence[int]) -> list[dict[str, object]]:
    """Frames and times as JSON has them."""
    return [
        {"image": text(image), "captured_ms": at_ms}
        for image, at_ms in zip(frames, captured_ms, strict=True)
    ]
