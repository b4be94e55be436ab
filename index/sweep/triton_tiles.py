"""A tile in one pass of a GPU: products that do not reach the cut are never written to memory.

Compiled for GPUs, and run by Triton's interpreter on a processor; it has never run on a GPU.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError:  # torch brings it where it can be used
    triton, tl = None, SimpleNamespace(constexpr=int)

ROWS, COLUMNS, DEPTH = 128, 128, 64
"""Of the product that one program makes, and how many numbers of each row it takes at a time."""

Pointer: TypeAlias = Any
Number: TypeAlias = Any
"""In a kernel, whose annotations Triton looks up itself: hence in quotes."""


def is_available() -> bool:
    """Whether there is a Triton to compile with."""
    return triton is not None


def above(
    first: Tensor, second: Tensor, low: float, room: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Places (int32) and scores (float32) of up to `room` pairs that score `low` or more, in no
    order, and how many there are. `first` (N, D) and `second` (M, D) are contiguous.
    """
    device = first.device
    found_rows, found_columns = torch.empty((2, room), dtype=torch.int32, device=device)
    found_scores = torch.empty(room, device=device)
    count = torch.zeros(1, dtype=torch.int32, device=device)
    _compiled()[triton.cdiv(len(second), COLUMNS), triton.cdiv(len(first), ROWS)](
        first, second, found_rows, found_columns, found_scores, count,
        len(first), len(second), first.shape[1], room, low,
        high=ROWS, wide=COLUMNS, deep=DEPTH, num_warps=8, num_stages=3,
    )  # fmt: skip
    return found_rows, found_columns, found_scores, int(count)


@cache
def _compiled() -> Any:  # noqa: ANN401 (Triton's own)
    return triton.jit(_above)


def _above(  # noqa: PLR0913, PLR0917 (a kernel takes pointers and numbers)
    first: "Pointer",
    second: "Pointer",
    found_rows: "Pointer",
    found_columns: "Pointer",
    found_scores: "Pointer",
    count: "Pointer",
    rows: "Number",
    columns: "Number",
    dimension: "Number",
    room: "Number",
    low: "Number",
    high: tl.constexpr,
    wide: tl.constexpr,
    deep: tl.constexpr,
) -> None:
    """(rows, dimension) times (columns, dimension): where it reaches `low`, in no order. `count`
    goes on counting where there is no room.
    """
    row = tl.program_id(1) * high + tl.arange(0, high)[:, None]
    column = tl.program_id(0) * wide + tl.arange(0, wide)[None, :]
    scores = tl.zeros((high, wide), tl.float32)
    for start in range(0, dimension, deep):
        along = start + tl.arange(0, deep)[None, :]
        down = start + tl.arange(0, deep)[:, None]
        left = first + row.to(tl.int64) * dimension + along
        right = second + column.to(tl.int64) * dimension + down
        mine = tl.load(left, mask=(row < rows) & (along < dimension), other=0.0)
        theirs = tl.load(right, mask=(column < columns) & (down < dimension), other=0.0)
        scores = tl.dot(mine, theirs, scores)
    reach = (scores >= low) & (row < rows) & (column < columns)
    if tl.max(reach.to(tl.int32)) > 0:
        nothing = tl.zeros((high, wide), tl.int32)
        place = tl.atomic_add(count + nothing, 1, mask=reach)
        fits = reach & (place < room)
        tl.store(found_rows + place, row + nothing, mask=fits)
        tl.store(found_columns + place, column + nothing, mask=fits)
        tl.store(found_scores + place, scores, mask=fits)
