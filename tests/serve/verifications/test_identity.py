"""Reusable identity tokens: shown once, kept as a digest, one in force."""

import asyncio
import re
from typing import Any

from serve.domain.customer import with_lockout_failure
from serve.domain.ids import IDENTITY_PATTERN, Mode, digest, identity_partition
from serve.domain.operation import Operation
from serve.domain.verifications.verification import Applicant, DocumentType
from serve.errors import Code
from serve.flows.transact import new_operation
from serve.flows.verifications.identity import issue
from serve.flows.verifications.records import CreateRequest, create
from tests.helpers.records import NOW_MS, a_customer
from tests.helpers.service import Service, refusal, repeatable, stranger
from tests.serve.verifications.again import again, holding, issued


async def everything(service: Service) -> bytes:
    """All keys and values of the store, in one piece."""
    found: list[bytes] = []
    for key in await service.keys("*"):
        dumped = await service.link.dump(key)
        kind: Any = await service.link.type(key)
        found += [key.encode(), dumped or b""]
        if kind == b"stream":
            found.append(repr(await service.link.xrange(key)).encode())
        if kind == b"hash":
            found.append(repr(await service.link.hgetall(key)).encode())
    return b"\n".join(found)


async def test_a_token_names_its_partition_and_nothing_else(service: Service) -> None:
    """256 random bits behind the customer's partition; no two are alike."""
    tokens = [await holding(service), *[await issued(service) for _ in range(3)]]
    subject = service.deps.ledger.subject(service.tenant.id, Mode.LIVE, "alice")
    assert len(set(tokens)) == 4
    for token in tokens:
        assert re.fullmatch(IDENTITY_PATTERN, token)
        assert identity_partition(token) == subject.partition


async def test_only_its_digest_is_kept(service: Service) -> None:
    """Neither in force nor replaced does a token lie anywhere in the store."""
    old = await holding(service)
    token = await issued(service)
    await again(service, token)
    text = await everything(service)
    for each in (old, token):
        assert each[6:].encode() not in text
        assert digest(each).encode() in text


async def test_there_is_none_without_a_verified_face(service: Service) -> None:
    """Nobody is 404; somebody without a face to compare with is refused."""
    op = new_operation(service.deps)
    assert await refusal(issue(service.deps, service.live, "alice", op)) == Code.NOT_FOUND
    request = CreateRequest(DocumentType.PASSPORT, Applicant(), customer_id="alice")
    await create(service.deps, service.live, request, new_operation(service.deps))
    assert await refusal(issued(service)) == Code.IDENTITY_REFUSED
    await service.enrolled()
    await issued(service)
    for principal in (stranger(), service.test):
        call = issue(service.deps, principal, "alice", new_operation(service.deps))
        assert await refusal(call) == Code.NOT_FOUND


async def test_a_repeat_gets_the_same_token(service: Service) -> None:
    """Who lost the answer may ask for it again, and no other token was made."""

    async def asked() -> str:
        return (await issue(service.deps, service.live, "alice", repeatable())).token

    await service.enrolled()
    first, *others = await asyncio.gather(*(asked() for _ in range(5)))
    assert set(others) == {first}
    assert len(await service.keys("*:identity:*")) == 1
    assert (await again(service, first)).status == "approved"


async def test_of_many_issued_at_once_one_is_in_force(service: Service) -> None:
    """The last that was written down."""
    await service.enrolled()

    async def asked(number: int) -> str:
        op = Operation(f"issue-{number}")
        return (await issue(service.deps, service.live, "alice", op)).token

    tokens = await asyncio.gather(*(asked(number) for number in range(4)))
    outcomes = [await refusal(again(service, token)) for token in tokens]
    assert sorted(outcomes) == ["identity_refused"] * 3 + ["nothing refused"]


def test_a_failure_without_a_reference_carries_over_to_none() -> None:
    """It counts for the lock, and against no session of the tenant's."""
    customer = with_lockout_failure(a_customer(), NOW_MS)
    assert customer.recent_failures(NOW_MS) == (NOW_MS,)
    assert customer.carried == {}
