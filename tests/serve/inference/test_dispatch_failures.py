"""Lost replicas, broken calls, poisonous images, closing: nobody is forgotten, all is bounded."""

import asyncio

import pytest

from serve.inference.dispatch import Dispatcher, Limits, ReplicaLostError
from serve.inference.parcels import Lapse, Report, pack, unpack
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
async def test_a_lost_replica_s_images_go_to_another() -> None:
    """They are sent again, each with its old deadline, and their callers notice nothing."""
    replicas, before = Replicas(), counted("retries_total")
    async with dispatching(replicas) as dispatcher:
        *tasks, gone = await ask(dispatcher, *names(16))
        await asyncio.sleep(5)
        gone.cancel()
        dispatcher.width = 0
        replicas.envelopes[0].end.set_exception(ReplicaLostError())
        await everybody_waits()
        assert dispatcher.waiting == 15
        dispatcher.width = 1
        await everybody_waits()
        again = replicas.envelopes[1]
        assert again.images == names(15)
        assert {round(parcel.remaining_s, 3) for parcel in again.parcels} == {TIMEOUT_S - 5}
        again.answer()
        assert await asyncio.gather(*tasks) == [said(image) for image in names(15)]
    assert counted("retries_total") == before + 15


@pytest.mark.parametrize(
    ("trouble", "together"), [(RuntimeError("a defect"), 1), (ReplicaLostError(), 2)]
)
@in_virtual_time
async def test_a_poisonous_image_falls_alone(trouble: Exception, together: int) -> None:
    """Of 16 images one breaks every call, or kills every replica: 15 are answered."""
    replicas = Replicas(delay_s=0.1, break_on=b"7", break_with=trouble)
    async with dispatching(replicas, width=2) as dispatcher:
        answers = await asyncio.gather(*await ask(dispatcher, *names(16)))
    wanted = [said(image) for image in names(16)]
    wanted[7] = pack(Lapse.LOST)
    assert answers == wanted
    assert replicas.sizes == [16] * together + [1] * 16


@pytest.mark.parametrize(("trouble", "times"), [(RuntimeError("x"), 2), (ReplicaLostError(), 3)])
@in_virtual_time
async def test_an_image_is_not_sent_for_ever(trouble: Exception, times: int) -> None:
    """Where every call fails an image is lost after a second or, as promised, a third one."""
    replicas, before = Replicas(0.1, b"0", trouble), counted("lapses_total", lapse="lost")
    async with dispatching(replicas) as dispatcher:
        (task,) = await ask(dispatcher, b"0")
        assert unpack(await task) is Lapse.LOST
    assert replicas.sizes == [1] * times
    assert counted("lapses_total", lapse="lost") == before + 1


@in_virtual_time
async def test_answers_are_never_mixed_up() -> None:
    """A call that answers fewer images than it was given answers none, and is tried again."""
    replicas = Replicas()
    async with dispatching(replicas) as dispatcher:
        tasks = await ask(dispatcher, b"0", b"1")
        replicas.envelopes[0].end.set_result(([said(b"1")], Report()))
        for _ in tasks:
            await everybody_waits()
            replicas.answer_all()
        assert await asyncio.gather(*tasks) == [said(b"0"), said(b"1")]
    assert replicas.sizes == [2, 1, 1]


@in_virtual_time
async def test_a_call_cancelled_from_elsewhere_is_a_failed_call() -> None:
    """An image whose call ends without anybody's wish is sent again."""
    replicas = Replicas()
    async with dispatching(replicas) as dispatcher:
        (task,) = await ask(dispatcher, b"0")
        replicas.envelopes[0].end.cancel()
        await everybody_waits()
        replicas.answer_all()
        assert await task == said(b"0")


@pytest.mark.parametrize("trouble", [None, ReplicaLostError(), RuntimeError("a defect")])
@in_virtual_time
async def test_closing_keeps_nobody_waiting(trouble: Exception | None) -> None:
    """What waits is given up at once, what is on its way is awaited, nobody is let in after."""
    replicas = Replicas()
    async with dispatching(replicas) as dispatcher:
        sent, waiting = await ask(dispatcher, b"0"), await ask(dispatcher, b"1")
        closing = asyncio.create_task(dispatcher.__aexit__(None, None, None))
        assert unpack(await waiting[0]) is Lapse.LOST
        assert not closing.done()
        if trouble is None:
            replicas.answer_all()
        else:
            replicas.envelopes[0].end.set_exception(trouble)
        await closing
        assert await sent[0] == (pack(Lapse.LOST) if trouble else said(b"0"))
        (refused,) = await ask(dispatcher, b"2")
        assert unpack(await refused) is Lapse.LOST
    assert replicas.sizes == [1]


@in_virtual_time
async def test_closing_ends_by_the_last_deadline() -> None:
    """A replica that never answers holds nothing open beyond the images it was given."""
    async with dispatching(Replicas()) as dispatcher:
        (task,) = await ask(dispatcher, b"0", timeout_s=3)
    assert unpack(await task) is Lapse.EXPIRED
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.001)


@in_virtual_time
async def test_closing_in_a_hurry_calls_off_what_is_on_its_way() -> None:
    """Who does not want to wait for the replicas cancels the closing: all are answered at once."""
    replicas = Replicas()
    dispatcher = await Dispatcher(replicas, Limits(queue_max=8, width=1)).__aenter__()
    (task,) = await ask(dispatcher, b"0")
    closing = asyncio.create_task(dispatcher.__aexit__(None, None, None))
    await everybody_waits()
    closing.cancel()
    assert unpack(await task) is Lapse.LOST
    assert [closing.cancelled(), replicas.envelopes[0].end.cancelled()] == [True, True]
