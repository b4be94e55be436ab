"""The slow steps of an erasure, on a real Redis with a real append-only file."""

import asyncio

from serve.domain.erasure import ErasureReceipt, ErasureStep
from serve.flows.customers import erase, erasure
from serve.flows.transact import new_operation
from serve.flows.upkeep.erasures import REWRITE_EVERY_MS, ErasureRounds, run_erasures
from serve.store.vault.keyring import Keyring
from tests.helpers.service import Service


def done(receipt: ErasureReceipt) -> set[ErasureStep]:
    """The steps that are done."""
    return {item.step for item in receipt.steps if item.done_at_ms is not None}


async def test_a_round_takes_the_customer_out_of_the_file(service: Service) -> None:
    """The first round after an erasure rewrites the file and dates the step."""
    await service.enrolled()
    receipt = await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert done(receipt) == {ErasureStep.SEARCH, ErasureStep.STORE}
    await ErasureRounds().advance(service.deps)
    after = await erasure(service.deps, service.live, receipt.id)
    assert done(after) == {ErasureStep.SEARCH, ErasureStep.STORE, ErasureStep.LOG}
    assert not after.is_complete


async def test_rewrites_are_rare(service: Service) -> None:
    """A second erasure waits for the next rewrite, a quarter of the promised hour at most."""
    rounds = ErasureRounds()
    receipts = []
    for name in ("alice", "bob"):
        await service.enrolled(name)
        receipts.append(await erase(service.deps, service.live, name, new_operation(service.deps)))
        await rounds.advance(service.deps)
    found = [await erasure(service.deps, service.live, receipt.id) for receipt in receipts]
    assert [ErasureStep.LOG in done(receipt) for receipt in found] == [True, False]
    rounds.rewritten_at_ms -= REWRITE_EVERY_MS
    await rounds.advance(service.deps)
    last = await erasure(service.deps, service.live, receipts[1].id)
    assert ErasureStep.LOG in done(last)


async def test_the_last_step_waits_for_the_epoch_s_key(service: Service, keyring: Keyring) -> None:
    """The backups' step is done in the first round after the key was destroyed, not before."""
    await service.enrolled()
    receipt = await erase(service.deps, service.live, "alice", new_operation(service.deps))
    rounds = ErasureRounds()
    await rounds.advance(service.deps)
    await service.deps.epochs.renew()  # the fixture's first epoch is long over
    await rounds.advance(service.deps)
    kept = await erasure(service.deps, service.live, receipt.id)
    assert ErasureStep.BACKUPS not in done(kept)
    now_ms = await service.deps.directory.now_ms()
    keyring.destroy_replaced(now_ms + 8 * 24 * 3_600_000, 7)
    await rounds.advance(service.deps)
    whole = await erasure(service.deps, service.live, receipt.id)
    assert whole.is_complete
    assert await service.deps.erasures.unfinished(10) == []


async def test_the_loop_ends_when_told(service: Service) -> None:
    """A stop ends the rounds at once, the first of them done."""
    await service.enrolled()
    receipt = await erase(service.deps, service.live, "alice", new_operation(service.deps))
    stop = asyncio.Event()
    running = asyncio.create_task(run_erasures(service.deps, stop))
    found = receipt
    while ErasureStep.LOG not in done(found):
        await asyncio.sleep(0)
        found = await erasure(service.deps, service.live, receipt.id)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert running.done()
