"""Deliver callbacks: claim what is due, try each once, write down what came of it.

Nothing is marked before the answer is known. A worker that is killed leaves leases behind, and
when they run out the same callbacks go out again with the same `webhook-id`: at least once,
never not at all. Any number of workers may run.

A URL that answered 410, or only failed for five days, takes no more callbacks of its tenant in
that mode: they end as disabled, untried, until one of them is sent again by hand.
"""

import asyncio
import heapq
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from serve.deps import Deps
from serve.domain.callback import CallbackEvent, Delivery, DeliveryState
from serve.domain.delivery.outage import Outage, after_failure
from serve.domain.delivery.retry import after_attempt, disabled
from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.tenancy.tenant import SigningSecret
from serve.errors import ServeError
from serve.flows.delivery.endpoints import Endpoints, Key, endpoint_of
from serve.observe import logs, metrics
from serve.ports import Lease, Sender

CLAIM_MAX = 64
CLAIMS_MAX = 16  # in one look
PUT_OFF_MAX = 4_096  # times remembered; the poll is the safety net
START_S_MAX = 10.0  # after its claim; with the longest attempt still within the 45-s lease
PAUSE_S = 0.05  # between two looks at the outbox, however often it is woken
INFLIGHT_MAX = 256
THROTTLED = frozenset({429, 503})

Claim = Lease[CallbackEvent]
_Url = tuple[tuple[str, Mode], str]  # of a tenant in a mode: what one world knows, no other does


async def run_delivery(
    deps: Deps,
    sender: Sender,
    stop: asyncio.Event,
    *,
    random: Callable[[], float],
    inflight_max: int = INFLIGHT_MAX,
) -> None:
    """Deliver until `stop` is set, then let the attempts under way end.

    `random` gives a number from 0 to 1 for the jitter of each retry.
    """
    worker = _Worker(deps, sender, random, Endpoints(inflight_max))
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(worker.listen())
        stopping = tasks.create_task(worker.wake_at(stop))
        while not stop.is_set():
            worker.awake.clear()
            await worker.look(tasks)
            await asyncio.sleep(PAUSE_S)
            await worker.sleep()
        listening.cancel()
        await stopping


@dataclass(frozen=True, slots=True)
class _Moment:
    """When callbacks were claimed, and what the clock of the record said soon after."""

    claimed_s: float
    read_s: float
    read_ms: int

    @property
    def is_past(self) -> bool:
        """Whether the lease could end before an attempt that starts now."""
        return _monotonic_s() - self.claimed_s > START_S_MAX

    def now_ms(self) -> int:
        """The clock of the record, without asking for it again."""
        return self.read_ms + round((_monotonic_s() - self.read_s) * 1000)


@dataclass(frozen=True, slots=True)
class _Known:
    """What an attempt is made with: secrets in force, the URL's outage, when it was claimed."""

    secrets: Sequence[SigningSecret]
    outage: Outage | None
    moment: _Moment


@dataclass(slots=True)
class _Worker:
    deps: Deps
    sender: Sender
    random: Callable[[], float]
    endpoints: Endpoints
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    is_full: bool = False  # there may be more due than could start
    put_off: list[tuple[float, int]] = field(default_factory=list)  # a heap: when, and where
    partitions: set[int | None] = field(default_factory=set)  # to look into; None stands for all

    def wake(self, partition: int | None = None) -> None:
        """Look into that partition, or all, as soon as may be."""
        self.partitions.add(partition)
        self.awake.set()

    async def listen(self) -> None:
        """Wake whenever there may be something due."""
        async for partition in self.deps.outbox.wakeups():
            self.wake(partition)

    async def wake_at(self, stop: asyncio.Event) -> None:
        """Wake when it is time to stop."""
        await stop.wait()
        self.awake.set()

    async def sleep(self) -> None:
        """Until woken, or until something that was put off is due."""
        until_s = self.put_off[0][0] if self.put_off else None
        try:
            async with asyncio.timeout_at(until_s):
                await self.awake.wait()
        except TimeoutError:
            return

    async def look(self, tasks: asyncio.TaskGroup) -> None:
        """Start what is due. An outage of the store or a defect ends this look, not the worker."""
        while self.put_off and self.put_off[0][0] <= _monotonic_s():
            self.partitions.add(heapq.heappop(self.put_off)[1])
        named, self.partitions = self.partitions, set()
        partitions = None if None in named else {place for place in named if place is not None}
        try:
            for _ in range(CLAIMS_MAX):
                if not self.endpoints.has_room or await self._claim(tasks, partitions) < CLAIM_MAX:
                    break
            else:
                self.wake()
        except ServeError as error:
            logs.write("outbox out of reach", level=logging.WARNING, code=error.code)
        except Exception as error:  # noqa: BLE001 (a defect is logged, and the worker goes on)
            logs.write_error("outbox not read", error)
        self.is_full = not self.endpoints.has_room

    async def _claim(self, tasks: asyncio.TaskGroup, partitions: set[int] | None) -> int:
        """Start or put off what is due, and say how many callbacks that were."""
        claimed_s = _monotonic_s()
        claims = await self.deps.outbox.claim(CLAIM_MAX, partitions)
        metrics.set_outbox_due(len(claims))
        if not claims:
            return 0
        now_ms = max(claim.claimed_at_ms for claim in claims)
        moment = _Moment(claimed_s, _monotonic_s(), now_ms)
        secrets = await self._secrets({claim.item.tenant_id for claim in claims}, now_ms)
        put_off: list[tuple[Claim, float]] = []
        outages = await self._outages(claims)
        taken = [claim for claim in claims if _url_of(claim) in outages]
        for claim in _in_turns(taken):
            key = endpoint_of(claim.item.tenant_id, claim.item.url)
            wait_s = self.endpoints.admit(key, _monotonic_s())
            if wait_s:
                put_off.append((claim, wait_s))
            else:
                known = _Known(secrets[claim.item.tenant_id], outages[_url_of(claim)], moment)
                tasks.create_task(self._attempt(claim, key, known))
        await self._put_off(put_off)
        return len(claims)

    async def _outages(self, claims: Sequence[Claim]) -> dict[_Url, Outage | None]:
        """The outage, if any, of each URL that takes callbacks; claims to another end untried."""
        outages: dict[_Url, Outage | None] = {}
        asked = {_url_of(claim) for claim in claims}
        for tenant_id, mode in {world for world, _ in asked}:
            urls = {url for world, url in asked if world == (tenant_id, mode)}
            found = await self.deps.directory.standings(tenant_id, mode, urls)
            outages |= {
                ((tenant_id, mode), url): standing.outage
                for url, standing in found.items()
                if not standing.is_gone
            }
        for claim in claims:
            if _url_of(claim) not in outages:
                await self.deps.outbox.settle(claim, disabled(claim.item))
        return outages

    async def _put_off(self, claims: Sequence[tuple[Claim, float]]) -> None:
        """Give claims back until their time, and remember to look then."""
        defer = self.deps.outbox.defer
        await asyncio.gather(*(defer(claim, math.ceil(wait_s * 1000)) for claim, wait_s in claims))
        for claim, wait_s in claims[: PUT_OFF_MAX - len(self.put_off)]:
            partition = partition_of(Prefix.EVENT, claim.item.id)
            heapq.heappush(self.put_off, (_monotonic_s() + wait_s, partition))

    async def _secrets(
        self, tenant_ids: Iterable[str], now_ms: int
    ) -> dict[str, Sequence[SigningSecret]]:
        """Each tenant's secrets in force; while two overlap, both."""
        return {
            tenant_id: [
                secret
                for secret in await self.deps.directory.secrets(tenant_id)
                if secret.expires_at_ms is None or now_ms < secret.expires_at_ms
            ]
            for tenant_id in tenant_ids
        }

    async def _attempt(self, claim: Claim, key: Key, known: _Known) -> None:
        """Try one callback, write down what came of it, and make room."""
        start_s = _monotonic_s()
        after, delivery = claim.item, None
        try:
            if not known.moment.is_past:
                at_ms = known.moment.now_ms()
                delivery = await self.sender.send(claim.item, known.secrets, at_ms)
                now_ms = known.moment.now_ms()
                after = after_attempt(claim.item, delivery, now_ms, self.random())
                after = await self._judge_url(after, known.outage, now_ms)
                if await self.deps.outbox.settle(claim, after):
                    _tell(after, delivery, now_ms)
        except ServeError as error:
            logs.write("callback not settled", level=logging.WARNING, code=error.code)
        except Exception as error:  # noqa: BLE001 (one callback's defect stops no other)
            logs.write_error("callback not tried", error, event_id=claim.item.id)
        finally:
            self.endpoints.release(
                key,
                _monotonic_s(),
                seconds=_monotonic_s() - start_s,
                is_delivered=after.state is DeliveryState.DELIVERED,
                pause_s=_pause_s(delivery),
            )
            if self.is_full:
                self.wake()

    async def _judge_url(
        self, after: CallbackEvent, outage: Outage | None, now_ms: int
    ) -> CallbackEvent:
        """`after`, disabled if its URL is given up; what is known of the URL is written down
        before the callback is settled, for who sends it again forgets that.
        """
        directory, tenant_id, mode, url = (
            self.deps.directory, after.tenant_id, after.mode, after.url
        )  # fmt: skip
        if after.state is DeliveryState.DELIVERED:
            if outage is not None or after.failures:
                await directory.put_outage(tenant_id, mode, url, outage, None)
            return after
        failing = after_failure(outage, now_ms)
        if after.state is not DeliveryState.DISABLED and not failing.is_final(now_ms):
            await directory.put_outage(tenant_id, mode, url, outage, failing)
            return after
        await directory.put_gone(tenant_id, mode, url, is_gone=True)
        is_gone = after.state is DeliveryState.DISABLED
        reason: Literal["gone", "failing"] = "gone" if is_gone else "failing"
        logs.write(
            "endpoint disabled", level=logging.WARNING, tenant_id=tenant_id, mode=after.mode,
            event_id=after.id, reason=reason,
        )  # fmt: skip
        metrics.count_disabled(reason)
        return disabled(after)


def _url_of(claim: Claim) -> _Url:
    return (claim.item.tenant_id, claim.item.mode), claim.item.url


def _in_turns(claims: Sequence[Claim]) -> list[Claim]:
    """One of each tenant, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    ranked = []
    for claim in claims:
        ranked.append((seen[claim.item.tenant_id], claim))
        seen[claim.item.tenant_id] += 1
    return [claim for _, claim in sorted(ranked, key=lambda pair: pair[0])]


def _pause_s(delivery: Delivery | None) -> float:
    """The pause that a receiver asks for all its callbacks, not only for this one."""
    if delivery is None or delivery.attempt.status not in THROTTLED:
        return 0.0
    return float(delivery.retry_after_s or 0)


def _tell(event: CallbackEvent, delivery: Delivery, now_ms: int) -> None:
    attempt = delivery.attempt
    metrics.count_delivery(
        event.state, attempt.duration_ms / 1000, (now_ms - event.created_at_ms) / 1000
    )
    logs.write(
        "callback tried",
        tenant_id=event.tenant_id,
        mode=event.mode,
        event_id=event.id,
        session_id=event.session_id,
        state=event.state,
        status=attempt.status,
        reason=attempt.error,
        failures=event.failures,
        duration_ms=attempt.duration_ms,
    )


def _monotonic_s() -> float:
    return asyncio.get_running_loop().time()
