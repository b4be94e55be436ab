"""Who else finds all pairs: raw faiss and a plain matrix product, of some rows with all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from index import yardstick
from index.entry import Vectors
from index.sweep.kernel import Kernel
from index.yardstick import Join, Joined
from serve.bench.measure import Timing
from serve.bench.sweeps.crowd import THRESHOLD, Places, keys

RANGE, KNN = "faiss range_search", "faiss k-NN self-join"
PLAIN = "product and a look, {}"  # by a kernel, without its certificate
NEIGHBOURS = 16
PROBE_NUMBERS = 1 << 20  # of the rows that are joined with all: a second or so
PROBES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Peer:
    """What a rival made of `probes` rows with all others. `timing` is of one pair, which counts
    once though a self-join looks at it from both sides. `missed` and `wrong` are pairs of these
    rows that the sweep has and it has not, and the other way round.
    """

    name: str
    threads: int
    probes: int
    timing: Timing
    missed: int
    wrong: int

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        return {
            "name": self.name,
            "threads": self.threads,
            "probes": self.probes,
            "pairs_per_s": round(self.timing.images_per_s),
            "missed_pairs": self.missed,
            "wrong_pairs": self.wrong,
        }


def joins(templates: Vectors, *kernels: Kernel) -> Mapping[str, Join]:
    """All of them over one gallery; each holds a copy."""
    plain = {
        PLAIN.format(each.name): yardstick.plain_join(templates, each.load) for each in kernels
    }
    return {
        RANGE: yardstick.range_join(templates),
        KNN: yardstick.knn_join(templates, NEIGHBOURS),
        **plain,
    }


def probes_of(templates: Vectors) -> Vectors:
    """The rows that are joined with all: the first."""
    return templates[: min(PROBES_MAX, PROBE_NUMBERS // templates.shape[1])]


def work_of(join: Join, templates: Vectors) -> tuple[Callable[[], object], int]:
    """One join to be timed, and how many pairs it settles: half of those that it looks at."""
    probes = probes_of(templates)
    return lambda: join(probes, THRESHOLD), len(probes) * len(templates) // 2


def judged(join: Join, templates: Vectors, found: Places) -> tuple[int, int]:
    """How many of the pairs that a sweep `found` a rival misses, and how many more it has."""
    probes = probes_of(templates)
    told = _each_once(join(probes, THRESHOLD))
    wanted = keys(found[found[:, 0] < len(probes)], len(templates))
    have = keys(told, len(templates))
    return len(np.setdiff1d(wanted, have)), len(np.setdiff1d(have, wanted))


def _each_once(joined: Joined) -> Places:
    is_first = joined.probes < joined.rows
    return np.stack([joined.probes[is_first], joined.rows[is_first]], axis=1)
