"""Callbacks as a tenant looks back on them, on a real store."""

from serve.domain.callback import DeliveryState
from serve.domain.ids import Prefix
from serve.errors import Code
from serve.flows import events
from tests.helpers.records import an_id
from tests.helpers.service import Service, refusal, stranger


async def test_every_callback_is_found_again(service: Service) -> None:
    """Newest first in the list, and one by one by id."""
    token = await service.ready()
    await service.submitted(token, "face 60")
    await service.submitted(token, "face 0")
    page = await events.page(service.deps, service.live, "", 10)
    assert [event.sequence for event in page.items] == [2, 1]
    assert page.next_cursor == ""
    for event in page.items:
        assert await events.event(service.deps, service.live, event.id) == event


async def test_a_callback_is_sent_again_under_the_same_id(service: Service) -> None:
    """It is due at once, its body unchanged, and claimed like any other."""
    token = await service.ready()
    await service.submitted(token, "face 0")
    (lease,) = await service.deps.outbox.claim(10)
    done = lease.item.model_copy(
        update={"state": DeliveryState.DELIVERED, "next_attempt_at_ms": None}
    )
    assert await service.deps.outbox.settle(lease, done)
    assert await service.deps.outbox.claim(10) == []
    again = await events.resend(service.deps, service.live, lease.item.id)
    assert (again.id, again.body) == (lease.item.id, lease.item.body)
    assert again.state is DeliveryState.PENDING
    assert [found.item.id for found in await service.deps.outbox.claim(10)] == [again.id]


async def test_foreign_and_unknown_events_are_not_found(service: Service) -> None:
    """Another tenant, the other mode and ids of nobody, for reading and for sending again."""
    token = await service.ready()
    await service.submitted(token, "face 0")
    (event,) = await service.callbacks()
    asked = [(stranger(), event.id), (service.test, event.id)]
    asked += [(service.live, unknown) for unknown in (an_id(Prefix.EVENT, 7), "msg_", "")]
    for principal, event_id in asked:
        found = events.event(service.deps, principal, event_id)
        assert await refusal(found) == Code.NOT_FOUND
        again = events.resend(service.deps, principal, event_id)
        assert await refusal(again) == Code.NOT_FOUND
    assert (await events.page(service.deps, stranger(), "", 10)).items == ()
