"""Tiles on a GPU, and how long a gallery of ten million would take by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from index import yardstick
from index.sweep.block import Block
from index.sweep.kernel import Kernel
from index.sweep.tile import load, sweep_tile
from serve.bench.measure import Timing, Work, time_work
from serve.bench.search.gallery import Say
from serve.bench.sweeps.crowd import THRESHOLD, crowd
from serve.bench.sweeps.figures import GEMM, LIMEN
from serve.domain.sweeps.plan import BLOCK_MAX, keep_below

FACES, DIMENSION = 10_000_000, 512
FLOOR_S = 65.0  # what 790 TFLOP/s in bfloat16 take for the products alone, each pair once
NO_GPU = "no GPU at hand"
PRODUCT_SIDE_MAX = 32_768  # 2 GiB of scores in bfloat16


@dataclass(frozen=True, slots=True)
class Gpu:
    """Two blocks of `block` faces that met: `tile` and the bare `product` are of one pair, `load_s`
    of one block.
    """

    kernel: str
    block: int
    dimension: int
    tile: Timing
    product: Timing
    load_s: float
    found: int

    @property
    def projected_s(self) -> float:
        """For ten million faces, from these tiles: scaled up, not measured. Every block is loaded
        once, as all of them fit.
        """
        blocks = -(-FACES // self.block)
        pairs = FACES * (FACES - 1) / 2
        return pairs / self.tile.images_per_s + blocks * self.load_s

    def encode(self) -> dict[str, Any]:
        """For a JSON report."""
        return {
            "kernel": self.kernel,
            "block": self.block,
            "dimension": self.dimension,
            "pairs_per_s": round(self.tile.images_per_s),
            "product_pairs_per_s": round(self.product.images_per_s),
            "share_of_gemm": round(self.tile.images_per_s / self.product.images_per_s, 3),
            "load_s": round(self.load_s, 4),
            "found": self.found,
            "projected": {
                "faces": FACES,
                "dimension": self.dimension,
                "wall_s_scaled": round(self.projected_s, 1),
                "floor_s": FLOOR_S,
                "share_of_floor": round(FLOOR_S / self.projected_s, 3),
            },
        }


def measure_gpu(
    kernel: Kernel, rounds: int, seed: int, say: Say, shape: Sequence[int] = (BLOCK_MAX, DIMENSION)
) -> Gpu:
    """Load two blocks and let them meet, again and again. `shape` is of one block."""
    block, dimension = shape
    say(f"{block:,} x {dimension}: tiles by {kernel.name}")
    made = crowd(2 * block, dimension, seed)
    halves = [
        Block(made.templates[start : start + block], np.arange(start, start + block))
        for start in (0, block)
    ]
    load(kernel, halves[0])  # unmeasured
    began_s = perf_counter()
    first, second = (load(kernel, half) for half in halves)
    tiles = (FACES // block) ** 2 // 2
    keep = keep_below(FACES, tiles, is_known=True)
    load_s = (perf_counter() - began_s) / 2
    found = 0

    def meet() -> None:
        nonlocal found
        swept = sweep_tile(
            kernel, first, second, threshold=THRESHOLD, keep_below=keep, is_diagonal=False
        )
        found = int((swept.pairs.scores >= THRESHOLD).sum())

    side = min(block, PRODUCT_SIDE_MAX)
    parts = (kernel.load(half.vectors[:side]) for half in halves)
    works: dict[str, tuple[Work, int]] = {
        LIMEN: (meet, block**2),
        GEMM: (yardstick.product(*parts), side**2),
    }
    timed = time_work(works, rounds)
    return Gpu(kernel.name, block, dimension, timed[LIMEN], timed[GEMM], load_s, found)
