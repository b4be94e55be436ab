"""A service as an operator runs it, all it says kept, and a tenant with canaries for everything."""

import asyncio
import base64
import json
import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from pipeline.evidence import FaceEvidence, Template
from pipeline.face.steps import Plan
from pipeline.image.decode import encode_jpeg
from serve.app import open_pipeline
from serve.demo.caller import MOBILE_AGENT, Caller
from serve.flows.customers import CHIP_QUALITY
from serve.settings import load
from tests.helpers.running import LIMITS
from tests.helpers.tree import ROOT, run
from tests.secrecy.canaries import WINDOW_BYTES, windows

LIMEN = (sys.executable, "-m", "serve")
START_S_MAX = 120.0
POLL_S = 0.1
_LISTENS = re.compile(r"listening on (http://\S+)")
TRIGGERS = {"is_reuse_kyc_enabled": True, "reuse_kyc_triggers": {"login": True}}


@dataclass(frozen=True, slots=True)
class Served:
    """A running service: where it listens, its first process, and the file of all it said."""

    url: str
    process: psutil.Process
    log: Path
    data_dir: Path

    def processes(self) -> list[psutil.Process]:
        """All that belong to it now."""
        return [self.process, *self.process.children(recursive=True)]

    def told(self) -> Iterator[tuple[str, bytes]]:
        """Command line and environment of each process, as anybody of this user may read them."""
        for process in self.processes():
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    path = Path(f"/proc/{process.pid}/{name}")
                    yield str(path), path.read_bytes()


@asynccontextmanager
async def served(data_dir: Path, engine: str = "local", **settings: str) -> AsyncIterator[Served]:
    """`limen run` on a free port until the block ends, then stopped as an operator does."""
    log = data_dir.parent / f"said-{secrets.token_hex(4)}.log"
    command = (*LIMEN, "run", "--data-dir", str(data_dir), "--port", "0", "--engine", engine)
    with log.open("wb") as stream:
        child = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **LIMITS, **settings}, cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL, stdout=stream, stderr=stream,
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_S_MAX):
            while (found := _LISTENS.search(log.read_text())) is None:
                assert child.returncode is None, log.read_text()
                await asyncio.sleep(POLL_S)
        yield Served(found[1], psutil.Process(child.pid), log, data_dir)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await child.wait()


def limen(*arguments: str, data_dir: Path) -> dict[str, Any]:
    """What a command prints with `--json`."""
    ran = run("-m", "serve", *arguments, "--json", "--data-dir", str(data_dir))
    assert ran.returncode == 0, ran
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@dataclass(slots=True)
class Shop:
    """A tenant of the service and its customers' phones; `canaries` is what must show nowhere."""

    tenant: dict[str, Any]
    canaries: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def made(cls, data_dir: Path) -> "Shop":
        """A tenant made by command, before the service runs; approves on the match alone."""
        tenant = limen(
            "tenant", "create", "Shop", "--liveness-policy", "match_only", "--origin",
            "http://127.0.0.1:9", data_dir=data_dir,
        )  # fmt: skip
        shop = cls(tenant)
        for name in ("api_key", "test_api_key"):
            shop.canaries[name] = tenant[name][-43:].encode()
        secret = tenant["webhook_secret"].removeprefix("whsec_")
        shop.canaries["webhook_secret"] = secret.encode()
        shop.canaries["webhook_secret, decoded"] = base64.b64decode(secret)
        return shop

    def word(self, kind: str) -> str:
        """A fresh canary for something that the service is told."""
        word = f"canary-{kind}-{secrets.token_hex(12)}"
        self.canaries[f"{kind} {word[-6:]}"] = word.encode()
        return word

    @asynccontextmanager
    async def visiting(self, url: str) -> AsyncIterator["Visit"]:
        """The tenant's backend and a phone, at a service."""
        async with aiohttp.ClientSession() as http:
            key = {"Authorization": f"Bearer {self.tenant['test_api_key']}"}
            phone = {"User-Agent": f"{MOBILE_AGENT} {self.word('agent')}"}
            visit = Visit(self, Caller(http, url, key), Caller(http, url, phone))
            answer = await visit.backend.call("PATCH", "/api/v1/kyc/preferences", TRIGGERS)
            assert answer.status == 200, answer
            yield visit


@dataclass(slots=True)
class Visit:
    """What a tenant and a customer do."""

    shop: Shop
    backend: Caller
    phone: Caller

    async def enrol(self, customer_id: str, photo: bytes) -> str:
        """A customer with a reference face; its id."""
        path = f"/api/v1/customers/{customer_id}/faces"
        body = {
            "image": _text(photo),
            "consent_id": self.shop.word("consent"),
            "signals": {"phone": self.shop.word("signal")},
        }
        answer = await self.backend.call("POST", path, body)
        assert answer.status == 201, answer
        return str(answer.at("face_id"))

    async def verify(self, customer_id: str, photo: bytes) -> tuple[str, str]:
        """A session opened and judged: its id and what came of it."""
        key = {**self.backend.headers, "Idempotency-Key": self.shop.word("idempotency")}
        backend = Caller(self.backend.http, self.backend.base_url, key)
        body = {
            "reference": self.shop.word("reference"),
            "customer_id": customer_id,
            "event": "login",
            "callback_url": f"http://127.0.0.1:9/{self.shop.word('callback')}",
        }
        opened = await backend.call("POST", "/api/v1/kyc/face/session", body)
        assert opened.status == 200, opened
        again = await backend.call("POST", "/api/v1/kyc/face/session", body)
        assert again.document == opened.document
        token = str(opened.at("token"))
        self.shop.canaries[f"token {token[:9]}"] = token[-43:].encode()
        proof = {"token": token, "proof": _text(photo)}
        judged = await self.phone.call("POST", "/api/v1/kyc/face/submit", proof)
        assert judged.status == 200, judged
        return str(judged.at("resource_id")), str(judged.at("status"))

    async def again(self, customer_id: str, photo: bytes) -> str:
        """A verification created, and the customer verified again by their token; its status."""
        wanted = {
            "customer_id": customer_id,
            "reference": self.shop.word("reference"),
            "applicant": {
                "name": self.shop.word("name"),
                "email": f"{self.shop.word('email')}@example.org",
            },
        }
        made = await self.backend.call("POST", "/api/v1/verifications", wanted)
        assert made.status == 201, made
        path = f"/api/v1/customers/{customer_id}/identity-token"
        token = str((await self.backend.call("POST", path)).at("token"))
        self.shop.canaries[f"token {token[:9]}"] = token[-43:].encode()
        body = {"token": token, "selfie": _text(photo)}
        repeated = await self.backend.call("POST", "/api/v1/reverify", body)
        assert repeated.status == 201, repeated
        return str(repeated.at("status"))

    async def status(self, customer_id: str) -> str:
        """The customer's `kyc_status`."""
        path = f"/api/v1/kyc/status?customer_id={customer_id}"
        return str((await self.backend.call("GET", path)).at("kyc_status"))

    async def erase(self, customer_id: str) -> None:
        """Everything of the customer's is gone."""
        answer = await self.backend.call("DELETE", f"/api/v1/customers/{customer_id}")
        assert answer.status == 200, answer


def canaries_of(photo: bytes) -> dict[str, bytes]:
    """What a photo must not be known by: its bytes, its aligned chip, its template."""
    opened = open_pipeline(load())
    (evidence,) = opened.run([photo], Plan(age=False, chip=True))
    assert isinstance(evidence, FaceEvidence)
    assert isinstance(evidence.template, Template)
    assert evidence.chip is not None
    vector = np.ascontiguousarray(evidence.template.vector, dtype="<f4").tobytes()
    numbers = json.dumps([float(number) for number in evidence.template.vector[40:43]])
    return {
        **windows("photo", photo),
        **windows("chip", encode_jpeg(evidence.chip, CHIP_QUALITY)),
        **windows("pixels of the chip", evidence.chip.tobytes()),
        **{f"template@{at}": vector[at : at + WINDOW_BYTES] for at in range(0, 480, 96)},
        "template in words": numbers[1:-1].encode(),
    }


def keys_of(folder: Path) -> dict[str, bytes]:
    """Every secret in the keys folder, by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size == 32
    }


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode()
