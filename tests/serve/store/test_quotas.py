"""Buckets and leases on a real Redis. Its clock cannot be set: bursts and weights drive it."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from serve.domain.ids import Mode
from serve.domain.quota import SECOND_US, Asked, Bucket, Cause, Quota, Rule, Standing, Taken
from serve.errors import Code, ServeError
from serve.settings import State
from serve.store import names, quotas
from serve.store.link import open_link
from serve.store.quotas import RedisQuotas

HOUR_S = 3_600
SLOW = Bucket(HOUR_S * SECOND_US, 20 * HOUR_S * SECOND_US)  # one an hour, twenty at once
A_SUBMIT = Asked("ten_a", Mode.LIVE, Quota.SUBMIT)
EVERY_BUCKET = [
    Asked(tenant_id, mode, quota)
    for tenant_id in ("ten_a", "ten_b")
    for mode in Mode
    for quota in Quota
]


async def outcomes(store: RedisQuotas, asked: Asked, number: int, rule: Rule) -> list[Cause | None]:
    """What became of so many requests at once."""
    taken = await asyncio.gather(*(store.take(asked, rule) for _ in range(number)))
    return [each.refused for each, _ in taken]


async def test_of_200_at_once_the_burst_is_admitted(link: Redis) -> None:
    """Exactly as many as the bucket holds, whatever the order; what is left of it is told."""
    taken = await asyncio.gather(
        *(RedisQuotas(link).take(A_SUBMIT, Rule(SLOW)) for _ in range(200))
    )
    admitted = [each for each, _ in taken if each.refused is None]
    assert len(admitted) == 20
    left = [Standing("submit", SLOW, each.ahead_us).remaining for each in admitted]
    assert sorted(left) == list(range(20))
    refused = [each for each, _ in taken if each.refused]
    assert {each.refused for each in refused} == {Cause.QUOTA}
    standing = Standing("submit", SLOW, refused[0].ahead_us)
    assert (standing.remaining, standing.bucket.quota) == (0, 20)
    assert HOUR_S - 60 <= standing.retry_after_s() <= HOUR_S
    assert 20 * HOUR_S - 60 <= standing.reset_s <= 20 * HOUR_S


async def test_two_doors_share_a_bucket(link: Redis, redis_state: State) -> None:
    """What one door admits another cannot admit again."""
    other = open_link(redis_state)
    try:
        found = await asyncio.gather(
            *(outcomes(RedisQuotas(each), A_SUBMIT, 30, Rule(SLOW)) for each in (link, other))
        )
    finally:
        await other.aclose()
    assert [cause for part in found for cause in part].count(None) == 20


async def test_tenants_modes_and_classes_are_apart(link: Redis) -> None:
    """A bucket that is full leaves every other one as it was."""
    store = RedisQuotas(link)
    for asked in EVERY_BUCKET:
        assert (await outcomes(store, asked, 25, Rule(SLOW))).count(None) == 20


async def test_a_request_counts_by_its_weight(link: Redis) -> None:
    """One of weight 19 leaves room for one more; a refused one takes nothing."""
    store = RedisQuotas(link)
    weights = [19, 2, 1, 1]
    found = [
        (await store.take(Asked("ten_a", Mode.LIVE, Quota.READ, cost=weight), Rule(SLOW)))[0]
        for weight in weights
    ]
    assert [each.refused for each in found] == [None, Cause.QUOTA, None, Cause.QUOTA]


async def test_the_script_and_the_pure_rule_agree(link: Redis) -> None:
    """Request by request, at a pace that lets some through as time goes on: what the script says
    is what the rule says at that moment of Redis's clock.
    """
    bucket = Bucket.of(2_000, 0.005)
    key = names.quota("ten_a", Mode.LIVE, Quota.READ)
    asked, store = Asked("ten_a", Mode.LIVE, Quota.READ), RedisQuotas(link)
    seen: set[Cause | None] = set()
    for _ in range(300):
        before_us = int(await link.get(key) or 0)
        taken, step_us = await store.take(asked, Rule(bucket))
        after_us = int(await link.get(key) or 0)
        seen.add(taken.refused)
        if taken.refused is None:
            now_us = after_us - taken.ahead_us
            assert bucket.taken(before_us, now_us) == taken
        else:
            assert after_us == before_us
            assert taken.ahead_us + step_us > bucket.burst_us
        assert step_us == bucket.step_us
    assert None in seen


async def test_a_factor_changes_the_pace_at_once(link: Redis) -> None:
    """Twice as many at once for a factor of two, the half for one half; others keep theirs."""
    store = RedisQuotas(link)
    assert await store.factor("ten_a") == 1.0
    for tenant_id, factor in (("ten_a", 2.0), ("ten_b", 0.5), ("ten_c", 0.001)):
        await store.put_factor(tenant_id, factor)
        assert await store.factor(tenant_id) == factor
        asked = Asked(tenant_id, Mode.LIVE, Quota.READ)
        admitted = (await outcomes(store, asked, 50, Rule(SLOW))).count(None)
        assert admitted == max(1, 20 * factor)
    asked = Asked("ten_d", Mode.LIVE, Quota.READ)
    assert (await outcomes(store, asked, 50, Rule(SLOW))).count(None) == 20


async def test_leases_are_given_back_and_are_not_shared(link: Redis) -> None:
    """As many as there may be, each until it ends; one that is refused costs no quota."""
    store, rule = RedisQuotas(link), Rule(SLOW, inflight_max=3)
    leased = [Asked("ten_a", Mode.LIVE, Quota.SUBMIT, lease=f"r{number}") for number in range(5)]
    found = [(await store.take(asked, rule))[0] for asked in leased]
    assert [each.refused for each in found] == [None] * 3 + [Cause.INFLIGHT] * 2
    assert Standing("submit", SLOW, found[-1].ahead_us).remaining == 17
    for mode, tenant_id in ((Mode.TEST, "ten_a"), (Mode.LIVE, "ten_b")):
        other = Asked(tenant_id, mode, Quota.SUBMIT, lease="r0")
        assert (await store.take(other, rule))[0].refused is None
    await store.give_back("ten_a", Mode.LIVE, ["r1"])
    await store.give_back("ten_a", Mode.LIVE, ["r1", "r9"])  # a second time is nothing
    again = [(await store.take(asked, rule))[0].refused for asked in leased[3:]]
    assert again == [None, Cause.INFLIGHT]


async def test_a_lease_that_is_lost_runs_out(link: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that died gives nothing back: time does."""
    store, rule = RedisQuotas(link), Rule(SLOW, inflight_max=1)
    monkeypatch.setattr(quotas, "LEASE_MS", 1)
    asked = Asked("ten_a", Mode.LIVE, Quota.SUBMIT, lease="lost")
    assert (await store.take(asked, rule))[0].refused is None
    async with asyncio.timeout(30):
        while await refused(store, rule):  # noqa: ASYNC110 (Redis's clock)
            await asyncio.sleep(0)


async def refused(store: RedisQuotas, rule: Rule) -> bool:
    """Whether there is no room for another lease."""
    asked = Asked("ten_a", Mode.LIVE, Quota.SUBMIT, lease="next")
    return (await store.take(asked, rule))[0].refused is not None


async def test_nothing_stays_and_nothing_is_written_to_disk(link: Redis) -> None:
    """Every key expires by itself, and counting adds no byte to the append-only file."""
    wide = Bucket(SLOW.step_us, 200 * SLOW.step_us)
    store, rule = RedisQuotas(link), Rule(wide, inflight_max=100)
    before = await appended_bytes(link)
    for number in range(100):
        lease = f"r{number}" if number % 2 else ""
        await store.take(Asked("ten_a", Mode.LIVE, Quota.SUBMIT, lease), rule)
        await store.give_back("ten_a", Mode.LIVE, [lease])
    await store.take(Asked("ten_a", Mode.LIVE, Quota.SUBMIT, "kept"), rule)
    assert await appended_bytes(link) == before
    keys = await link.keys("*")
    assert len(keys) == 2
    for key in keys:
        assert 0 < await link.pttl(key) <= 200 * HOUR_S * 1_000 + quotas.KEPT_MS


async def appended_bytes(link: Redis) -> int:
    """Size of the append-only file, what is buffered counted."""
    told = await link.info("persistence")
    assert told["aof_enabled"] == 1
    return int(told["aof_current_size"]) + int(told["aof_buffer_length"])


async def test_without_redis_nothing_is_admitted(tmp_path: Path) -> None:
    """What cannot be counted is refused: `state_unavailable`."""
    nowhere = open_link(State(data_dir=tmp_path))
    try:
        for asking in (
            RedisQuotas(nowhere).take(A_SUBMIT, Rule(SLOW)),
            RedisQuotas(nowhere).give_back("ten_a", Mode.LIVE, ["r1"]),
            RedisQuotas(nowhere).factor("ten_a"),
        ):
            with pytest.raises(ServeError) as caught:
                await asking
            assert caught.value.code is Code.STATE_UNAVAILABLE
    finally:
        await nowhere.aclose()


async def test_a_full_store_still_counts_readers_in(link: Redis) -> None:
    """A Redis that takes no writes refuses changes by itself; who only reads is let through."""
    store = RedisQuotas(link)
    await store.take(A_SUBMIT, Rule(SLOW))
    await link.config_set("maxmemory", "1")
    try:
        found = await outcomes(store, A_SUBMIT, 3, Rule(SLOW))
    finally:
        await link.config_set("maxmemory", "0")
    assert found == [None] * 3


@pytest.mark.parametrize("per_s", [0.5, 3.0, 333.0, 1e6])
async def test_any_pace_can_be_counted(link: Redis, per_s: float) -> None:
    """No number loses its last digits on the way through Lua."""
    asked, bucket = Asked("ten_a", Mode.LIVE, Quota.READ), Bucket.of(per_s, 10)
    key, times_us = names.quota("ten_a", Mode.LIVE, Quota.READ), list[int]()
    for _ in range(5):
        taken, _ = await RedisQuotas(link).take(asked, Rule(bucket))
        assert taken == Taken(taken.ahead_us)
        times_us.append(int(await link.get(key) or 0))
    assert all(after - before >= bucket.step_us for before, after in pairwise(times_us))
