"""What sweeps are to show, and whether they did."""

from collections.abc import Iterator, Sequence

from serve.bench.goals import Goal
from serve.bench.sweeps.figures import Sweeping
from serve.bench.sweeps.gpu import FLOOR_S, Gpu
from serve.bench.sweeps.live import Live
from serve.bench.sweeps.rings import RingsFound

OVER_GEMM_MIN = 0.6
OVER_FLOOR_MIN = 0.6
LIVE_RATIO_MAX = 1.25
SWEEP, RINGS = "sweep", "rings"


def goals(
    sweepings: Sequence[Sweeping],
    live: Live | None = None,
    gpu: Gpu | None = None,
    rings: RingsFound | None = None,
) -> list[Goal]:
    """Every goal that there are figures for."""
    found = [goal for sweeping in sweepings for goal in _goals_of(sweeping)]
    if live is not None:
        name, faces = "p99 of a probe beside a sweep over alone", f"{live.faces:,} x 128"
        found.append(Goal(name, SWEEP, faces, LIVE_RATIO_MAX, (live.p99_ratio,), is_ceiling=True))
    if gpu is not None:
        share = gpu.tile.images_per_s / gpu.product.images_per_s
        for name, wanted, value in (
            ("pairs/s over a bare product, tiles", OVER_GEMM_MIN, share),
            ("the floor over ten million, projected", OVER_FLOOR_MIN, FLOOR_S / gpu.projected_s),
        ):
            found.append(Goal(name, SWEEP, gpu.kernel, wanted, (value,)))
    if rings is not None:
        name, faces = "the largest ring, at any threshold", f"{rings.faces:,} faces"
        largest = tuple(float(at.limen.largest) for at in rings.bars)
        worst = (max(largest),) if largest else ()
        found.append(Goal(name, RINGS, faces, rings.largest + 1.0, worst, is_ceiling=True))
    return [goal for goal in found if goal.values]


def _goals_of(sweeping: Sweeping) -> Iterator[Goal]:
    for threads, share in sweeping.shares().items():
        name = f"pairs/s over a bare product, tiles, {_threads(threads)}"
        yield Goal(name, SWEEP, sweeping.name, OVER_GEMM_MIN, (share,))
    for threads, share in sweeping.whole_shares().items():
        name = f"the same of a whole sweep, {_threads(threads)}"
        yield Goal(name, SWEEP, sweeping.name, OVER_GEMM_MIN, (share,))
    wrong = float(sum(each.different for each in sweeping.checked))
    planted = (sweeping.mates, sweeping.above)
    missed = sum(each.planted - each.found for each in planted) + sweeping.below.found
    name = "planted pairs missed, or found below the threshold"
    yield Goal(name, SWEEP, sweeping.name, 0.0, (float(missed),), is_ceiling=True)
    if sweeping.checked:
        name = "pairs that differ from float64's, all thresholds"
        yield Goal(name, SWEEP, sweeping.name, 0.0, (wrong,), is_ceiling=True)


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
