"""Delivery of callbacks on a real Redis to real receivers, the hostile ones among them."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook

from serve.domain.audit import OPERATOR
from serve.domain.callback import CallbackEvent, DeliveryState
from serve.domain.delivery.retry import ATTEMPTS_MAX, DELAYS_MS
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import SigningSecret
from serve.flows.delivery.worker import CLAIM_MAX, START_S_MAX
from serve.flows.events import resend
from serve.outbound.sender import SendError
from serve.ports import Lease
from serve.settings import Callbacks
from serve.store.queues import LEASE_MS, RedisOutbox
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import deps_on
from tests.helpers.receivers import Receiver, answering, receiver, talking
from tests.serve.outbound.office import PATIENCE_S, SECRET, Gate, Office, WatchedOutbox

OLD_SECRET = f"whsec_{'B' * 32}"


@pytest.fixture
def office(link: Redis, keyring: Keyring) -> Office:
    deps = deps_on(link, keyring)
    assert isinstance(deps.outbox, RedisOutbox)
    outbox = WatchedOutbox(deps.outbox)
    return Office(link, replace(deps, outbox=outbox), outbox)


def ids_of(tenant: Receiver) -> list[str]:
    return [posted.headers["webhook-id"] for posted in tenant.posted]


async def test_a_callback_is_delivered_and_marked(office: Office) -> None:
    """What was written goes out once, verifiable, and its record says so."""
    async with receiver() as tenant:
        (event_id,) = await office.write(tenant.url)
        async with office.worker():
            settled = await office.outbox.next_settled()
        assert await office.event(event_id) == settled
    assert ids_of(tenant) == [event_id]
    Webhook(SECRET).verify(tenant.posted[0].body, dict(tenant.posted[0].headers))
    assert (settled.state, settled.next_attempt_at_ms) == (DeliveryState.DELIVERED, None)
    assert [attempt.status for attempt in settled.attempts] == [204]
    assert await office.outbox.claim(1) == []


@pytest.mark.parametrize(
    ("status", "headers", "state", "delay_s"),
    [
        (500, {}, DeliveryState.PENDING, 5),
        (302, {"Location": "http://127.0.0.1:1/"}, DeliveryState.PENDING, 5),
        (404, {"Retry-After": "soon"}, DeliveryState.PENDING, 5),
        (429, {"Retry-After": "3600"}, DeliveryState.PENDING, 3600),
        (503, {"Retry-After": "9999999"}, DeliveryState.PENDING, 12 * 3600),
        (410, {"Retry-After": "5"}, DeliveryState.DISABLED, None),
    ],
)
async def test_a_refusal_is_tried_again_when_it_should(
    status: int,
    headers: dict[str, str],
    state: DeliveryState,
    delay_s: int | None,
    office: Office,
) -> None:
    """Each answer leaves the callback due when the schedule and the receiver say, or never."""
    async with receiver(answering(status, **headers)) as tenant:
        await office.write(tenant.url)
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert (settled.state, settled.failures) == (state, 1)
    (attempt,) = settled.attempts
    assert (attempt.status, attempt.error) == (status, "")
    if delay_s is None:
        assert settled.next_attempt_at_ms is None
    else:
        assert settled.next_attempt_at_ms is not None
        ended_ms = attempt.at_ms + attempt.duration_ms
        # both ends of the attempt and its duration are rounded, each by itself
        assert -1 <= settled.next_attempt_at_ms - ended_ms - delay_s * 1000 < 1000


async def test_a_reset_is_tried_again(office: Office) -> None:
    """A connection that is cut off is an attempt without a status."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with talking(cut) as url:
        await office.write(url)
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert (settled.state, settled.failures) == (DeliveryState.PENDING, 1)
    assert (settled.attempts[0].status, settled.attempts[0].error) == (
        None, SendError.CONNECTION_LOST,
    )  # fmt: skip


async def test_ten_attempts_and_then_no_more(office: Office) -> None:
    """A receiver that never recovers is tried ten times, under one id, signed anew each time."""
    async with receiver(answering(500)) as tenant:
        (event_id,) = await office.write(tenant.url)
        delays_ms = []
        async with office.worker():
            for _ in range(ATTEMPTS_MAX - 1):
                settled = await office.outbox.next_settled()
                assert settled.next_attempt_at_ms is not None
                delays_ms.append(settled.next_attempt_at_ms - settled.attempts[-1].at_ms)
                await office.make_due()
            settled = await office.outbox.next_settled()
    assert (settled.state, settled.failures) == (DeliveryState.EXHAUSTED, ATTEMPTS_MAX)
    assert len(settled.attempts) == ATTEMPTS_MAX
    expected = DELAYS_MS[1:]
    assert all(0 <= got - due < 2000 for got, due in zip(delays_ms, expected, strict=True))
    assert ids_of(tenant) == [event_id] * ATTEMPTS_MAX
    for posted in tenant.posted:
        Webhook(SECRET).verify(posted.body, dict(posted.headers))


async def test_sent_again_by_hand_it_goes_out_again(office: Office) -> None:
    """A callback that ended is delivered once more, with the id it always had."""
    async with receiver(answering(410)) as tenant:
        (event_id,) = await office.write(tenant.url)
        async with office.worker():
            disabled = await office.outbox.next_settled()
            assert disabled.state is DeliveryState.DISABLED
            tenant.answer = answering(200)
            owner = Principal(disabled.tenant_id, disabled.mode, frozenset(), OPERATOR)
            await resend(office.deps, owner, event_id)
            while (settled := await office.outbox.next_settled()).state is DeliveryState.PENDING:
                continue  # the resend's own note
    assert settled.state is DeliveryState.DELIVERED
    assert [attempt.status for attempt in settled.attempts] == [410, 200]
    assert ids_of(tenant) == [event_id] * 2


async def test_a_url_that_is_gone_is_left_alone(office: Office) -> None:
    """After a 410 later callbacks to the same URL end as disabled and are never posted."""
    async with receiver(answering(410)) as tenant:
        (first,) = await office.write(tenant.url)
        async with office.worker():
            assert (await office.outbox.next_settled()).id == first
            await until_gone(office, tenant.url)
            _, second = await office.write(f"{tenant.url}?session=2", 2)  # the first is known
            ended = await office.outbox.next_settled()
    assert (ended.id, ended.state, ended.attempts) == (second, DeliveryState.DISABLED, ())
    assert ids_of(tenant) == [first]


async def until_gone(office: Office, url: str) -> None:
    """Wait until the worker has noted that `url` answered 410."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await office.deps.directory.standings("ten_a", Mode.TEST, {url})
            if found[url].is_gone:
                return
            await asyncio.sleep(0)


async def test_a_killed_worker_loses_nothing(office: Office) -> None:
    """Nothing is marked before the answer: the next worker sends the same callback again."""
    gate = Gate()
    async with receiver(gate.answer) as tenant:
        (event_id,) = await office.write(tenant.url)
        async with office.worker() as task:
            await gate.wait_for(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        event = await office.event(event_id)
        assert (event.state, event.attempts) == (DeliveryState.PENDING, ())
        gate.opened.set()
        await office.make_due()
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert settled.state is DeliveryState.DELIVERED
    assert ids_of(tenant) == [event_id] * 2


async def test_a_stop_lets_the_attempt_end(office: Office) -> None:
    """A worker told to stop starts nothing more and writes down what is under way."""
    gate = Gate()
    async with receiver(gate.answer) as tenant:
        (event_id,) = await office.write(tenant.url)
        async with office.worker():
            await gate.wait_for(1)
            asyncio.get_running_loop().call_soon(gate.opened.set)
        assert (await office.event(event_id)).state is DeliveryState.DELIVERED


async def test_two_workers_share(office: Office) -> None:
    """Every callback goes out exactly once, whichever worker takes it."""
    async with receiver() as tenant:
        written = await office.write(tenant.url, 40)
        async with office.worker(), office.worker():
            for _ in written:
                await office.outbox.next_settled()
    assert sorted(ids_of(tenant)) == sorted(written)


async def test_an_endpoint_gets_eight_at_once(office: Office) -> None:
    """A receiver is never asked more than eight things at a time, and gets all of them."""
    gate = Gate()
    async with receiver(gate.answer) as tenant:
        written = await office.write(tenant.url, 20)
        async with office.worker():
            await gate.wait_for(8)
            gate.opened.set()
            for _ in written:
                await office.outbox.next_settled()
    assert sorted(ids_of(tenant)) == sorted(written)
    assert gate.inside_max == 8


async def test_a_dead_receiver_holds_up_nobody(office: Office) -> None:
    """Behind a backlog for a host that never answers, other tenants' callbacks go out."""
    gate = Gate()
    async with receiver(gate.answer) as dead, receiver() as tenant:
        await office.write(dead.url, CLAIM_MAX + 20)
        written = await office.write(tenant.url, 3, tenant_id="ten_b")
        async with office.worker(inflight_max=16):
            for _ in written:
                settled = await office.outbox.next_settled()
                assert settled.tenant_id == "ten_b"
            assert gate.inside_max <= 8
            gate.opened.set()
    assert sorted(ids_of(tenant)) == sorted(written)


async def test_secrets_that_overlap_both_sign(office: Office) -> None:
    """After a rotation old and new secret sign, until the old one expires."""
    async with receiver() as tenant:
        await office.write(tenant.url, 1)
        now_ms = await office.deps.directory.now_ms()
        new = SigningSecret(secret=SECRET, created_at_ms=now_ms)
        for expires_at_ms in (now_ms + 60_000, now_ms):
            old = SigningSecret(secret=OLD_SECRET, created_at_ms=0, expires_at_ms=expires_at_ms)
            await office.deps.directory.put_secrets("ten_a", [new, old])
            async with office.worker():
                settled = await office.outbox.next_settled()
            await office.outbox.inner.resend(settled)
    overlapping, after = tenant.posted
    assert len(overlapping.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1
    Webhook(OLD_SECRET).verify(overlapping.body, dict(overlapping.headers))
    Webhook(SECRET).verify(after.body, dict(after.headers))


async def test_without_a_secret_in_force_nothing_leaves(office: Office) -> None:
    """A callback that nobody could verify is a failed attempt, and is tried again later."""
    async with receiver() as tenant:
        await office.write(tenant.url)
        await office.deps.directory.put_secrets("ten_a", [])
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert settled.state is DeliveryState.PENDING
    assert settled.attempts[0].error == SendError.SECRET_MISSING
    assert tenant.posted == []


async def test_an_outage_of_the_store_is_outlived(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store cannot be reached the worker waits, and then goes on."""
    office.outbox.outages = 2
    async with receiver() as tenant:
        await office.write(tenant.url)
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert settled.state is DeliveryState.DELIVERED
    assert "outbox out of reach" in caplog.text


async def test_one_callback_s_defect_stops_no_other(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret that is none keeps its tenant's callbacks back, and nobody else's."""
    broken = SigningSecret(secret="whsec_", created_at_ms=0)  # noqa: S106 (no secret)
    async with receiver() as tenant:
        await office.write(tenant.url, 2)
        await office.deps.directory.put_secrets("ten_a", [broken])
        (written,) = await office.write(tenant.url, 1, tenant_id="ten_b")
        async with office.worker():
            settled = await office.outbox.next_settled()
    assert settled.id == written
    assert ids_of(tenant) == [written]
    assert "callback not tried" in caplog.text


async def test_a_claim_that_grew_old_is_not_sent(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was suspended after a claim leaves it to whoever holds the lease now."""
    loop = asyncio.get_running_loop()
    monotonic, suspended = loop.time, asyncio.Event()
    skipped_s = {False: 0.0, True: START_S_MAX + 1}
    monkeypatch.setattr(loop, "time", lambda: monotonic() + skipped_s[suspended.is_set()])
    async with receiver() as tenant:
        (event_id,) = await office.write(tenant.url)
        claim = office.outbox.inner.claim

        async def slow_claim(
            limit: int, partitions: Collection[int] | None = None
        ) -> list[Lease[CallbackEvent]]:
            found = await claim(limit, partitions)
            if found:
                suspended.set()
            return found

        monkeypatch.setattr(office.outbox, "claim", slow_claim)
        async with office.worker(), asyncio.timeout(PATIENCE_S):
            await suspended.wait()
        assert tenant.posted == []
        assert (await office.event(event_id)).state is DeliveryState.PENDING


def test_no_attempt_outlives_its_lease() -> None:
    """The latest start and the longest attempt that can be set leave room within the lease."""
    with pytest.raises(ValueError, match="less than or equal to 30"):
        Callbacks(timeout_s=30.1)
    assert (START_S_MAX + 30) * 1000 < LEASE_MS
