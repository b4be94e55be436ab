"""Many callers in few calls: each gets its own answer once, whatever befalls its neighbours."""

import asyncio
import gc
from collections.abc import Sequence
from sys import getrefcount

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, Failure
from pipeline.face.steps import SELFIE
from serve.inference.dispatch import Dispatcher, Limits, ReplicaLostError
from serve.inference.parcels import Lapse, Parcel, Report, pack, unpack
from tests.serve.inference.scripted_replicas import (
    TIMEOUT_S,
    Replicas,
    ask,
    counted,
    dispatching,
    names,
    said,
)
from tests.serve.inference.simulation import everybody_waits, in_virtual_time


@in_virtual_time
async def test_many_callers_are_few_calls() -> None:
    """Two hundred single callers at once are answered, each with its own, in a call of 16 each."""
    before, lapsed = counted("calls_total"), counted("lapses_total", lapse="expired")
    replicas = Replicas(delay_s=0.1)
    async with dispatching(replicas, width=4) as dispatcher:
        answers = await asyncio.gather(*await ask(dispatcher, *names(200)))
    assert answers == [said(image) for image in names(200)]
    assert counted("calls_total") - before == len(replicas.envelopes) <= 30
    assert counted("lapses_total", lapse="expired") == lapsed
    assert max(replicas.sizes) == 16


@in_virtual_time
async def test_no_image_waits_while_an_envelope_may_go() -> None:
    """A lone image goes at once; what comes while all are on their way goes with the next."""
    replicas = Replicas()
    async with dispatching(replicas, width=2) as dispatcher:
        tasks = [*await ask(dispatcher, b"0"), *await ask(dispatcher, b"1")]
        tasks += await ask(dispatcher, b"2", b"3")
        tasks += await ask(dispatcher, b"4")
        assert [replicas.sizes, dispatcher.waiting] == [[1, 1], 3]
        replicas.envelopes[0].answer()
        await everybody_waits()
        assert [replicas.sizes, dispatcher.waiting] == [[1, 1, 3], 0]
        replicas.answer_all()
        assert await asyncio.gather(*tasks) == [said(image) for image in names(5)]


@in_virtual_time
async def test_an_envelope_has_a_bound_in_bytes() -> None:
    """Images fill an envelope up to its bytes; one that is larger travels alone."""
    replicas = Replicas(delay_s=0.1)
    images = [b"x" * size for size in (40, 50, 20, 300, 99)]
    async with dispatching(replicas, envelope_bytes_max=100) as dispatcher:
        answers = await asyncio.gather(*await ask(dispatcher, *images))
    assert answers == [said(image) for image in images]
    assert [[len(image) for image in each.images] for each in replicas.envelopes] == [
        [40, 50], [20], [300], [99],
    ]  # fmt: skip


@in_virtual_time
async def test_more_replicas_take_more_at_once() -> None:
    """A greater width is used the moment it is set; a smaller one as envelopes come home."""
    replicas = Replicas()
    async with dispatching(replicas, width=0) as dispatcher:
        tasks = await ask(dispatcher, *names(64))
        assert replicas.sizes == []
        dispatcher.width = 3
        await everybody_waits()
        assert replicas.sizes == [16, 16, 16]
        dispatcher.width = 1
        replicas.envelopes[0].answer()
        await everybody_waits()
        assert [replicas.sizes, dispatcher.width] == [[16, 16, 16], 1]
        replicas.answer_all()
        await everybody_waits()
        replicas.answer_all()
        assert await asyncio.gather(*tasks) == [said(image) for image in names(64)]


@in_virtual_time
async def test_neighbours_of_a_lost_cause_get_their_answers() -> None:
    """A cancelled caller, one out of time and a corrupt image leave the other 13 byte-equal."""
    replicas, before = Replicas(), counted("lapses_total", lapse="canceled")
    async with dispatching(replicas, width=0) as dispatcher:
        tasks = await ask(dispatcher, *names(15))
        tasks += await ask(dispatcher, b"in a hurry", timeout_s=1)
        dispatcher.width = 1
        await everybody_waits()
        (envelope,) = replicas.envelopes
        tasks[3].cancel()
        assert unpack(await tasks[15]) is Lapse.EXPIRED
        assert envelope.images == [b"in a hurry", *names(15)]
        answers = [said(image) for image in envelope.images]
        corrupt = answers[1 + 5] = pack(Failure(Code.IMAGE_CORRUPT, "ends early"))
        envelope.end.set_result((answers, Report()))
        found = await asyncio.gather(*tasks[:15], return_exceptions=True)
    assert isinstance(found[3], asyncio.CancelledError)
    assert found[5] == corrupt
    others = [number for number in range(15) if number not in {3, 5}]
    assert [found[number] for number in others] == [said(b"%d" % number) for number in others]
    assert counted("lapses_total", lapse="canceled") == before + 1


@in_virtual_time
async def test_a_call_that_nobody_waits_for_is_called_off() -> None:
    """When the last caller of an envelope has gone, or is out of time, its place is free."""
    replicas = Replicas()
    async with dispatching(replicas) as dispatcher:
        first, second = await ask(dispatcher, b"0", b"1")
        waiting = await ask(dispatcher, b"2", timeout_s=5)
        first.cancel()
        await everybody_waits()
        assert not replicas.envelopes[0].end.done()
        second.cancel()
        await everybody_waits()
        assert replicas.envelopes[0].end.cancelled()
        assert replicas.envelopes[1].images == [b"2"]
        assert unpack(await waiting[0]) is Lapse.EXPIRED
        await everybody_waits()
        assert replicas.envelopes[1].end.cancelled()


@in_virtual_time
async def test_an_image_without_a_caller_is_not_sent() -> None:
    """Who hangs up takes the image along, alone or not, even as its envelope is being filled."""
    replicas = Replicas()
    async with dispatching(replicas) as dispatcher:
        tasks = await ask(dispatcher, b"0", b"1", b"2")
        tasks += await ask(dispatcher, b"3", b"4")
        replicas.envelopes[0].end.set_exception(RuntimeError("a defect"))
        await everybody_waits()
        assert [replicas.sizes, dispatcher.waiting] == [[3, 1], 4]
        tasks.pop(2).cancel()
        await everybody_waits()
        assert dispatcher.waiting == 3
        dispatcher.width = 3
        tasks.pop(2).cancel()
        await everybody_waits()
        replicas.answer_all()
        assert await asyncio.gather(*tasks) == [said(b"0"), said(b"1"), said(b"4")]
    assert [envelope.images for envelope in replicas.envelopes[1:]] == [[b"0"], [b"1"], [b"4"]]


@in_virtual_time
async def test_nothing_is_kept_of_an_image_that_was_answered() -> None:
    """Its bytes are let go with its answer, not at its deadline."""
    parcel = Parcel(b"0", "ten_a", plan=SELFIE, remaining_s=TIMEOUT_S)
    async with dispatching(Replicas(delay_s=1)) as dispatcher:
        before = getrefcount(parcel)
        assert await dispatcher.examine(parcel) == said(b"0")
        await everybody_waits()
        gc.collect()
        assert getrefcount(parcel) == before


@in_virtual_time
async def test_an_image_s_time_runs_out_wherever_it_is() -> None:
    """Too late when it arrives, while it waits, on its way: `expired` at the deadline itself."""
    loop, replicas = asyncio.get_running_loop(), Replicas()
    async with dispatching(replicas) as dispatcher:
        on_its_way = await ask(dispatcher, b"0", b"1", timeout_s=2)
        waiting = await ask(dispatcher, b"2", timeout_s=1)
        too_late = await ask(dispatcher, b"3", timeout_s=0)
        assert unpack(await too_late[0]) is Lapse.EXPIRED
        assert unpack(await waiting[0]) is Lapse.EXPIRED
        assert [dispatcher.waiting, round(loop.time(), 3)] == [0, 1]
        assert {unpack(await each) for each in on_its_way} == {Lapse.EXPIRED}
        assert round(loop.time(), 3) == 2
    assert replicas.sizes == [2]


@in_virtual_time
async def test_a_full_queue_gives_way_to_who_has_less_in_it() -> None:
    """Who fills it is refused, and gives up its latest image for another tenant's first."""
    replicas = Replicas()
    async with dispatching(replicas, width=0, queue_max=3) as dispatcher:
        crowd = await ask(dispatcher, *names(4))
        single = await ask(dispatcher, b"4", tenant_id="ten_b")
        assert [task.done() for task in (*crowd, *single)] == [False, False, True, True, False]
        assert {unpack(task.result()) for task in crowd[2:]} == {Lapse.OVERLOADED}
        dispatcher.width = 1
        await everybody_waits()
        replicas.answer_all()
        kept = await asyncio.gather(*crowd[:2], *single)
    assert kept == [said(image) for image in (b"0", b"1", b"4")]


@in_virtual_time
async def test_a_tenant_with_twenty_times_the_load_takes_no_more_than_its_share() -> None:
    """While both wait, both are served alike, and the small one loses nothing."""
    replicas = Replicas()
    async with dispatching(replicas, width=0, queue_max=100) as dispatcher:
        crowd = await ask(dispatcher, *names(400))
        few = await ask(dispatcher, *names(20, first=1_000), tenant_id="ten_b")
        dispatcher.width = 1
        for _ in range(10):
            await everybody_waits()
            replicas.answer_all()
        assert await asyncio.gather(*few) == [said(image) for image in names(20, first=1_000)]
        tenants = [parcel.tenant_id for each in replicas.envelopes[:2] for parcel in each.parcels]
        assert tenants.count("ten_b") == 16
        answers = await asyncio.gather(*crowd)
        assert answers.count(pack(Lapse.OVERLOADED)) == 400 - 80


@in_virtual_time
async def test_the_rate_is_measured_where_images_had_to_wait() -> None:
    """Sixteen images in a tenth of a second are 160 a second, whatever the pauses in between."""
    replicas, before = Replicas(), counted("batch_images_count")
    async with dispatching(replicas) as dispatcher:
        assert [dispatcher.rate_per_s, dispatcher.retry_after_s] == [0, 1]
        tasks = await ask(dispatcher, *names(256))
        await asyncio.sleep(0.1)
        replicas.envelopes[0].answer(Report(batches=(8, 8), cpu_s=0.1))
        await everybody_waits()
        assert dispatcher.rate_per_s == pytest.approx(160, rel=0.01)
        assert [dispatcher.waiting, dispatcher.retry_after_s] == [224, 2]
        for task in tasks:
            task.cancel()
        await asyncio.sleep(100)
        tasks = await ask(dispatcher, *names(32))
        await asyncio.sleep(0.1)
        replicas.answer_all()
        await everybody_waits()
        assert dispatcher.rate_per_s == pytest.approx(160, rel=0.01)
        replicas.answer_all()
        await asyncio.gather(*tasks)
    assert counted("batch_images_count") == before + 2


LIVES = st.tuples(
    st.integers(0, 40),  # when it comes
    st.sampled_from(["ten_a", "ten_a", "ten_b"]),
    st.integers(0, 30),  # its time limit
    st.none() | st.integers(0, 20),  # when its caller hangs up
)
FATES = st.lists(st.sampled_from(["answer", "answer", "lost", "defect", "hang"]), max_size=30)


@given(lives=st.lists(LIVES, max_size=60), fates=FATES, width=st.integers(1, 3))
@in_virtual_time
async def test_everybody_gets_one_answer_in_time(
    lives: list[tuple[int, str, int, int | None]], fates: list[str], width: int
) -> None:
    """Whatever callers and replicas do: an own answer or a lapse, at the deadline at the latest."""
    loop, busy, sizes = asyncio.get_running_loop(), [0], [0]

    async def replica(parcels: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
        fate = fates.pop() if fates else "answer"
        busy.append(busy[-1] + 1)
        sizes.append(len(parcels))
        try:
            await asyncio.sleep(100 if fate == "hang" else 3)
            if fate != "answer":
                raise ReplicaLostError if fate == "lost" else RuntimeError(fate)
            return [said(parcel.image) for parcel in parcels], Report()
        finally:
            busy.append(busy[-1] - 1)

    async def caller(number: int, come_s: int, tenant_id: str, limit_s: int, gone_s: int | None,
    ) -> None:  # fmt: skip
        await asyncio.sleep(come_s)
        parcel = Parcel(b"%d" % number, tenant_id, plan=SELFIE, remaining_s=limit_s)
        asked = asyncio.create_task(dispatcher.examine(parcel))
        if gone_s is not None:
            loop.call_later(gone_s, asked.cancel)
        await asyncio.wait([asked])
        assert loop.time() <= come_s + limit_s + 0.001
        if not asked.cancelled() and asked.result() != said(parcel.image):
            assert unpack(asked.result()) in {Lapse.OVERLOADED, Lapse.EXPIRED, Lapse.LOST}

    limits = Limits(8, width, envelope_items_max=4)
    async with Dispatcher(replica, limits) as dispatcher, asyncio.TaskGroup() as callers:
        for number, life in enumerate(lives):
            callers.create_task(caller(number, *life))
    assert max(sizes) <= 4
    assert max(busy) <= width
    assert [dispatcher.waiting, busy[-1]] == [0, 0]
