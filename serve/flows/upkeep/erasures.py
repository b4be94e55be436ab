"""The two steps of an erasure that take time: the append-only file, then the backups."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from serve.deps import Deps
from serve.domain.erasure import LOG_REWRITE_MS_MAX, ErasureReceipt, ErasureStep, with_step
from serve.errors import ServeError
from serve.observe import logs, metrics

RECEIPTS_MAX = 1_000
ROUND_S = 30.0
ROUNDS_PER_RENEWAL = 60  # twice an hour the epochs are looked at; a new one begins each day
REWRITE_EVERY_MS = LOG_REWRITE_MS_MAX // 4  # so that one failed rewrite breaks no promise


async def run_erasures(deps: Deps, stop: asyncio.Event) -> None:
    """Carry erasures on, and the epochs they wait for, until `stop` is set."""
    rounds = ErasureRounds()
    number = 0
    while not stop.is_set():
        try:
            if number % ROUNDS_PER_RENEWAL == 0:
                await deps.epochs.renew()
                await deps.masters.renew()
            await rounds.advance(deps)
            number += 1
        except ServeError as error:  # the next round tries again
            logs.write("erasures put off", code=error.code)
        except OSError as error:  # a disk that is full takes no new key
            logs.write_error("erasures put off", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), ROUND_S)


@dataclass(slots=True)
class ErasureRounds:
    """Rounds over the receipts whose steps are open; remembers when it last rewrote the file."""

    rewritten_at_ms: int = 0

    async def advance(self, deps: Deps) -> None:
        """Carry out what is due, and write down what is done."""
        receipts = await deps.erasures.unfinished(RECEIPTS_MAX)
        now_ms = await deps.directory.now_ms()
        began_ms = None
        is_waited_for = any(_is_open(receipt, ErasureStep.LOG) for receipt in receipts)
        if is_waited_for and now_ms - self.rewritten_at_ms >= REWRITE_EVERY_MS:
            began_ms = await deps.erasures.rewrite_log()
            if began_ms is not None:
                self.rewritten_at_ms = began_ms
                now_ms = await deps.directory.now_ms()
        for receipt in receipts:
            after = receipt
            # A rewrite holds what was there when it began: it must have begun after the erasure.
            if began_ms is not None and receipt.requested_at_ms < began_ms:
                after = with_step(after, ErasureStep.LOG, now_ms)
            if deps.epochs.is_destroyed(receipt.epoch):
                after = with_step(after, ErasureStep.BACKUPS, now_ms)
            if after != receipt:
                await deps.erasures.put(after)
                for before, item in zip(receipt.steps, after.steps, strict=True):
                    if before != item:
                        metrics.count_erasure_step(item.step)


def _is_open(receipt: ErasureReceipt, step: ErasureStep) -> bool:
    return any(item.step is step and item.done_at_ms is None for item in receipt.steps)
