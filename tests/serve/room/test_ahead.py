"""Decoding ahead of a busy slot: how far, in what order, and whose trouble it is."""

import asyncio

from serve.inference.parcels import Lapse
from tests.serve.room.scripted_runner import B, Scripted, ask, numbers, opened, said

SOON_S = 10.0


async def test_the_next_batch_is_decoded_while_the_slot_is_busy() -> None:
    """By whoever is free, a batch for each slot and no image more; each is decoded once."""
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=4, batch_max=2) as room:
        tasks = await ask(room, 0)
        runner.decoding.let_go(1)
        await runner.decoding.came()
        await runner.running.came()
        tasks += await ask(room, 1, 2, 3, 4, 5)
        await runner.decoding.came(2)
        assert sorted(runner.decoded) == [[b"0"], [b"1"], [b"2"]]
        assert room.waiting == 5
        runner.decoding.let_go()
        assert runner.batches == [[b"0"]]
        runner.running.let_go()
        assert await said(tasks) == [0, 1, 2, 3, 4, 5]
    assert sorted(runner.decoded) == [[b"%d" % number] for number in range(6)]


async def test_a_batch_waits_for_a_slot() -> None:
    """However much is decoded, nothing runs before there is a free slot; then it runs together."""
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=1) as room:
        tasks = await ask(room, *range(5))
        runner.decoding.let_go(4)
        await runner.decoding.came(5)  # with the fifth at the decoder, the fourth has left it
        assert runner.batches == [[b"0"]]
        assert room.waiting == 4
        assert room.report().cpu_s > 0
        runner.running.let_go()
        await runner.running.came(2)
        assert room.waiting == 1
        runner.decoding.let_go()
        assert await said(tasks) == [0, 1, 2, 3, 4]
    assert runner.batches == [[b"0"], numbers(1, 2, 3), [b"4"]]


async def test_every_slot_has_its_batch() -> None:
    """Slots that are free take what is decoded, each image as soon as it is; and while they are
    busy there is a next batch for each.
    """
    runner = Scripted()
    async with opened(runner, decoders=4, slots=2, batch_max=1) as room:
        tasks = await ask(room, 1, 2)
        await runner.running.came(2)
        assert sorted(runner.batches) == [[b"1"], [b"2"]]
        tasks += await ask(room, 3, 4, 5)
        await runner.decoding.came(4)
        runner.running.let_go()
        assert await said(tasks) == [1, 2, 3, 4, 5]
        assert room.report().batches == (1,) * 5


async def test_the_most_urgent_is_decoded_and_run_first() -> None:
    """Both queues go by deadline: the one before the decoder, and the one before the slot."""
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=1) as room:
        tasks = await ask(room, 0, 1, 2)
        runner.decoding.let_go(1)
        await runner.decoding.came(2)
        tasks += await ask(room, 3, remaining_s=SOON_S)
        tasks += await ask(room, 4)
        runner.decoding.let_go(3)
        await runner.decoding.came(3)
        runner.running.let_go()
        await runner.running.came(2)
        runner.decoding.let_go()
        assert await said(tasks) == [0, 1, 2, 3, 4]
    assert runner.decoded == [[b"0"], [b"1"], [b"3"], [b"2"], [b"4"]]
    assert runner.batches == [[b"0"], numbers(3, 1, 2), [b"4"]]


async def test_decoding_is_fair_between_tenants() -> None:
    """One who asks little does not wait until all of one who asks much is decoded."""
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=1) as room:
        tasks = await ask(room, *range(20))
        await runner.decoding.came()
        tasks += await ask(room, 50, tenant_id=B)
        runner.running.let_go()
        runner.decoding.let_go()
        assert await said(tasks) == [*range(20), 50]
    assert [b"50"] in runner.decoded[:3]


async def test_an_image_that_breaks_its_decoding_is_lost_alone() -> None:
    """The others are in the same batch, which knows nothing of it."""
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=1) as room:
        tasks = await ask(room, 0, 1, "undecodable", 2, 3)
        runner.decoding.let_go(4)
        await runner.decoding.came(5)
        runner.running.let_go()
        await runner.running.came(2)
        runner.decoding.let_go()
        assert await said(tasks) == [0, 1, Lapse.LOST, 2, 3]
    assert runner.batches == [[b"0"], numbers(1, 2), [b"3"]]


async def test_who_leaves_makes_room_ahead() -> None:
    """An image whose caller is gone is not run, whether it is being decoded or was; another is
    decoded in its place.
    """
    runner = Scripted()
    async with opened(runner, holds_decoding=True, decoders=1, batch_max=2) as room:
        *tasks, decoded, decoding, other = await ask(room, 0, 1, 2, 3)
        runner.decoding.let_go(2)
        await runner.decoding.came(3)
        for gone in (decoded, decoding):
            gone.cancel()
        await asyncio.sleep(0)
        assert room.waiting == 2  # one is with the decoder still
        runner.decoding.let_go(1)
        await runner.decoding.came()
        assert room.waiting == 1
        runner.decoding.let_go()
        runner.running.let_go()
        assert await said([*tasks, other]) == [0, 3]
        assert room.waiting == 0
    assert runner.batches == [[b"0"], [b"3"]]


async def test_closing_finishes_what_is_decoded() -> None:
    """Whether an image waits for a decoder or for a slot, its caller is answered."""
    runner = Scripted()
    async with opened(runner, decoders=1, batch_max=2) as room:
        tasks = await ask(room, 0)
        await runner.running.came()
        tasks += await ask(room, 1, 2, 3, 4)
        await runner.decoding.came(3)
    assert await said(tasks) == [0, 1, 2, 3, 4]
    assert room.report().cpu_s > 0
