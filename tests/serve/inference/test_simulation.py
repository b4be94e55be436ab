"""Why batches are formed when a slot is free, and not by `@serve.batch`: judged at each upgrade.

Since 2.48 Ray closes a batch on its timer while the model is busy, so that batches stay as small
as the timer makes them and the replica falls behind a load that it could carry.
"""

import json
from collections.abc import Sequence

from pipeline.face.steps import SELFIE
from serve.inference.dispatch import Dispatcher, Limits
from serve.inference.parcels import Parcel, Report
from tests.helpers import tree
from tests.serve.inference.simulation import Device, Result, in_virtual_time, offer

RATE_PER_S = 1_000.0
SECONDS = 10.0
BATCH_MAX = 64
PEAK_PER_S = BATCH_MAX / (Device().batch_s + Device().image_s * BATCH_MAX)
WAIT_S = 0.005
WAIT_OF_A_RUN_S = 0.030
PROGRAM = "tests.serve.inference.ray_batching_program"


@in_virtual_time
async def ours(rate_per_s: float = RATE_PER_S) -> Result:
    """A load through the dispatcher, one call at a time."""
    device = Device()

    async def call(parcels: Sequence[Parcel]) -> tuple[Sequence[bytes], Report]:
        return await device.run([parcel.image for parcel in parcels]), Report()

    limits = Limits(queue_max=256, width=1, envelope_items_max=BATCH_MAX)
    async with Dispatcher(call, limits) as dispatcher:

        async def examine(image: bytes) -> bytes:
            parcel = Parcel(image, "ten_a", plan=SELFIE, remaining_s=20.0)
            return await dispatcher.examine(parcel)

        return await offer(examine, device, rate_per_s, SECONDS)


def rays(*waits_s: float) -> list[Result]:
    """What Ray's batching makes of it, for each time that a batch may wait to be filled."""
    ran = tree.run("-m", PROGRAM, *map(str, (RATE_PER_S, SECONDS, BATCH_MAX, *waits_s)))
    assert ran.returncode == 0, ran.stderr
    return [Result(**json.loads(line)) for line in ran.stdout.splitlines()]


def test_pulling_when_free_carries_what_the_model_can() -> None:
    """At three fifths of its capacity the model answers all, in batches as large as it takes."""
    result = ours()
    assert result.done >= 0.95 * result.offered
    assert result.mean_batch >= Device().batch_for(RATE_PER_S) / 2


def test_batches_are_half_full_at_four_fifths_of_the_peak() -> None:
    """Near its peak the model is asked in batches of half its largest at least, and answers."""
    result = ours(0.8 * PEAK_PER_S)
    assert result.done >= 0.95 * result.offered
    assert result.mean_batch >= BATCH_MAX / 2


def test_an_overload_costs_the_peak_nothing() -> None:
    """Offered half as much again as it can do, it does what it can: the rest is refused."""
    result = ours(1.5 * PEAK_PER_S)
    assert result.done >= 0.95 * PEAK_PER_S * SECONDS
    assert result.mean_batch >= 0.95 * BATCH_MAX


def test_ray_s_batching_still_falls_behind() -> None:
    """Under the same load Ray answers less than half; given a wait as long as a run, all."""
    result, (hasty, patient) = ours(), rays(WAIT_S, WAIT_OF_A_RUN_S)
    assert hasty.offered == patient.offered == result.offered
    assert patient.done >= 0.95 * patient.offered, f"the comparison is not fair: {patient}"
    assert result.done >= 2 * hasty.done, (
        f"Ray has mended its batching: {hasty}, and ours {result}. Reconsider what is our own."
    )
