"""Of two enrolments of one face at once at least one is flagged, whichever doors they came by.

Two doors, each with ports, connections and an index of its own, on one real store.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from redis.asyncio import Redis

from serve.deps import Deps
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import TenantPatch
from serve.flows.access import authenticate
from serve.flows.customers import EnrolAnswer, EnrolRequest, enrol
from serve.flows.search.flags import duplicates_of
from serve.flows.tenants import create_tenant
from serve.flows.transact import new_operation
from serve.inference.search.holder import Limits
from serve.inference.search.local import LocalIndex
from serve.settings import State
from serve.store.link import open_link
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import deps_on

PAIRS, AT_ONCE = 1_000, 16
LIMITS = Limits(wait_s=20.0, queue_max=1_024, threads=1)


@asynccontextmanager
async def doors(state: State, keyring: Keyring, count: int) -> AsyncIterator[list[Deps]]:
    """Ports of so many doors, each as a process of its own would have them."""
    async with AsyncExitStack() as held:
        opened = []
        for _ in range(count):
            link = open_link(state)
            held.push_async_callback(link.aclose)
            deps = deps_on(link, keyring)
            index = LocalIndex(deps.face_log, deps.shard_board, LIMITS)
            await held.enter_async_context(index)
            await index.until_ready()
            opened.append(replace(deps, index=index))
        yield opened


async def principal_of(deps: Deps) -> Principal:
    """Of a new tenant."""
    created = await create_tenant(deps, "Shop", TenantPatch())
    return await authenticate(deps, created.api_key)


async def enrolled(deps: Deps, principal: Principal, name: str, face: int) -> EnrolAnswer:
    """A photo of its own of that face."""
    image = face.to_bytes(4, "big") + name.encode()
    return await enrol(deps, principal, EnrolRequest(name, image), new_operation(deps))


async def test_of_two_enrolments_at_once_at_least_one_is_flagged(
    redis_state: State, link: Redis, keyring: Keyring
) -> None:
    """A thousand pairs in random partitions, by two doors: no pair slips through, and both of
    each list the other.
    """
    del link  # which emptied the store
    async with doors(redis_state, keyring, 2) as (left, right):
        principal = await principal_of(left)
        turn = asyncio.Semaphore(AT_ONCE)

        async def pair(face: int) -> tuple[EnrolAnswer, EnrolAnswer]:
            async with turn:
                one, two = await asyncio.gather(
                    enrolled(left, principal, f"left-{face}", face),
                    enrolled(right, principal, f"right-{face}", face),
                )
                return one, two

        answers = await asyncio.gather(*(pair(face) for face in range(PAIRS)))
        assert all(answer.status == "approved" for both in answers for answer in both)
        unseen = [both for both in answers if not any(answer.duplicates for answer in both)]
        assert unseen == []
        for both in answers[::10]:
            for answer, other in (both, both[::-1]):
                assert answer.verification_id is not None
                page = await duplicates_of(right, principal, answer.verification_id, "", 5)
                found = [flag.matched_verification_id for flag in page.items]
                assert found == [other.verification_id]


async def test_a_door_that_comes_late_knows_everybody(
    redis_state: State, link: Redis, keyring: Keyring
) -> None:
    """Its index is made from the log: who enrolled before it began is found as well."""
    del link
    async with doors(redis_state, keyring, 1) as (early,):
        principal = await principal_of(early)
        await asyncio.gather(*(enrolled(early, principal, f"c-{n}", n) for n in range(50)))
    async with doors(redis_state, keyring, 1) as (late,):
        answer = await enrolled(late, principal, "again", 33)
        assert answer.duplicates == 1
