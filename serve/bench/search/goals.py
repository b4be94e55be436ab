"""What the index is to show, and whether it did."""

from collections.abc import Iterator, Sequence

from serve.bench.goals import Goal
from serve.bench.search.gallery import LIMEN, Gallery
from serve.bench.search.living import Living
from serve.bench.search.rivals import BLAS, FLAT, KNN

OVER_KNN_MIN = 0.9
SINGLE_MS_MAX = 15.0
SINGLE_FACES = 1_000_000
VISIBLE_MS_MAX = 20.0
INDEX = "index"


def goals(galleries: Sequence[Gallery], living: Living | None) -> list[Goal]:
    """Every goal that there are figures for."""
    found = [goal for gallery in galleries for goal in _goals_of(gallery)]
    if living is not None:
        name, faces = "p99 in ms until a face is found", f"{living.entries:,} x 128"
        ms = (living.visible.p99_ms,)
        found.append(Goal(name, INDEX, faces, VISIBLE_MS_MAX, ms, is_ceiling=True))
    return found


def over_knn(gallery: Gallery) -> dict[int, float]:
    """By the size of the batch, how many times as many probes the arena answers in one second of
    a processor as raw faiss does: the fastest of its flat searches.
    """
    arena = gallery.contender(LIMEN)
    flat = [gallery.contender(name) for name in (KNN, BLAS, FLAT)]
    if arena is None:
        return {}
    return {
        size: min(each.batches[size].cpu_ms for each in flat if each and size in each.batches)
        / timing.cpu_ms
        for size, timing in arena.batches.items()
    }


def _goals_of(gallery: Gallery) -> Iterator[Goal]:
    arena = gallery.contender(LIMEN)
    if arena is None or arena.single is None:
        return
    for size, ratio in over_knn(gallery).items():
        if size == 1:
            continue
        name = f"probes/s over raw faiss, batches of {size}"
        yield Goal(name, INDEX, gallery.name, OVER_KNN_MIN, (ratio,))
    missed = float(arena.missed or 0) + gallery.wrong
    yield Goal(
        "mates missed, and wrong answers", INDEX, gallery.name, 0.0, (missed,), is_ceiling=True
    )
    if gallery.faces == SINGLE_FACES:
        ms = (arena.single.p50_ms,)
        yield Goal(
            "p50 in ms of one probe", INDEX, gallery.name, SINGLE_MS_MAX, ms, is_ceiling=True
        )
