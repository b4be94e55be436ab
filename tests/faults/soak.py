"""The long run: a real service at about half load, broken every few seconds, its word checked.

    python -m tests.faults.soak [--minutes M] [--engine local|ray] [--seed N] [--streams N]
                                [--json FILE]

Front door, worker and Redis are killed, Redis is frozen, its connections reset and slowed, and
replies of changes are lost after they were carried out. Beside the clients that submit selfies,
phones stream clips and go on where they were cut off. Exit status 1 when a promise was broken.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from pipeline.models.cache import ModelCache
from serve.demo.receiver import Receiver
from serve.settings import load
from serve.store.scripts import COMMIT
from tests.faults.history import History
from tests.faults.proxy import FaultProxy, Faults, Lane, Trouble, proxied, troubles
from tests.faults.slopes import Holdings
from tests.faults.stage import broken_promises, loaded, open_clients, take_photos
from tests.faults.store.servers import Server, server
from tests.faults.stream.phones import film, streaming
from tests.helpers.running import Running, running

WEIGHTS = {
    "lost replies": 4, "reset": 2, "slow": 2, "frozen redis": 2, "killed redis": 1,
    "killed front door": 1, "killed worker": 1,
}  # fmt: skip
AFTER_S, LASTS_S = (2.0, 6.0), (0.5, 3.0)
SLOW = Faults(Lane(latency_s=0.05), Lane(latency_s=0.05))
SAMPLE_S, TELL_S = 5.0, 30.0
CLIENTS = 4
STREAMS = 2
REST = 1.0  # as long as the work: half of what they could ask
KINDS = {
    "lost": ("lost", "callbacks of them", "still known", "0 erasures", "0 enrolments"),
    "doubled": ("twice", "different callbacks", "told of", "counted", "enrolments", "erasures"),
}


@dataclass(slots=True)
class Soak:
    """One run and what came of it."""

    seed: int
    minutes: float
    service: Running
    redis: Server
    proxy: FaultProxy
    history: History = field(default_factory=History)
    holdings: Holdings = field(default_factory=Holdings)
    done: Counter[str] = field(default_factory=Counter)
    missed: int = 0  # faults that found nobody to harm

    async def break_things(self, stop: asyncio.Event) -> None:
        """Faults by the seed's schedule until `stop`."""
        chance = random.Random(self.seed)  # noqa: S311
        for trouble in troubles(chance, WEIGHTS, AFTER_S, LASTS_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(trouble.after_s):
                    await stop.wait()
            if stop.is_set():
                return
            await self._do(trouble)
            self.done[trouble.kind] += 1

    async def _do(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "lost replies":
                self.proxy.lose_replies(COMMIT.sha1.encode(), 1 + int(trouble.lasts_s))
            case "reset":
                self.proxy.reset()
            case "slow":
                self.proxy.faults = SLOW
                await asyncio.sleep(trouble.lasts_s)
                self.proxy.heal()
            case "frozen redis":
                self.redis.freeze()
                await asyncio.sleep(trouble.lasts_s)
                self.redis.thaw()
            case "killed redis":
                await self.redis.kill()
                await self.redis.start()
            case _:
                self._kill(trouble.kind.removeprefix("killed "))

    def _kill(self, role: str) -> None:
        """The youngest, so that the others live long enough to show what they hoard."""
        found = [process for its, process in self.service.processes() if its == role]
        with suppress(psutil.Error, ValueError):
            max(found, key=lambda process: process.create_time()).kill()
            return
        self.missed += 1

    async def watch(self, stop: asyncio.Event) -> None:
        """Note what the processes hold, and tell how far the run is."""
        clock_s = asyncio.get_running_loop().time
        began_s = told_s = clock_s()
        while not stop.is_set():
            now_s = clock_s()
            with suppress(psutil.Error):
                self.holdings.note(now_s - began_s, self._processes())
            if now_s - told_s >= TELL_S:
                told_s = now_s
                print(
                    f"{(now_s - began_s) / 60:5.1f} of {self.minutes:g} min:"
                    f" {self.history.acknowledged.total()} acknowledged,"
                    f" {self.history.unknown.total()} unknown, {self.done.total()} faults",
                    flush=True,
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_S):
                    await stop.wait()

    def _processes(self) -> list[tuple[str, psutil.Process]]:
        return [*self.service.processes(), ("redis", psutil.Process(self.redis.pid))]


async def main(given: argparse.Namespace) -> int:
    """One run; the exit status."""
    minutes, engine, seed = given.minutes, given.engine, given.seed
    cache = ModelCache(load().models.cache_dir)
    photos = take_photos(cache)
    print(f"soak: {minutes:g} minutes, engine {engine}, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="limen-soak-") as name:
        folder = Path(name)
        filmed = film(cache, folder / "clips")
        async with (
            server(folder / "redis") as redis,
            proxied(redis.socket, folder / "proxy.sock") as proxy,
            running(
                folder / "var", workers=2, engine=engine,
                LIMEN_STATE_REDIS_URL=f"unix://{folder}/proxy.sock", LIMEN_STATE_TIMEOUT_S="1",
            ) as service,
            Receiver(service.credentials()["webhook_secret"]) as receiver,
            aiohttp.ClientSession() as http,
        ):  # fmt: skip
            soak = Soak(seed, minutes, service, redis, proxy)
            opened = await open_clients(service, http, receiver, photos, soak.history)
            clients, stop = replace(opened, rest=REST), asyncio.Event()
            async with (
                loaded(clients, seed, CLIENTS),
                streaming(clients.tenant, filmed, given.streams) as phones,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(soak.watch(stop))
                tasks.create_task(soak.break_things(stop))
                await asyncio.sleep(60 * minutes)
                stop.set()
            proxy.heal()
            await service.until_ready()
            await redis.make_due()
            print("quiet now: what was said is compared with what is there", flush=True)
            found = [*await broken_promises(clients, receiver), *await phones.broken()]
            result = outcome(soak, engine, found, await redis.overdue(), receiver.refused)
    result |= {"streamed": len(phones.taken), "streams": dict(phones.ends)}
    tell(result)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if found or result["refused_signatures"] else 0


def outcome(
    soak: Soak, engine: str, found: list[str], overdue: int, refused: int
) -> dict[str, Any]:
    """All figures of a run."""
    kinds = Counter(
        next(
            (kind for kind, words in KINDS.items() if any(w in line for w in words)), "contradicted"
        )
        for line in found
    )
    return {
        "minutes": soak.minutes, "seed": soak.seed, "engine": engine,
        "faults": dict(soak.done), "customers": len(soak.history.journeys),
        "acknowledged": {str(verb): n for verb, n in soak.history.acknowledged.items()},
        "unknown": {str(verb): n for verb, n in soak.history.unknown.items()},
        **{kind: kinds[kind] for kind in ("lost", "doubled", "contradicted")},
        "broken_promises": found, "refused_signatures": refused, "callbacks_overdue": overdue,
        "slopes": {role: asdict(slope) for role, slope in soak.holdings.slopes().items()},
    }  # fmt: skip


def tell(result: dict[str, Any]) -> None:
    """The table of a run."""
    acknowledged = sum(result["acknowledged"].values())
    print("| what | figure |\n| --- | --- |")
    print(f"| rounds of faults | {sum(result['faults'].values())}: {result['faults']} |")
    print(f"| operations acknowledged | {acknowledged}: {result['acknowledged']} |")
    print(f"| sessions streamed | {result['streamed']}: {result['streams']} |")
    print(f"| unknown, asked again | {sum(result['unknown'].values())} |")
    for kind in ("lost", "doubled", "contradicted"):
        print(f"| {kind} | {result[kind]} |")
    print(f"| 95 % bound, where none | below {300 / max(1, acknowledged):.3f} % |")
    print(f"| callbacks overdue at the end | {result['callbacks_overdue']} |")
    for role, slope in result["slopes"].items():
        print(
            f"| {role}: {slope['rss_mib']:.0f} MiB | {slope['rss_mib_per_h']:+.1f} MiB/h,"
            f" {slope['descriptors_per_h']:+.1f} descriptors/h over {slope['seconds']:.0f} s"
            f" of {slope['processes']} processes |"
        )
    print(*result["broken_promises"], sep="\n")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    minutes = float(os.environ.get("SOAK_MINUTES", "30"))
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
