"""F5: replies that are lost after Redis has carried out what was asked.

TEST_LOST_REPLIES and TEST_SEED repeat or lengthen a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serve.demo.caller import Answer, Caller
from serve.domain.change import Change, Snapshot
from serve.flows.tenants import rotate_secret
from serve.ports import Committed
from serve.store.ledger import RedisLedger
from serve.store.link import RETRIES_MAX
from serve.store.scripts import COMMIT, REPLACE
from serve.store.vault.keyring import Keyring
from tests.faults.proxy import FaultProxy
from tests.faults.stage import broken_promises, loaded, summary
from tests.faults.store.world import PHOTOS, World, playing, with_ledger
from tests.helpers.front_door import text

LOST = int(os.environ.get("TEST_LOST_REPLIES", "150"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
CLIENTS = 6
WORD = COMMIT.sha1.encode()
VERDICT = b":outbox"  # a change that is called back
PAUSES_S = (0.01, 0.1)
KYC = "/api/v1/kyc"
KINDS = {"enrol", "open", "submit", "review", "cancel", "erase", "alert change", "rotate",
         "tenant change"}  # fmt: skip
TOLD = [3, 3, 3, 1, 2]  # callbacks of the session of each capture, and of the canceled one
PATIENCE_S = 30.0
TRIES = (1, 1, 1, 2, 2, RETRIES_MAX + 1)


@dataclass(frozen=True, slots=True)
class ForgetfulLedger(RedisLedger):
    """A ledger without operation ids: each try is carried out as if nobody had tried before."""

    async def commit(self, snapshot: Snapshot, change: Change, op_id: str) -> Committed:
        fresh = random.SystemRandom().randbytes(16).hex()
        return await RedisLedger.commit(self, snapshot, change, fresh)


def made_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def lose_replies(proxy: FaultProxy, word: bytes, tries: Sequence[int], number: int) -> None:
    """Lose so many replies to requests with `word` in them, each time those of so many tries."""
    chance = random.Random(SEED)  # noqa: S311
    lost = proxy.lost
    while proxy.lost - lost < number:
        await asyncio.sleep(chance.uniform(*PAUSES_S))
        proxy.lose_replies(word, min(chance.choice(tries), number))
        while proxy.swallow.left:  # noqa: ASYNC110 (the proxy counts them down)
            await asyncio.sleep(0.001)


async def test_a_lost_reply_doubles_nothing(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever reply is lost, and however often, each change is there once and told once."""
    async with playing(tmp_path, keyring) as (made, proxy, _):
        async with loaded(made.clients, SEED, CLIENTS):
            await lose_replies(proxy, WORD, TRIES, LOST)
        found = await broken_promises(made.clients, made.receiver)
    with capsys.disabled():
        print(summary(f"lost replies: {proxy.lost}", SEED, made.history, found))
    assert found == []
    assert made.history.unknown.total() > 0
    assert min(made.history.acknowledged.values()) > 0


async def test_the_checker_sees_doubles_without_operation_ids(
    tmp_path: Path, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same run over a ledger without operation ids is caught with attempts and callbacks
    counted twice.
    """
    async with playing(tmp_path, keyring, with_ledger(ForgetfulLedger)) as (made, proxy, _):
        async with loaded(made.clients, SEED, CLIENTS):
            await lose_replies(proxy, VERDICT, [RETRIES_MAX + 1], LOST)
        found = await broken_promises(made.clients, made.receiver)
    with capsys.disabled():
        print(summary("lost replies without operation ids", SEED, made.history, found))
    kinds = Counter(kind for line in found for kind in ("counted", "told of") if kind in line)
    assert kinds["counted"] > 0
    assert kinds["told of"] > 0


async def a_life(made: World, before_each: Callable[[str], None]) -> dict[str, Any]:
    """One customer's story through every kind of change; what is there of it in the end."""
    tenant, phone = made.clients.tenant, made.clients.phone
    opening = {"customer_id": "ann", "event": "login",
               "callback_url": made.receiver.url}  # fmt: skip

    async def ask(caller: Caller, method: str, path: str, body: Any = None, *, seq: str) -> Answer:
        before_each(seq)
        answer = await caller.call(method, path, body)
        assert answer.status in {200, 201}, (seq, answer.status, answer.document)
        return answer

    async def opened(reference: str) -> str:
        body = {**opening, "reference": reference}
        found = await ask(tenant, "POST", f"{KYC}/face/session", body, seq="open")
        return str(found.at("token"))

    async def shown(token: str, image: bytes) -> str:
        body = {"token": token, "proof": text(image)}
        found = await ask(phone, "POST", f"{KYC}/face/submit", body, seq="submit")
        return str(found.at("resource_id"))

    photo = {"image": text(PHOTOS.enrolled)}
    await ask(tenant, "POST", "/api/v1/customers/ann/faces", photo, seq="enrol")
    declined = await opened("first")
    sessions = [await shown(declined, image) for image in (b"mary", b"paul", b"rose")]
    (alert,) = (await tenant.call("GET", f"{KYC}/alerts")).document["data"]
    path = f"{KYC}/alerts/{alert['id']}"
    await ask(tenant, "PATCH", path, {"status": "in_review"}, seq="alert change")
    canceled = await opened("second")
    found = await tenant.call("GET", f"{KYC}/face/verify/{canceled}")
    sessions.append(str(found.at("resource_id")))
    path = f"{KYC}/face/sessions/{sessions[-1]}"
    await ask(tenant, "POST", f"{path}/cancel", seq="cancel")
    strict = {"liveness_policy": "required"}
    await ask(tenant, "PATCH", "/api/v1/tenant", strict, seq="tenant change")
    held = await shown(await opened("third"), PHOTOS.same[0])
    sessions.append(held)
    path = f"{KYC}/face/sessions/{held}"
    await ask(tenant, "POST", f"{path}/review", {"decision": "approved"}, seq="review")
    before_each("rotate")
    await rotate_secret(made.deps, made.tenant.tenant.id)
    counts = (await tenant.call("GET", f"{KYC}/overview")).document
    events = (await tenant.call("GET", "/api/v1/events?limit=100")).document["data"]
    told = [
        len(await made.receiver.wait_for(each, number, PATIENCE_S))
        for each, number in zip(sessions, TOLD, strict=True)
    ]
    await ask(tenant, "DELETE", "/api/v1/customers/ann", seq="erase")
    gone = await tenant.call("GET", f"{KYC}/status?customer_id=ann")
    return {
        "counts": counts, "events": len(events), "told": told,
        "secrets": len(await made.deps.directory.secrets(made.tenant.tenant.id)),
        "after erasure": gone.at("kyc_status"),
    }  # fmt: skip


@pytest.mark.parametrize("tries", [1, RETRIES_MAX])
async def test_each_kind_of_change_happens_once(
    tmp_path: Path, keyring: Keyring, tries: int
) -> None:
    """Enrol, open, submit, review, cancel, erase, alert change and rotate leave the same behind
    whether the reply to each was lost or not.
    """
    lost: Counter[str] = Counter()
    async with playing(made_folder(tmp_path / "well"), keyring) as (made, proxy, _):
        expected = await a_life(made, lambda seq: None)
        assert proxy.lost == 0
    async with playing(made_folder(tmp_path / "ill"), keyring) as (made, proxy, _):

        def lose(seq: str) -> None:
            assert proxy.swallow.left == 0, f"before {seq} nothing was lost"
            lost[seq] += tries
            word = {"rotate": b"$3\r\nSET\r\n", "tenant change": REPLACE.sha1.encode()}
            proxy.lose_replies(word.get(seq, WORD), tries)

        assert await a_life(made, lose) == expected
        assert proxy.lost == lost.total()
    assert expected["told"] == TOLD
    assert expected["after erasure"] == "pending"
    assert set(lost) == KINDS
