"""What one gallery came to in a sweep, and how fast beside a bare product and rivals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.bench.measure import Timing
from serve.bench.sweeps.peers import Peer

LIMEN, GEMM = "limen", "bare GEMM"


@dataclass(frozen=True, slots=True)
class Whole:
    """One sweep from the first tile to the last."""

    threads: int
    wall_s: float
    cpu_s: float
    grown_bytes: int
    """The most by which the process had grown meanwhile."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A threshold, how many pairs reach it by float64, and in how many the sweep differs."""

    threshold: float
    threads: int
    pairs: int
    different: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Tiles, or products of their shape, timed by turns; `timing` is of one pair."""

    name: str
    threads: int
    timing: Timing


@dataclass(frozen=True, slots=True)
class Planted:
    """How many pairs of a kind were planted, and how many of them were found."""

    planted: int
    found: int


@dataclass(frozen=True, slots=True)
class Sweeping:
    """What one gallery came to. `found` counts pairs at or above the threshold."""

    faces: int
    dimension: int
    kernel: str
    block: int
    tiles: int
    found: int
    mates: Planted
    above: Planted
    below: Planted
    templates_bytes: int
    load_s: float
    wholes: Sequence[Whole]
    paces: Sequence[Pace]
    peers: Sequence[Peer]
    checked: Sequence[Checked] = field(default=())

    @property
    def name(self) -> str:
        """As in "100,000 x 128, numpy float32"."""
        return f"{self.faces:,} x {self.dimension}, {self.kernel}"

    @property
    def pairs(self) -> int:
        """All there are."""
        return self.faces * (self.faces - 1) // 2

    def speeds(self, threads: int) -> dict[str, float]:
        """Pairs a second of all that were timed with so many threads, rivals among them."""
        every: Sequence[Pace | Peer] = [*self.paces, *self.peers]
        return {each.name: each.timing.images_per_s for each in every if each.threads == threads}

    def shares(self) -> dict[int, float]:
        """By threads, the sweep's pairs a second over a bare product's, tiles timed by turns."""
        threads = [each.threads for each in self.paces if each.name == LIMEN]
        speeds = {each: self.speeds(each) for each in threads}
        return {each: found[LIMEN] / found[GEMM] for each, found in speeds.items()}

    def cpu_shares(self) -> dict[int, float]:
        """The same by seconds of processors: what else runs on the machine hardly changes it."""
        spent = {(each.name, each.threads): each.timing.cpu_ms for each in self.paces}
        return {each: spent[GEMM, each] / spent[LIMEN, each] for each in self.shares()}

    def whole_shares(self) -> dict[int, float]:
        """The same of whole sweeps, from the first tile to the last."""
        return {
            each.threads: self.pairs / each.wall_s / self.speeds(each.threads)[GEMM]
            for each in self.wholes
        }

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        return {
            "faces": self.faces,
            "dimension": self.dimension,
            "kernel": self.kernel,
            "block": self.block,
            "tiles": self.tiles,
            "pairs": self.pairs,
            "found": self.found,
            "planted": {
                name: {"planted": each.planted, "found": each.found}
                for name, each in (
                    ("mates", self.mates), ("above", self.above), ("below", self.below)
                )
            },
            "templates_bytes": self.templates_bytes,
            "load_s": round(self.load_s, 3),
            "wholes": [
                {
                    "threads": each.threads,
                    "wall_s": round(each.wall_s, 3),
                    "cpu_s": round(each.cpu_s, 3),
                    "pairs_per_s": round(self.pairs / each.wall_s),
                    "share_of_gemm": round(self.whole_shares()[each.threads], 3),
                    "grown_bytes": each.grown_bytes,
                }
                for each in self.wholes
            ],
            "tiles_by_turns": [
                {
                    "name": each.name,
                    "threads": each.threads,
                    "pairs_per_s": round(each.timing.images_per_s),
                    "cpu_s_per_billion_pairs": round(1e6 * each.timing.cpu_ms, 3),
                }
                for each in self.paces
            ],
            "shares_of_gemm": _by_threads(self.shares()),
            "shares_of_gemm_by_cpu_time": _by_threads(self.cpu_shares()),
            "peers": [each.encode() for each in self.peers],
            "checked": [
                {
                    "threshold": each.threshold, "threads": each.threads,
                    "pairs": each.pairs, "different": each.different,
                }
                for each in self.checked
            ],
        }  # fmt: skip


def _by_threads(shares: Mapping[int, float]) -> dict[str, float]:
    return {str(threads): round(share, 3) for threads, share in shares.items()}
