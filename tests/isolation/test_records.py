"""P5 below the API: what lies in Redis, and what is sent to whom, after four stories."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.deps import Deps
from serve.domain.callback import CallbackEvent, Delivery, DeliveryAttempt
from serve.domain.tenancy.tenant import SigningSecret
from serve.flows.delivery.worker import run_delivery
from serve.settings import State
from serve.store.ledger import RedisLedger
from tests.isolation.driver import Driver
from tests.isolation.oracle import CANARY, ID
from tests.isolation.stage import isolation_stage
from tests.isolation.story import tell_all

SEED = 3
LOOKS_MAX = 600
SHARED = (
    "tenants", "customers", "faces", "outbox", "jobs", "deadlines", "erasures", "sweeps", "kept",
    "ended",
)  # fmt: skip
"""Keys of a whole partition or install: names, digests and sealed records, of everybody, and the
locators of customers whose streams are to end.
"""


@dataclass
class Taken:
    """A sender that keeps what it is given to sign, and with what."""

    sent: list[tuple[CallbackEvent, tuple[str, ...]]] = field(default_factory=list)

    async def send(
        self, event: CallbackEvent, secrets: Sequence[SigningSecret], at_ms: int
    ) -> Delivery:
        self.sent.append((event, tuple(secret.secret for secret in secrets)))
        return Delivery(DeliveryAttempt(at_ms=at_ms, duration_ms=1, status=204))


@pytest.fixture(scope="module")
def told(redis_state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """Four worlds after their stories."""
    with isolation_stage(redis_state, tmp_path_factory.mktemp("records") / "keys") as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
        assert driver.oracle.findings == []
        yield driver


def link_of(deps: Deps) -> Redis:
    """The connection behind the ports."""
    assert isinstance(deps.ledger, RedisLedger)
    return deps.ledger.link


async def everything(link: Redis) -> dict[str, bytes]:
    """Every key and all that lies under it, in one piece."""
    found: dict[str, bytes] = {}
    async for key in link.scan_iter("*", count=1_000):
        kind: Any = await link.type(key)
        reading: dict[str, Any] = {
            "string": link.get, "hash": link.hgetall, "set": link.smembers,
            "zset": lambda name: link.zrange(name, 0, -1), "stream": link.xrange,
            "list": lambda name: link.lrange(name, 0, -1),
        }  # fmt: skip
        value = await reading[kind.decode()](key)
        found[key.decode()] = value if isinstance(value, bytes) else repr(value).encode()
    return found


def test_no_record_of_one_tenant_names_another(told: Driver) -> None:
    """A key with a tenant in its name, or a record with an owner, has nothing of the other's."""
    records = told.stage.run(everything(link_of(told.stage.deps)))
    tenants = {world.tenant_id for world in told.stage.worlds}
    counts: Counter[str] = Counter()
    for key, value in records.items():
        text = f"{key} {value.decode(errors='replace')}"
        named = {name for name in ID.findall(text.replace(":", " ")) if name.startswith("ten_")}
        assert named <= tenants
        is_shared = key.rpartition(":")[2] in SHARED
        assert len(named) <= 1 or is_shared, key
        ids = {told.oracle.owners[name] for name in ID.findall(text) if name in told.oracle.owners}
        worlds = {owner for owner in ids if "-" in owner}
        assert len(worlds) <= 1 or is_shared, key
        counts["shared" if is_shared else "of one tenant" if named else "of nobody named"] += 1
    print(f"\n{len(records)} keys: {dict(counts)}")
    assert counts["of one tenant"] > 100


def test_no_word_of_a_world_lies_in_the_clear(told: Driver) -> None:
    """Customers, references and URLs are sealed; only a tenant's name is in its record."""
    records = told.stage.run(everything(link_of(told.stage.deps)))
    for key, value in records.items():
        clear = {found[0] for found in CANARY.finditer(f"{key} {value.decode(errors='replace')}")}
        names = {f"canary-{world.tenant}-both-tenant" for world in told.stage.worlds}
        allowed = names if key.startswith("{limen}:") and len(clear) == 1 else set()
        assert clear <= allowed, (key, value[:300])


def test_one_name_is_another_customer_in_each_world(told: Driver) -> None:
    """The same customer id names four customers, none of whom the other worlds know."""
    deps, worlds = told.stage.deps, told.stage.worlds
    same = [deps.ledger.subject(world.tenant_id, world.mode, "alice") for world in worlds]
    assert len({subject.key for subject in same}) == len(worlds)


def test_a_callback_is_its_own_tenant_s(told: Driver) -> None:
    """What is sent names its own world's records alone, to its own origin, signed by its tenant."""
    deps, owners = told.stage.deps, told.oracle.owners
    taken = told.stage.run(delivered(deps))
    assert len(taken.sent) > 4 * 5
    told_by: Counter[str] = Counter()
    for event, secrets in taken.sent:
        (world,) = (
            world for world in told.stage.worlds
            if (world.tenant_id, world.mode) == (event.tenant_id, event.mode)
        )  # fmt: skip
        told_by[world.name] += 1
        assert {owners.get(name, world.name) for name in ID.findall(event.body)} == {world.name}
        assert owners.get(event.id, world.name) == owners[event.session_id] == world.name
        assert event.url == world.url("hook")
        words = {found[0] for found in CANARY.finditer(event.body)}
        assert words
        assert all(word.startswith(f"canary-{world.name}-") for word in words)
        mine = told.stage.run(deps.directory.secrets(world.tenant_id))
        assert secrets == tuple(secret.secret for secret in mine)
    signers = {event.tenant_id: secrets for event, secrets in taken.sent}
    assert len(set(signers.values())) == len(signers) == 2
    print(f"\n{len(taken.sent)} callbacks: {dict(told_by)}")


async def delivered(deps: Deps) -> Taken:
    """Everything that waits to be sent, sent."""
    taken, stop = Taken(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_delivery(deps, taken, stop, random=lambda: 0.5))
        before = -1
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(0.5)
            if before == len(taken.sent) > 0:
                break
            before = len(taken.sent)
        stop.set()
    return taken
