"""A worker in a process of its own: `python -m tests.serve.sweeps.worker_program DATA KEYS PAUSE`.

It says `ready`, then `tile` when it begins one, which takes PAUSE seconds longer than it would.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.entry import Vectors
from index.sweep.choose import open_kernel
from index.sweep.kernel import Kernel, Named
from serve.settings import State
from serve.store.link import open_link
from serve.store.vault.keyring import open_keyring
from tests.serve.sweeps.scene import a_scene


@dataclass(slots=True)
class SlowKernel:
    """Another kernel, that rests before each tile, and says so. `broken` fails at every tile."""

    pause_s: float = 0.0
    says: bool = False
    broken: bool = False
    name: str = "slow"
    tiles: list[float] = field(default_factory=list)
    _kernel: Kernel = field(default_factory=lambda: open_kernel("cpu"))

    def load(self, vectors: Vectors) -> Any:
        return self._kernel.load(vectors)

    def margin(self, first: Any, second: Any) -> float:
        return self._kernel.margin(first, second)

    def above(self, first: Any, second: Any, low: float, *, is_diagonal: bool = False) -> Named:
        self.tiles.append(time.monotonic())
        if self.says:
            print("tile\n", end="", flush=True)  # noqa: T201 (in one piece, whichever thread)
        time.sleep(self.pause_s)
        if self.broken:
            raise ValueError("a tile that cannot be worked on")
        return self._kernel.above(first, second, low, is_diagonal=is_diagonal)


async def main(data_dir: Path, keys_dir: Path, pause_s: float) -> None:
    link = open_link(State(data_dir=data_dir))
    scene = a_scene(link, open_keyring(keys_dir, 0, create=False))
    worker = scene.sweeper(SlowKernel(pause_s, says=True))
    print("ready", flush=True)  # noqa: T201
    await worker.run(asyncio.Event())


if __name__ == "__main__":
    data, keys, pause = sys.argv[1:]
    asyncio.run(main(Path(data), Path(keys), float(pause)))
