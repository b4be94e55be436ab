"""The room where images meet the models: when a batch is formed, of what, and what is dropped."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import wraps

import pytest

from pipeline.errors import Code
from pipeline.face.steps import FRAME, REFERENCE, SELFIE
from serve.inference.parcels import Lapse, Report
from serve.inference.room import DEVICE_FAILURES_MAX
from tests.serve.inference.toy_runner import PATIENCE_S
from tests.serve.room.scripted_runner import A, B, Scripted, ask, numbers, opened, parcel, said

SOON_S, LATER_S = 5.0, 10.0  # of a deadline, and of a clock put ahead


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time can be put ahead, and that tells when a thread has called it."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0
        self.called = threading.Event()

    def time(self) -> float:
        return super().time() + self.ahead_s

    def put_ahead(self) -> None:
        self.ahead_s = LATER_S

    def call_soon_threadsafe(self, *args: object, **kwargs: object) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(*args, **kwargs)  # type: ignore[arg-type]
        self.called.set()
        return handle


def clocked(test: Callable[[Clock], Coroutine[None, None, None]]) -> Callable[[], None]:
    """The same test on a loop whose clock it can put ahead."""

    @wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=Clock) as runner:
            clock = runner.get_loop()
            assert isinstance(clock, Clock)
            runner.run(test(clock))

    del run.__wrapped__  # pytest would look for a fixture `clock`
    return run


async def test_images_that_come_in_one_go_are_one_batch() -> None:
    """A free slot waits for no timer, but for everybody who asks in the same moment."""
    runner = Scripted()
    async with opened(runner) as room:
        tasks = await ask(room, *range(8))
        runner.running.let_go()
        assert await said(tasks) == list(range(8))
    assert runner.batches == runner.decoded == [numbers(*range(8))]


async def test_a_free_slot_takes_its_share_of_what_waits() -> None:
    """Of two slots each takes one of two images at once, and later half of what has gathered."""
    runner = Scripted()
    async with opened(runner, slots=2) as room:
        tasks = await ask(room, 1, 2)
        await runner.running.came(2)
        assert sorted(runner.batches) == [[b"1"], [b"2"]]
        tasks += await ask(room, 3, 4, 5, 6)
        assert room.waiting == 4
        runner.running.let_go(1)
        await runner.running.came()
        assert runner.batches[2] == numbers(3, 4)
        assert room.waiting == 2
        runner.running.let_go()
        assert await said(tasks) == [1, 2, 3, 4, 5, 6]


async def test_a_batch_has_a_bound() -> None:
    """However many wait, a slot takes no more than that, nearest deadline first."""
    runner = Scripted()
    async with opened(runner, batch_max=4) as room:
        tasks = await ask(room, 0)
        await runner.running.came()
        tasks += await ask(room, 1, 2, 3, 4)
        urgent = await ask(room, 5, remaining_s=LATER_S)
        runner.running.let_go()
        assert await said([*tasks, *urgent]) == [0, 1, 2, 3, 4, 5]
    assert runner.batches == [[b"0"], numbers(5, 1, 2, 3), [b"4"]]


@pytest.mark.parametrize("remaining_s", [0.0, -1.0])
async def test_an_image_that_comes_too_late_is_not_taken(remaining_s: float) -> None:
    """Without time left it is dropped on arrival, though a slot is free."""
    runner = Scripted()
    async with opened(runner) as room:
        assert await said(await ask(room, 1, remaining_s=remaining_s)) == [Lapse.EXPIRED]
        assert room.report() == Report()
    assert runner.batches == []


@clocked
async def test_an_image_that_waited_too_long_never_runs(clock: Clock) -> None:
    """It is dropped when a batch is formed; who came with it is looked at."""
    runner = Scripted()
    async with opened(runner) as room:
        hasty, patient = (
            asyncio.create_task(room.examine(parcel(number, remaining_s=remaining_s)))
            for number, remaining_s in ((1, SOON_S), (2, PATIENCE_S))
        )
        await asyncio.sleep(0)  # both are in the queue; the batch is formed after this
        clock.put_ahead()
        runner.running.let_go()
        assert await said([hasty, patient]) == [Lapse.EXPIRED, 2]
        assert room.report().batches == (1,)
    assert runner.batches == [[b"2"]]


@clocked
async def test_an_answer_after_the_deadline_is_none(clock: Clock) -> None:
    """Evidence that is ready when its deadline has passed comes too late, to the moment."""
    runner = Scripted()
    async with opened(runner) as room:
        tasks = await ask(room, 1, remaining_s=SOON_S)
        await runner.running.came()
        clock.called.clear()
        clock.call_soon(clock.call_soon, clock.put_ahead)  # between the batch's end and its answer
        runner.running.let_go()
        assert clock.called.wait(PATIENCE_S)
        assert await said(tasks) == [Lapse.EXPIRED]


@clocked
async def test_nobody_waits_beyond_a_deadline(clock: Clock) -> None:
    """A caller is told at its deadline, whether its image waits or runs."""
    runner = Scripted()
    async with opened(runner) as room:
        tasks = await ask(room, 1, remaining_s=SOON_S)
        await runner.running.came()
        tasks += await ask(room, 2, remaining_s=SOON_S)
        clock.put_ahead()
        assert await said(tasks) == [Lapse.EXPIRED] * 2
        assert room.waiting == 0
    assert runner.batches == [[b"1"]]


async def test_a_cancelled_caller_takes_its_image_along() -> None:
    """What waits never runs; what runs changes nothing for the others of its batch."""
    runner = Scripted()
    async with opened(runner) as room:
        running, other = await ask(room, 0, 1)
        await runner.running.came()
        waiting, last = await ask(room, 2, 3)
        running.cancel()
        waiting.cancel()
        await asyncio.sleep(0)
        assert room.waiting == 1
        runner.running.let_go()
        assert await said([other, last]) == [1, 3]
    assert runner.batches == [numbers(0, 1), [b"3"]]


async def test_a_caller_who_leaves_at_once_costs_nothing() -> None:
    """Gone before a batch is formed, though the slot is free, its image is in none."""
    runner = Scripted()
    async with opened(runner) as room:
        asking = asyncio.create_task(room.examine(parcel(1)))
        await asyncio.sleep(0)  # it is in the queue; the batch is formed after this
        asking.cancel()
        await asyncio.wait([asking])
        assert room.report() == Report()
    assert runner.batches == []


async def test_in_a_full_room_the_small_tenant_is_served() -> None:
    """A tenant with twenty times as many images loses what is too much, and each of the other's
    is in the next batch there is.
    """
    runner = Scripted()
    async with opened(runner, queue_max=20, batch_max=2) as room:
        first = await ask(room, 99)
        await runner.running.came()
        assert room.has_room(A)
        many = await ask(room, *range(40))
        assert not room.has_room(A)
        assert room.has_room(B)
        few = await ask(room, 50, 51, tenant_id=B)
        assert room.waiting == 20
        runner.running.let_go()
        assert await said([*first, *few]) == [99, 50, 51]
        assert await said(many) == [*range(18), *[Lapse.OVERLOADED] * 22]
    assert runner.batches[1:3] == [numbers(0, 50), numbers(1, 51)]


async def test_a_defect_is_found_by_halving() -> None:
    """The image that breaks its batch is lost alone, after as many runs as halving takes."""
    runner = Scripted()
    async with opened(runner) as room:
        runner.running.let_go()
        tasks = await ask(room, 0, 1, 2, "defect", 4, "corrupt", 6, 7)
        expected = [0, 1, 2, Lapse.LOST, 4, Code.IMAGE_CORRUPT, 6, 7]
        assert await said(tasks) == expected
        assert room.report().batches == (8,)
    assert [len(batch) for batch in runner.batches] == [8, 4, 2, 2, 1, 1, 4]


@pytest.mark.parametrize("image", ["undecodable", "forgotten"])
async def test_a_pipeline_that_breaks_its_promise_breaks_it_for_one(image: str) -> None:
    """Where a slot cannot decode an image, or gets no answer to it, the others are answered."""
    runner = Scripted()
    async with opened(runner) as room:
        runner.running.let_go()
        assert await said(await ask(room, 1, image, 3)) == [1, Lapse.LOST, 3]


async def test_images_of_different_plans_run_together() -> None:
    """A batch with and without chips is one run, and each image has the plan that came with it."""
    runner = Scripted()
    async with opened(runner) as room:
        runner.running.let_go()
        plans = (REFERENCE, SELFIE, FRAME, REFERENCE)
        parcels = [parcel(number, plan=plan) for number, plan in enumerate(plans)]
        tasks = [asyncio.create_task(room.examine(each)) for each in parcels]
        assert await said(tasks) == [0, 1, 2, 3]
        assert room.report().batches == (4,)
    assert runner.batches == [numbers(0, 1, 2, 3)]
    assert [tuple(each) for each in runner.plans] == [plans]


async def test_the_wait_is_that_of_who_goes_before() -> None:
    """Nothing before the first batch; then each image in front for as long as one takes a slot."""
    runner = Scripted()
    async with opened(runner, slots=1) as room:
        tasks = await ask(room, 1)
        await runner.running.came(1)
        assert room.wait_s(A) == 0.0
        runner.running.let_go(1)
        assert await said(tasks) == [1]
        tasks = await ask(room, 2)
        await runner.running.came(1)
        assert room.wait_s(A) == 0.0 < room.image_s
        tasks += await ask(room, 3, 4)
        assert room.wait_s(A) == 2 * room.image_s
        assert room.wait_s(B) == room.image_s
        runner.running.let_go()
        assert await said(tasks) == [2, 3, 4]


async def test_a_report_tells_what_is_new() -> None:
    """Batches and processor time are told once; the queue and the pace as they are."""
    runner = Scripted()
    async with opened(runner, slots=2) as room:
        assert room.report() == Report(slots=2)
        tasks = await ask(room, 1, 2)
        await runner.running.came(2)
        tasks += await ask(room, 3, 4, 5)
        assert room.report() == Report((), 0.0, 3, 0.0, 2)
        runner.running.let_go()
        assert await said(tasks) == [1, 2, 3, 4, 5]
        report = room.report()
        assert sum(report.batches) == 5
        assert report.cpu_s > 0
        assert report.waiting == 0
        assert report.image_s == room.image_s > 0
        assert room.report() == Report((), 0.0, 0, report.image_s, 2)


@pytest.mark.parametrize(
    ("batches", "is_healthy"),
    [
        (["device"] * (DEVICE_FAILURES_MAX - 1), True),
        (["device"] * DEVICE_FAILURES_MAX, False),
        (["device device"] * DEVICE_FAILURES_MAX, False),
        (["device"] * DEVICE_FAILURES_MAX + ["1"], True),
        (["device", "device", "device 1", "device"], True),
        (["corrupt"] * DEVICE_FAILURES_MAX, True),
        (["defect"] * DEVICE_FAILURES_MAX, True),
    ],
)
async def test_a_device_that_fails_batch_after_batch_is_not_healthy(
    batches: list[str], *, is_healthy: bool
) -> None:
    """Three whole batches in a row make it so, and a good image ends it; other trouble does not."""
    runner = Scripted()
    async with opened(runner) as room:
        runner.running.let_go()
        for images in batches:
            await said(await ask(room, *images.split()))
        assert room.is_healthy is is_healthy


async def test_closing_finishes_what_was_taken() -> None:
    """Who was let in is answered before the room has closed; nobody is let in any more."""
    runner = Scripted()
    async with AsyncExitStack() as stack:
        room = await stack.enter_async_context(opened(runner))
        tasks = await ask(room, 0)
        await runner.running.came()
        tasks += await ask(room, 1, 2)
        closing = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0)
        assert not room.has_room(A)
        assert await said(await ask(room, 3)) == [Lapse.LOST]
        assert await said(tasks) == [0, 1, 2]
        await closing
    assert not room.has_room(A)
    assert await said(await ask(room, 4)) == [Lapse.LOST]


async def test_who_comes_in_the_moment_of_closing_is_answered() -> None:
    """An image that was taken in, but not looked at yet, is not forgotten."""
    runner = Scripted()
    async with opened(runner) as room:
        asking = asyncio.create_task(room.examine(parcel(1)))
        await asyncio.sleep(0)
    assert await said([asking]) == [1]
