"""Tiles of a sweep on a GPU: they come to what float64 comes to, and how fast they are.

Nothing here judges a speed; the figures are printed, run with `-s`. Written without a GPU and
never run on one.
"""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch", reason="no CUDA: torch is not installed")

from index.sweep import torch_tiles, truth
from index.sweep.block import Block
from index.sweep.tile import load, sweep_tile
from index.sweep.torch_tiles import CudaKernel
from tests.gpu.cuda import available, matrix_flops_per_s, seconds
from tests.index.sweep.galleries import Gallery, Oracle, places, swept
from tests.index.sweep.test_margin import templates
from tests.index.templates import People

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["fused", "multiplied"])
def kernel(request: pytest.FixtureRequest) -> CudaKernel:
    """By Triton's kernel, where there is Triton, and by products that are written out."""
    available("torch fp16")
    opened = CudaKernel()
    if request.param == "multiplied":
        opened.look = torch_tiles.multiplied
    return opened


def test_the_pairs_are_those_of_float64(kernel: CudaKernel) -> None:
    """As a set, at five thresholds, over blocks of uneven sizes, and none is told twice."""
    people = People(128, 7)
    faces = people.strangers(10_000)
    gallery = Gallery(np.concatenate((faces, people.photos(faces))), np.arange(20_000))
    oracle, blocks = Oracle.of(gallery, 0.86), gallery.cut([8_192, 1, 4_999, 6_808])
    for threshold in (0.86, 0.88, 0.9, 0.92, 0.94):
        wanted = oracle.at(threshold)
        assert len(wanted) > 100
        found = places(blocks, swept(kernel, blocks, threshold=threshold))
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dimension", [3, 128, 500, 512])
def test_no_narrowed_score_is_further_off_than_certified(
    kernel: CudaKernel, dimension: int
) -> None:
    """Also of templates that bfloat16 rounds worst."""
    rows = templates(dimension)
    loaded, seen = kernel.load(rows), 0
    for first, second, scores in kernel.narrow(loaded.rows, loaded.rows, -3.0, is_diagonal=False):
        true = truth.scores(rows, rows, first, second)
        assert np.abs(scores - true).max() <= kernel.slack(loaded, loaded)
        seen += len(scores)
    assert seen == len(rows) ** 2


@pytest.mark.parametrize("dimension", [128, 512])
def test_the_share_of_a_matrix_product(kernel: CudaKernel, dimension: int) -> None:
    """Pairs per second of a tile of 65,536 faces by as many, of what the device does at best."""
    vectors = People(dimension).strangers(65_536)
    tile = load(kernel, Block(vectors, np.arange(len(vectors))))
    work = partial(
        sweep_tile, kernel, tile, tile, threshold=0.97, keep_below=1_000, is_diagonal=False
    )
    rate = len(vectors) ** 2 / seconds(work)
    share = rate * 2 * dimension / matrix_flops_per_s()
    print(f"\n{kernel.look.__module__} {dimension}: {rate / 1e9:.1f} billion pairs/s,"
          f" {100 * share:.1f} % of a matrix product")  # fmt: skip
    assert 0 < share < 1
