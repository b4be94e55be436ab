"""The hand-off from desktop to phone, on a real store."""

import asyncio

import pytest

from serve.domain.session import State
from serve.errors import Code
from serve.flows.customers import erase
from serve.flows.handoff import connect, read_handoff
from serve.flows.sessions import cancel_session
from serve.flows.transact import new_operation
from tests.helpers.service import MINUTE_MS, Fault, Service, refusal

UNKNOWN = f"st_07{'a' * 43}"


async def test_the_desktop_sees_the_phone(service: Service) -> None:
    """What one side writes the other reads, and the first phone opens the capture."""
    token = await service.ready()
    assert not (await read_handoff(service.deps, token)).mobile_connected
    assert (await connect(service.deps, token, connected=True)).mobile_connected
    assert (await read_handoff(service.deps, token)).mobile_connected
    assert (await service.only_session()).state is State.CAPTURING
    assert not (await connect(service.deps, token, connected=False)).mobile_connected
    assert not (await read_handoff(service.deps, token)).mobile_connected
    assert (await service.only_session()).state is State.CAPTURING


@pytest.mark.parametrize("connected", [True, False])
async def test_doing_so_again_changes_nothing(service: Service, *, connected: bool) -> None:
    """A repeat, also a concurrent one, gets the same answer."""
    token = await service.ready()
    calls = [connect(service.deps, token, connected=connected) for _ in range(4)]
    assert {item.mobile_connected for item in await asyncio.gather(*calls)} == {connected}
    assert await service.callbacks() == []


async def test_a_phone_may_come_after_the_end(service: Service) -> None:
    """Connecting to a session that is over does not move it."""
    token = await service.ready()
    session = await service.only_session()
    await cancel_session(service.deps, service.live, session.id, new_operation(service.deps))
    assert (await connect(service.deps, token, connected=True)).mobile_connected
    assert (await service.only_session()).state is State.CANCELED


async def test_a_phone_does_not_do_the_sweepers_work(service: Service) -> None:
    """Connecting while a lease has run out leaves it to be written down, and told, by the sweep."""
    token = await service.ready()
    service.clock.faults = [Fault.AFTER, *[Fault.BEFORE] * 8]  # nor can it be let go
    await refusal(service.submitted(token, "face 0"))
    service.clock.faults = []
    service.clock.shift_ms = MINUTE_MS
    assert (await connect(service.deps, token, connected=True)).mobile_connected
    record = await service.record(*await service.named(token))
    assert record.state is State.PROCESSING
    assert (await service.only_session()).state is State.CAPTURING


async def test_it_is_read_for_fifteen_minutes(service: Service) -> None:
    """A minute before it still works, though the session has expired; then it does not."""
    service.clock.shift_ms = -15 * MINUTE_MS
    token = await service.ready()
    service.clock.shift_ms = -MINUTE_MS
    assert (await connect(service.deps, token, connected=True)).mobile_connected
    assert (await service.only_session()).state is State.EXPIRED
    service.clock.shift_ms = 0
    assert await refusal(read_handoff(service.deps, token)) == Code.TOKEN_EXPIRED
    expired = refusal(connect(service.deps, token, connected=False))
    assert await expired == Code.TOKEN_EXPIRED


async def test_unknown_and_erased_tokens_are_not_found(service: Service) -> None:
    """Both alike, for reading and for connecting."""
    token = await service.ready()
    await erase(service.deps, service.live, "alice", new_operation(service.deps))
    for text in (UNKNOWN, token, ""):
        assert await refusal(read_handoff(service.deps, text)) == Code.NOT_FOUND
        assert await refusal(connect(service.deps, text, connected=True)) == Code.NOT_FOUND
