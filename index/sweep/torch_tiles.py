"""Tiles by torch: bfloat16 where a processor or a GPU multiplies it, at twice the speed or more.

Templates are narrowed to bfloat16, their products added in float32. What may score enough, by the
certificate, is scored again in float32. On a processor scores are narrowed once more when they are
written, and looked through as the whole numbers whose bits they are: above zero these are in the
same order, and half as many bytes as float32. On a GPU Triton looks at them before they are
written, where there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from index import scan
from index.entry import Vectors
from index.sweep import certificate, triton_tiles, truth
from index.sweep.certificate import Loss
from index.sweep.kernel import Candidates, Named, Scores, pieces, placed

PIECE = 1_024
"""Rows and columns of a piece on a processor: 2 MiB of scores."""

STRIPE = 1 << 26
"""Pairs that a GPU looks at in one go, 128 MiB of scores where they are written."""

ROOM = 1 << 20
"""Candidates that a GPU has room for in one go; where there are more it looks at fewer pairs."""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """(N, D) rows on a device, what they were, and what was lost on the way."""

    rows: Tensor = field(repr=False)
    vectors: Vectors = field(repr=False)
    loss: Loss


class TorchKernel:
    """bfloat16 on a processor; or float32, to compare. May be used by several threads at once."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16, device: str = "cpu") -> None:
        self._dtype, self._device = dtype, torch.device(device)
        self.name = f"torch {str(dtype).removeprefix('torch.')} on {device}"

    def load(self, vectors: Vectors) -> Narrowed:
        """See `Kernel`."""
        rows = self._narrowed(vectors).to(self._device)
        loss = Loss.of(vectors, lambda part: _wide(self._narrowed(part)))
        return Narrowed(rows, np.ascontiguousarray(vectors, np.float32), loss)

    def margin(self, first: Narrowed, second: Narrowed) -> float:  # noqa: ARG002
        """See `Kernel`: rounding alone, as what is named was scored again."""
        return scan.margin(first.rows.shape[1])

    def slack(self, first: Narrowed, second: Narrowed) -> float:
        """By how much a narrowed score can differ from the true one, at most."""
        is_narrow = self._dtype is torch.bfloat16
        rounding = certificate.BFLOAT16_ROUNDING if is_narrow else 0.0
        return certificate.margin(first.loss, second.loss, first.rows.shape[1], rounding)

    def above(
        self, first: Narrowed, second: Narrowed, low: float, *, is_diagonal: bool = False
    ) -> Named:
        """See `Kernel`."""
        slack = self.slack(first, second) + self.margin(first, second)
        parts = self.narrow(first.rows, second.rows, low - slack, is_diagonal=is_diagonal)
        cut: float | None = None
        while True:
            try:
                rows, columns, _ = parts.send(cut)
            except StopIteration:
                return
            scores = truth.rough(first.vectors, second.vectors, rows, columns)
            reach = scores >= scan.below(low)
            sent = yield rows[reach], columns[reach], scores[reach]
            low = low if sent is None else sent
            cut = low - slack

    def narrow(self, first: Tensor, second: Tensor, low: float, *, is_diagonal: bool) -> Named:
        """What `above` does, by narrowed scores alone."""
        torch.get_num_threads()  # or a thread that is new to torch takes all cores
        room = torch.empty(PIECE * PIECE, dtype=self._dtype)
        reach = np.empty(PIECE * PIECE, np.bool_)
        for row, column in pieces(len(first), len(second), PIECE, is_diagonal=is_diagonal):
            rows, columns = first[row : row + PIECE], second[column : column + PIECE]
            size, width = len(rows) * len(columns), len(columns)
            torch.mm(rows, columns.T, out=room[:size].view(-1, width))
            found, scores = _reaching(room[:size], scan.below(low), reach[:size])
            if len(found):
                sent = yield placed(found, scores, width, (row, column))
                low = low if sent is None else sent

    def _narrowed(self, vectors: Vectors) -> Tensor:
        owned = np.require(vectors, np.float32, ["C", "W"])  # torch takes no read-only arrays
        return torch.from_numpy(owned).to(self._dtype)


class CudaKernel(TorchKernel):
    """bfloat16 on a GPU: many pairs in one go, of which only candidates come back."""

    def __init__(self, device: str = "cuda") -> None:
        super().__init__(device=device)
        # Or parts of a long sum would be narrowed before they are added, beyond what is certified.
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        is_fused = device != "cpu" and triton_tiles.is_available()
        self.look = triton_tiles.above if is_fused else multiplied
        """What names the candidates of one stripe."""

    def narrow(self, first: Tensor, second: Tensor, low: float, *, is_diagonal: bool) -> Named:
        """Stripe by stripe; one that has more candidates than there is room for, by halves."""
        tall = max(1, STRIPE // max(1, len(second)))
        stripes = [range(start, start + tall) for start in range(0, len(first), tall)][::-1]
        while stripes and len(second):
            stripe = stripes.pop()
            begin = stripe.start if is_diagonal else 0
            rows, columns = first[stripe.start : stripe.stop], second[begin:]
            room = max(ROOM, len(columns))
            *found, count = self.look(rows, columns, float(scan.below(low)), room)
            if count > room:
                half = len(rows) // 2
                stripes += [stripe[half : len(rows)], stripe[:half]]
            elif count:
                sent = yield _fetched(found, count, (stripe.start, begin))
                low = low if sent is None else sent


def has_cuda() -> bool:
    """Whether torch sees a GPU."""
    return bool(torch.cuda.is_available())


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: by AMX, or else by AVX-512. Where it does
    not, torch can do so as well, but slower than numpy multiplies float32.
    """
    told: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older ones cannot say
    return bool(told.get("amx_bf16") or told.get("avx512_bf16"))


def use_threads(count: int) -> int:
    """Let torch use so many cores in threads that have not used it yet; how many it was before."""
    before: int = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


def multiplied(
    first: Tensor, second: Tensor, low: float, room: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """What `triton_tiles.above` does, by a matrix product that is written out and looked through
    after. None are named where there is no room for all.
    """
    scores = first @ second.T
    reach = scores >= low  # both as bfloat16: whoever is `low` or more, is it rounded as well
    count = int(reach.sum())
    if count > room:
        nowhere = torch.empty(0, dtype=torch.int32)
        return nowhere, nowhere, nowhere.float(), count
    rows, columns = reach.nonzero(as_tuple=True)
    return rows.int(), columns.int(), scores[rows, columns].float(), count


def _reaching(
    scores: Tensor, cut: np.float32, reach: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], Scores]:
    """Which of (N,) scores are `cut` or more, and what they are in float32. `reach` (N,) is for
    use meanwhile.
    """
    if scores.dtype is torch.float32:
        plain: Scores = scores.numpy()
        np.greater_equal(plain, cut, out=reach)
        found = np.flatnonzero(reach)
        return found, plain[found]
    bits = scores.view(torch.int16).numpy()
    # A number above zero cut off to bfloat16 is no more than it was; below, nothing is ruled out.
    least = int(cut.view(np.int32)) >> 16 if cut > 0 else np.iinfo(np.int16).min
    np.greater_equal(bits, np.int16(least), out=reach)
    found = np.flatnonzero(reach)
    wide = (bits[found].astype(np.int32) << 16).view(np.float32)
    return (found, wide) if cut > 0 else (found[wide >= cut], wide[wide >= cut])


def _fetched(found: Sequence[Tensor], count: int, begin: tuple[int, int]) -> Candidates:
    rows, columns, scores = (part[:count].cpu().numpy() for part in found)
    return rows + np.int32(begin[0]), columns + np.int32(begin[1]), scores


def _wide(rows: Tensor) -> Vectors:
    wide: Vectors = rows.float().numpy()
    return wide
