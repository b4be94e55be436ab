"""A tenant's preferences in its two worlds, on a real store."""

import asyncio

from serve.domain.tenancy.preferences import Event, PreferencesPatch
from serve.flows.preferences import change, read
from tests.helpers.service import Service


async def test_each_mode_has_its_own(service: Service) -> None:
    """A change in one world is not seen in the other."""
    before = await read(service.deps, service.live)
    await change(service.deps, service.test, PreferencesPatch(min_age=21))
    assert await read(service.deps, service.live) == before
    assert (await read(service.deps, service.test)).min_age == 21


async def test_what_changes_is_what_is_read(service: Service) -> None:
    """The answer of a change is what follows, dated later than what was before."""
    before = await read(service.deps, service.live)
    after = await change(service.deps, service.live, PreferencesPatch(min_age=21))
    assert await read(service.deps, service.live) == after
    assert after.updated_at_ms > before.updated_at_ms
    assert after.created_at_ms == before.created_at_ms


async def test_concurrent_changes_all_count(service: Service) -> None:
    """Changes of different rules at the same time do not undo each other."""
    patches = [
        PreferencesPatch.model_validate({"reuse_kyc_triggers": {event: False}})
        for event in (Event.LOGIN, Event.NAME_CHANGE, Event.PASSWORD_CHANGE)
    ]
    await asyncio.gather(*(change(service.deps, service.live, patch) for patch in patches))
    rules = (await read(service.deps, service.live)).reuse_kyc_triggers
    assert (rules.login, rules.name_change, rules.password_change) == (False, False, False)
    assert rules.phone_number_change
