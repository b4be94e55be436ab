"""Two tenants at one door, of which one asks twenty times as much: what becomes of the other.

    python -m tests.serve.bench.fairness [--pace 1] [--seconds 60] [--engine local]

The quiet one alone; both under quotas that the flood runs into; both without, so that only the
queue before the models is fair. Real processes, real models, real Redis; selfies of 1280x720.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

from serve.bench.frames import SIZES_PX, default_photo, make_frame
from serve.bench.front_door import ENROLLED_FRAME, FRAMES, OPEN_IN_FLIGHT_MAX
from serve.bench.generator import Outcome, Plan, Sink, fire
from serve.bench.measure import describe_machine
from serve.bench.schedule import arrivals
from serve.bench.tenant import enrol, open_sessions
from tests.helpers.running import Running, running

FLOOD = 20
QUIET_SEED, FLOOD_SEED = 1, 2
Told = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's backend, connected, and the pace that it keeps."""

    name: str
    http: aiohttp.ClientSession
    per_s: float
    seed: int


async def made(data_dir: Path) -> str:
    """The test key of a second tenant."""
    command = (sys.executable, "-m", "serve", "tenant", "create", "Flood")
    options = ("--liveness-policy", "match_only", "--data-dir", str(data_dir), "--json")
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=PIPE)
    said, _ = await process.communicate()
    return str(json.loads(said)["test_api_key"])


@asynccontextmanager
async def tenants(service: Running, pace: float, number: int) -> AsyncIterator[list[Tenant]]:
    """The quiet one and the flood, customers enrolled."""
    photo = make_frame(default_photo(), SIZES_PX[ENROLLED_FRAME])
    keys = service.credentials()["test_api_key"], await made(service.data_dir)
    heads = [{"Authorization": f"Bearer {key}"} for key in keys]
    async with (
        aiohttp.ClientSession(service.url, headers=heads[0]) as quiet,
        aiohttp.ClientSession(service.url, headers=heads[1]) as flood,
    ):
        await enrol(quiet, "https://tenant.example", photo, number)
        await enrol(flood, "https://tenant.example", photo, FLOOD * number)
        yield [
            Tenant("quiet", quiet, pace, QUIET_SEED),
            Tenant("flood", flood, FLOOD * pace, FLOOD_SEED),
        ]


async def submissions(service: Running, tenant: Tenant, body: Path, seconds: float) -> Outcome:
    """Selfies at the tenant's pace, and what became of them."""
    times = arrivals(tenant.per_s, int(tenant.per_s * seconds), tenant.seed)
    tokens = await open_sessions(tenant.http, len(times), "")
    plan = Plan(
        service.url, (str(body),), tokens, tuple(times), OPEN_IN_FLIGHT_MAX, has_callbacks=False
    )
    return await fire(plan, Sink())


def told(outcome: Outcome) -> dict[str, Any]:
    """Done, refused by code, and latencies of the approved, in milliseconds."""
    seen = HdrHistogram.decode(outcome.histogram)
    return {
        "asked": sum(outcome.answers.values()),
        "answers": outcome.answers,
        "p50_ms": round(seen.get_value_at_percentile(50) / 1000),
        "p99_ms": round(seen.get_value_at_percentile(99) / 1000),
    }


async def measure(pace: float, seconds: float, engine: str) -> dict[str, Told]:
    """What both were told, by case."""
    cases: dict[str, Told] = {}
    limits = {
        "quotas": {"LIMEN_QUOTA_SUBMIT_PER_S": str(max(1, round(2 * pace))),
                   "LIMEN_QUOTA_BURST_S": "2"},
        "no quotas": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="limen-fairness-") as name:
        body = Path(name) / "body.json"
        proof = make_frame(default_photo(), SIZES_PX[FRAMES[0]])
        body.write_text(json.dumps({"proof": base64.b64encode(proof).decode()}))
        for case, settings in limits.items():
            data_dir = Path(name) / case.replace(" ", "-")
            async with running(data_dir, workers=1, engine=engine, **settings) as service:
                await service.until_ready()
                async with tenants(service, pace, int(pace * seconds)) as both:
                    if not cases:
                        alone = await submissions(service, both[0], body, seconds)
                        cases["alone"] = {"quiet": told(alone)}
                    found = await asyncio.gather(
                        *(submissions(service, tenant, body, seconds) for tenant in both)
                    )
                    cases[case] = {
                        tenant.name: told(outcome)
                        for tenant, outcome in zip(both, found, strict=True)
                    }
    return cases


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pace", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", default="local")
    options = parser.parse_args()
    cases = asyncio.run(measure(options.pace, options.seconds, options.engine))
    table = Table("case", "tenant", "asked", "answers", "p50 ms", "p99 ms")
    for case, tenants_told in cases.items():
        for name, each in tenants_told.items():
            answers = ", ".join(f"{code} {count}" for code, count in each["answers"].items())
            table.add_row(case, name, *map(str, (each["asked"], answers, each["p50_ms"])),
                          str(each["p99_ms"]))  # fmt: skip
    console = Console(width=120)
    console.print(describe_machine(), f"load {os.getloadavg()[0]:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()
