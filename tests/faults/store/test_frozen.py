"""F4: a Redis that is there and does nothing, as after SIGSTOP, and then goes on.

TEST_FREEZES and TEST_SEED repeat or lengthen a run; TEST_FREEZE_S is the longest freeze.
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serve.errors import ServeError
from serve.store.link import CONNECTIONS_MAX
from serve.store.vault.keyring import Keyring
from tests.faults.stage import broken_promises, loaded, summary
from tests.faults.store.world import World, playing

FREEZES = int(os.environ.get("TEST_FREEZES", "4"))
FREEZE_S_MAX = float(os.environ.get("TEST_FREEZE_S", "4"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
WAITERS = 40  # who ask while it is frozen
TIMEOUT_S = 0.5
PAUSES_S = (0.2, 0.6)
BACK_S_MAX = 30.0


@dataclass(slots=True)
class Waits:
    """What was answered to those who asked a frozen Redis, and after how long."""

    codes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    without_word: int = 0  # refusals that do not say when to ask again

    async def ask(self, made: World) -> None:
        clock_s = asyncio.get_running_loop().time
        began_s = clock_s()
        async with made.http.get(
            f"{made.url}/api/v1/kyc/overview", headers=made.clients.tenant.headers
        ) as answer:
            document = await answer.json()
        self.longest_s = max(self.longest_s, clock_s() - began_s)
        self.codes[f"{answer.status} {document.get('code', '')}"] += 1
        self.without_word += answer.status != 200 and "Retry-After" not in answer.headers


async def until_well(made: World) -> None:
    """Wait until changes are acknowledged again."""
    async with asyncio.timeout(BACK_S_MAX):
        while True:
            try:
                if (await made.clients.tenant.call("GET", "/api/v1/kyc/overview")).status == 200:
                    return
            except ServeError:
                pass
            await asyncio.sleep(0.05)


async def test_a_frozen_redis_costs_time_and_nothing_else(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """While Redis stands still who asks is answered 503 with a Retry-After; when it goes on all
    is there once, and no more connections were made than a front door may have.
    """
    chance, waits, most = random.Random(SEED), Waits(), 0  # noqa: S311
    async with playing(tmp_path, keyring, timeout_s=TIMEOUT_S) as (made, proxy, redis):
        async with loaded(made.clients, SEED, CLIENTS):
            for _ in range(FREEZES):
                await asyncio.sleep(chance.uniform(*PAUSES_S))
                before = proxy.accepted
                redis.freeze()
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(WAITERS):
                        tasks.create_task(waits.ask(made))
                    await asyncio.sleep(chance.uniform(1.0, FREEZE_S_MAX))
                redis.thaw()
                await until_well(made)
                most = max(most, proxy.accepted - before)
        await redis.make_due()
        found = await broken_promises(made.clients, made.receiver)
    with capsys.disabled():
        what = (
            f"frozen {FREEZES} times: {dict(waits.codes)}, longest {waits.longest_s:.1f} s, at most"
            f" {most} connections made each time"
        )
        print(summary(what, SEED, made.history, found))
    assert found == []
    assert waits.codes == {"503 state_unavailable": FREEZES * WAITERS}
    assert waits.without_word == 0
    assert most <= CONNECTIONS_MAX


async def test_what_took_too_long_is_not_tried_again(tmp_path: Path, keyring: Keyring) -> None:
    """A request to a frozen Redis is given up after one time-out, not after one for each retry:
    it makes no other connection.
    """
    waits = Waits()
    async with playing(tmp_path, keyring, timeout_s=TIMEOUT_S) as (made, proxy, redis):
        await until_well(made)
        before = proxy.accepted
        redis.freeze()
        await waits.ask(made)
        assert proxy.accepted == before
        redis.thaw()
        await until_well(made)
    assert waits.codes == {"503 state_unavailable": 1}
