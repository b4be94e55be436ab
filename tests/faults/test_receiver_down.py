"""A tenant's server that fails for days: every retry comes when it should, nothing is dropped in
silence, and what only fails is given up after five days on the clock.

The worker, the sender and Redis are real; the days are not. TEST_SEED repeats a run.
"""

import os
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from serve.domain.audit import Actor, ActorKind
from serve.domain.callback import CallbackEvent, DeliveryState
from serve.domain.delivery.retry import (
    ATTEMPTS_MAX,
    DELAYS_MS,
    HOUR_MS,
    JITTER,
    MINUTE_MS,
    delay_after,
)
from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.tenancy.api_key import Principal
from serve.flows.events import resend
from serve.ports import Lease
from serve.store import names
from serve.store.queues import RedisOutbox
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import deps_on
from tests.helpers.receivers import answering, receiver
from tests.serve.outbound.office import Office, WatchedOutbox

SEED = int(os.environ.get("TEST_SEED", "20261121"))
DOWN_MS = 76 * HOUR_MS
OWNER = Principal("ten_a", Mode.TEST, frozenset(), Actor(ActorKind.OPERATOR))


@dataclass
class LateOutbox(WatchedOutbox):
    """The real outbox as it is `shift_ms` later."""

    link: Redis | None = None
    shift_ms: int = 0

    async def claim(self, limit: int, partitions: object = None) -> list[Lease[CallbackEvent]]:
        found = await self.inner.claim(limit)
        return [replace(each, claimed_at_ms=each.claimed_at_ms + self.shift_ms) for each in found]

    async def settle(self, lease: Lease[CallbackEvent], event: CallbackEvent) -> bool:
        done = await self.inner.settle(lease, event)
        if done and event.next_attempt_at_ms is not None:  # queues count in Redis's own time
            place = names.outbox(partition_of(Prefix.EVENT, event.id))
            assert self.link is not None
            await self.link.zincrby(place, -self.shift_ms, event.id)
        if done:
            self.settled.put_nowait(event)
        return done


@dataclass
class LateOffice(Office):
    """An office whose days pass at once."""

    late: LateOutbox = field(kw_only=True)
    draws: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311

    def draw(self) -> float:
        """The jitter of the next retry."""
        self.draws.append(self.chance.random())
        return self.draws[-1]

    async def now_ms(self) -> int:
        return await self.deps.directory.now_ms() + self.late.shift_ms

    async def due(self) -> int:
        """How many callbacks could be claimed now."""
        now_ms = await self.deps.directory.now_ms()
        counts = [
            await self.link.zcount(names.outbox(place), "-inf", now_ms)
            for place in names.EVERY_PARTITION
        ]
        return sum(counts)

    async def advance(self, step_ms: int) -> None:
        """Let time pass for all callbacks, and tell the worker."""
        self.late.shift_ms += step_ms
        for place in names.EVERY_PARTITION:
            members: Any = await self.link.zrange(names.outbox(place), 0, -1)
            for member in members:
                await self.link.zincrby(names.outbox(place), -step_ms, member)

    async def next_failure(self) -> CallbackEvent:
        """Pass the time until the next retry, which must not be due a minute before, and what it
        became.
        """
        waiting: list[int] = []
        for place in names.EVERY_PARTITION:
            first: Any = await self.link.zrange(names.outbox(place), 0, 0, withscores=True)
            waiting += [int(score) for _, score in first]
        wait_ms = min(waiting) - await self.deps.directory.now_ms()
        if wait_ms > 2 * MINUTE_MS:
            await self.advance(wait_ms - MINUTE_MS)
            assert await self.due() == 0
            wait_ms = MINUTE_MS
        await self.advance(max(0, wait_ms))
        for place in names.EVERY_PARTITION:
            await self.outbox.wake(place)
        return await self.late.next_settled()


@pytest.fixture
def office(link: Redis, keyring: Keyring) -> LateOffice:
    deps = deps_on(link, keyring)
    assert isinstance(deps.outbox, RedisOutbox)
    outbox = LateOutbox(deps.outbox, link=link)
    return LateOffice(link, replace(deps, outbox=outbox), outbox, late=outbox)


async def test_seventy_six_hours_down(
    office: LateOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every retry comes by the schedule and its jitter to the second; what ran out of retries is
    shown and can be sent again, and a callback with retries left is delivered by the next of them.
    """
    async with receiver(answering(500)) as tenant:
        (early,) = await office.write(tenant.url)
        start_ms = await office.now_ms()
        async with office.worker(random=office.draw):
            settled = await office.late.next_settled()
            for failures in range(1, ATTEMPTS_MAX):
                assert (settled.state, settled.failures) == (DeliveryState.PENDING, failures)
                assert settled.next_attempt_at_ms is not None
                ended_ms = settled.attempts[-1].at_ms + settled.attempts[-1].duration_ms
                expected_ms = delay_after(failures, office.draws[-1])
                assert abs(settled.next_attempt_at_ms - ended_ms - expected_ms) < 1000
                assert abs(expected_ms / DELAYS_MS[failures] - 1) <= JITTER
                settled = await office.next_failure()
            assert (settled.state, settled.failures) == (DeliveryState.EXHAUSTED, ATTEMPTS_MAX)
            down_for_ms = await office.now_ms() - start_ms
            assert abs(down_for_ms / sum(DELAYS_MS) - 1) <= JITTER
            _, late = await office.write(tenant.url, 2)  # the first is known
            assert (await office.late.next_settled()).state is DeliveryState.PENDING
            await office.advance(max(0, DOWN_MS - down_for_ms))
            tenant.answer = answering(200)
            recovered = await office.next_failure()
            assert (recovered.id, recovered.state) == (late, DeliveryState.DELIVERED)
            shown = await office.event(early)
            assert (shown.state, len(shown.attempts)) == (DeliveryState.EXHAUSTED, ATTEMPTS_MAX)
            await resend(office.deps, OWNER, early)
            while (again := await office.late.next_settled()).state is DeliveryState.EXHAUSTED:
                continue
            assert (again.id, again.state) == (early, DeliveryState.DELIVERED)
        standing = (await office.deps.directory.standings("ten_a", Mode.TEST, {tenant.url}))[
            tenant.url
        ]
        assert (standing.is_gone, standing.outage) == (False, None)
    with capsys.disabled():
        print(
            f"\nreceiver down: seed {SEED}, {ATTEMPTS_MAX} attempts over "
            f"{down_for_ms / HOUR_MS:.1f} h of {sum(DELAYS_MS) / HOUR_MS:.1f} h, "
            f"{len(tenant.posted)} posts, 0 lost"
        )


async def test_five_days_down_and_given_up(office: LateOffice) -> None:
    """A URL that only failed for 120 hours on the clock takes no more callbacks: they end as
    disabled, are shown, and go out again by hand, which clears it.
    """
    async with receiver(answering(500)) as tenant:
        (first,) = await office.write(tenant.url)
        async with office.worker(random=office.draw):
            await office.late.next_settled()
            while (await office.next_failure()).state is DeliveryState.PENDING:
                continue
            outage = (await office.deps.directory.standings("ten_a", Mode.TEST, {tenant.url}))[
                tenant.url
            ].outage
            assert outage is not None
            assert outage.since_ms is not None  # started at the seventh attempt, after 17.6 hours
            day = await office.event(first)
            assert outage.since_ms - day.attempts[6].at_ms < 10_000
            await office.advance(outage.since_ms + 119 * HOUR_MS - await office.now_ms())
            _, second = await office.write(tenant.url, 2)
            assert (await office.late.next_settled()).state is DeliveryState.PENDING
            await office.advance(HOUR_MS)  # and its second attempt is due
            for place in names.EVERY_PARTITION:
                await office.outbox.wake(place)
            ended = await office.late.next_settled()
            assert (ended.id, ended.state) == (second, DeliveryState.DISABLED)
            assert [attempt.status for attempt in ended.attempts] == [500, 500]
            posts = len(tenant.posted)
            _, _, third = await office.write(tenant.url, 3)
            untried = await office.late.next_settled()
            assert (untried.id, untried.state, untried.attempts) == (
                third, DeliveryState.DISABLED, (),
            )  # fmt: skip
            assert len(tenant.posted) == posts
            tenant.answer = answering(200)
            await resend(office.deps, OWNER, third)
            while (again := await office.late.next_settled()).state is DeliveryState.DISABLED:
                continue
            assert (again.id, again.state) == (third, DeliveryState.DELIVERED)
            *_, fourth = await office.write(tenant.url, 4)
            taken = await office.late.next_settled()
            assert (taken.id, taken.state) == (fourth, DeliveryState.DELIVERED)


async def test_one_success_ends_an_outage(office: LateOffice) -> None:
    """A URL that fails for weeks, but takes one callback in between, is never given up."""
    async with receiver(answering(500)) as tenant:
        states = []
        for day in range(12):  # a worker a day: nothing but Redis remembers
            tenant.answer = answering(204 if day == 5 else 500)
            *_, _ = await office.write(tenant.url, day + 1)
            async with office.worker(random=office.draw):
                states.append((await office.late.next_settled()).state)
            for place in names.EVERY_PARTITION:
                await office.link.delete(names.outbox(place))  # its retries are another test's
            await office.advance(11 * HOUR_MS)
        standing = (await office.deps.directory.standings("ten_a", Mode.TEST, {tenant.url}))[
            tenant.url
        ]
    assert states.count(DeliveryState.DELIVERED) == 1
    assert states.count(DeliveryState.PENDING) == 11
    assert not standing.is_gone
    assert standing.outage is not None
    assert standing.outage.since_ms is not None
