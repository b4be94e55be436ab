"""One gallery, swept: how fast beside a bare matrix product and rivals, and what was found."""

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice, pairwise
from time import perf_counter, process_time
from typing import Self

import numpy as np
import psutil

from index import yardstick
from index.sweep.block import Block, Swept
from index.sweep.choose import blas_threads
from index.sweep.grid import Tile, all_pairs
from index.sweep.kernel import Kernel
from index.sweep.tile import Loaded, load, sweep_tile
from index.yardstick import Join
from serve.bench.measure import Work, time_work
from serve.bench.search.gallery import Say, Size
from serve.bench.sweeps.crowd import THRESHOLD, Crowd, Places, crowd, keys
from serve.bench.sweeps.figures import (
    GEMM,
    LIMEN,
    Checked,
    Pace,
    Planted,
    Sweeping,
    Whole,
)
from serve.bench.sweeps.peers import Peer, joins, judged, probes_of, work_of
from serve.domain.sweeps.plan import block_size, keep_below

CHECKED_MAX = 20_000  # faces up to which float64 looks at every pair as well
CHECKED = (0.93, 0.94, 0.95, THRESHOLD, 0.97)
SAMPLE_PAIRS = 1 << 26  # of the tiles that are timed by turns
GEMM_SIDE_MAX = 4_096  # rows and columns of a bare product: more need not fit into memory
RSS_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Job:
    """A gallery cut into blocks as the service cuts it, each loaded once, in `load_s` seconds."""

    kernel: Kernel
    crowd: Crowd
    block: int
    blocks: Sequence[Loaded]
    tiles: Sequence[Tile]
    load_s: float

    @classmethod
    def of(cls, kernel: Kernel, made: Crowd) -> "Job":
        """Everybody with everybody."""
        block = block_size(0, len(made))
        ends = [*range(0, len(made), block), len(made)]
        began_s = perf_counter()
        blocks = [
            load(kernel, Block(made.templates[start:end], np.arange(start, end)))
            for start, end in pairwise(ends)
        ]
        load_s = perf_counter() - began_s
        return cls(kernel, made, block, blocks, tuple(all_pairs(len(blocks))), load_s)

    def sweep(
        self,
        threads: int,
        threshold: float | None = THRESHOLD,
        *,
        tiles: Sequence[Tile] | None = None,
        keep: int | None = None,
    ) -> list[tuple[Tile, Swept]]:
        """These tiles, or all, in so many threads. Each keeps as many pairs below the threshold as
        the service has it keep, or `keep`.
        """
        if keep is None:
            keep = keep_below(len(self.crowd), len(self.tiles), is_known=threshold is not None)
        some = self.tiles if tiles is None else tiles
        one = partial(self.meet, threshold=threshold, keep=keep)
        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            return list(zip(some, pool.map(one, some), strict=True))

    def meet(self, tile: Tile, *, threshold: float | None, keep: int) -> Swept:
        """One tile."""
        first, second = self.blocks[tile.row], self.blocks[tile.column]
        return sweep_tile(
            self.kernel, first, second, threshold=threshold, keep_below=keep,
            is_diagonal=tile.is_diagonal,
        )  # fmt: skip

    def found(self, results: Sequence[tuple[Tile, Swept]], threshold: float = THRESHOLD) -> Places:
        """The pairs at or above the threshold, as rows of the gallery."""
        parts = []
        for tile, swept in results:
            reach = swept.pairs.scores >= threshold
            rows = swept.pairs.rows[reach].astype(np.int64) + tile.row * self.block
            columns = swept.pairs.columns[reach].astype(np.int64) + tile.column * self.block
            parts.append(np.stack([rows, columns], axis=1))
        return np.sort(np.concatenate(parts), axis=1)

    def sample(self) -> tuple[Sequence[Tile], int]:
        """Tiles that take a second or so, evenly taken of those between two blocks, if there are
        two, and again where there are few; and how many pairs they hold.
        """
        between = [tile for tile in self.tiles if not tile.is_diagonal] or self.tiles
        wanted = max(2 * all_threads(), SAMPLE_PAIRS // self.block**2)
        some = list(islice(cycle(between[:: max(1, len(between) // wanted)]), wanted))
        return some, sum(map(self._pairs, some))

    def _pairs(self, tile: Tile) -> int:
        rows, columns = (len(self.blocks[each].block) for each in tile)
        return rows * (rows - 1) // 2 if tile.is_diagonal else rows * columns


def all_threads() -> int:
    """As many as there are cores."""
    return os.cpu_count() or 1


def measure_sweep(  # noqa: PLR0913, PLR0917 (each is one thing that the command is asked for)
    kernel: Kernel, size: Size, seed: int, rounds: int, say: Say, plain: Sequence[Kernel] = ()
) -> Sweeping:
    """Sweep it whole, then tiles of it by turns with products; and with rivals, where there are
    kernels to show what they find without certificates.
    """
    place = f"{size.faces:,} x {size.dimension} by {kernel.name}"
    say(f"{place}: fill the gallery")
    job = Job.of(kernel, crowd(size.faces, size.dimension, seed))
    is_small = size.faces <= CHECKED_MAX
    counts = sorted({1, all_threads()} if is_small else {all_threads()})
    wholes, found = [], np.empty((0, 2), np.int64)
    for threads in counts:
        say(f"{place}: sweep it whole, {threads} threads")
        whole, found = _whole(job, threads)
        wholes.append(whole)
    checked: list[Checked] = []
    if is_small:
        say(f"{place}: look at every pair in float64")
        checked = check(job, counts)
    say(f"{place}: tiles, products and rivals by turns")
    rivals = joins(job.crowd.templates, *plain) if plain else {}
    paces, peers = _by_turns(job, found, rivals, rounds)
    made, ours = job.crowd, keys(found, size.faces)
    return Sweeping(
        faces=size.faces,
        dimension=size.dimension,
        kernel=kernel.name,
        block=job.block,
        tiles=len(job.tiles),
        found=len(found),
        mates=_planted(made.mates, ours, size.faces),
        above=_planted(made.above, ours, size.faces),
        below=_planted(made.below, ours, size.faces),
        templates_bytes=made.templates.nbytes,
        load_s=job.load_s,
        wholes=wholes,
        paces=paces,
        peers=peers,
        checked=checked,
    )


def check(job: Job, counts: Sequence[int]) -> list[Checked]:
    """For each threshold and number of threads, whether the sweep finds the set that float64 does:
    as many pairs, and none else.
    """
    faces = len(job.crowd)
    joined, scores = yardstick.exact_join(job.crowd.templates, min(CHECKED))
    every = np.stack([joined.probes, joined.rows], axis=1)
    checked = []
    for threshold in CHECKED:
        wanted = keys(every[scores >= threshold], faces)
        for threads in counts:
            found = keys(job.found(job.sweep(threads, threshold), threshold), faces)
            different = len(np.setxor1d(found, wanted, assume_unique=False))
            different += len(found) - len(np.unique(found))  # a pair found twice is wrong as well
            checked.append(Checked(threshold, threads, len(wanted), different))
    return checked


def _planted(pairs: Places, found: Places, faces: int) -> Planted:
    return Planted(len(pairs), int(np.isin(keys(pairs, faces), found).sum()))


def _whole(job: Job, threads: int) -> tuple[Whole, Places]:
    peak = _Peak()
    with peak:
        wall_s, cpu_s = perf_counter(), process_time()
        results = job.sweep(threads)
        wall_s, cpu_s = perf_counter() - wall_s, process_time() - cpu_s
    return Whole(threads, wall_s, cpu_s, peak.grown_bytes), job.found(results)


def _by_turns(
    job: Job, found: Places, rivals: Mapping[str, Join], rounds: int
) -> tuple[list[Pace], list[Peer]]:
    """One thread, then all: the sweep and the product; and with all of them the rivals."""
    tiles, pairs = job.sample()
    templates = job.crowd.templates
    side = min(job.block, GEMM_SIDE_MAX, len(templates))
    multiply = yardstick.product(
        *(
            job.kernel.load(np.ascontiguousarray(part))
            for part in (templates[:side], templates[-side:])
        )
    )
    times = max(1, pairs // side**2)
    paces, peers = [], []
    for threads in sorted({1, all_threads()}):
        works: dict[str, tuple[Work, int]] = {
            LIMEN: (partial(job.sweep, threads, tiles=tiles), pairs),
            GEMM: (partial(_repeat, multiply, times), times * side**2),
        }
        others = rivals if threads == all_threads() else {}
        works |= {name: work_of(join, templates) for name, join in others.items()}
        with blas_threads(threads):
            timed = time_work(works, rounds)
            paces += [Pace(name, threads, timed[name]) for name in (LIMEN, GEMM)]
            for name, join in others.items():
                missed, wrong = judged(join, templates, found)
                probes = len(probes_of(templates))
                peers.append(Peer(name, threads, probes, timed[name], missed, wrong))
    return paces, peers


def _repeat(work: Work, times: int) -> None:
    for _ in range(times):
        work()


class _Peak:
    """Watches how much the process grows while a block runs."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before: int = self._process.memory_info().rss
        self._most: int = self._before

    @property
    def grown_bytes(self) -> int:
        """The most, over what there was before."""
        return self._most - self._before

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(RSS_EVERY_S):
            self._most = max(self._most, self._process.memory_info().rss)
