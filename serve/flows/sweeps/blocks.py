"""Blocks of sweeps under way: read from the log once, kept while there is room."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from index.entry import Gallery
from index.sweep.block import Block
from index.sweep.kernel import Kernel
from index.sweep.tile import Loaded, load
from index.vector import SQUARE_MAX, SQUARE_MIN
from serve.deps import Deps
from serve.domain.search.gallery import GalleryKind
from serve.domain.sweeps.plan import owner_number
from serve.domain.sweeps.sweep import BlockPlan, Sweep, SweepPlan
from serve.ports import LoggedFaces

NAMES_BYTES = 256  # of a face's and its customer's names, in memory
COPIES = 2  # of the templates: as they were read, and as the kernel has them


@dataclass(frozen=True, slots=True, eq=False)
class HeldBlock:
    """A block that is ready, and the names of its N faces and of their customers, in its order."""

    loaded: Loaded
    faces: tuple[str, ...] = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return COPIES * self.loaded.block.vectors.nbytes + NAMES_BYTES * len(self.faces)


class Blocks:
    """Blocks by sweep and number: whoever asks for one that is being read waits for the same. The
    least used go first, once all take more than `bytes_max`; those in use live as long as that.
    """

    def __init__(self, deps: Deps, kernel: Kernel, bytes_max: int, threads: Executor) -> None:
        self._deps = deps
        self._kernel = kernel
        self._bytes_max = bytes_max
        self._threads = threads
        self._reading: dict[tuple[str, int], asyncio.Task[HeldBlock]] = {}
        self._held: OrderedDict[tuple[str, int], HeldBlock] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Of all that are kept."""
        return sum(block.size_bytes for block in self._held.values())

    async def get(self, sweep: Sweep, plan: SweepPlan, number: int) -> HeldBlock:
        """The faces of a block who are still there. Raises what the log raises."""
        name = sweep.id, number
        if name in self._held:
            self._held.move_to_end(name)
            return self._held[name]
        task = self._reading.get(name)
        if task is None:
            task = asyncio.create_task(self._read(sweep, plan.blocks[number]))
            self._reading[name] = task
            task.add_done_callback(self._taker(name))
        return await asyncio.shield(task)

    def keep(self, sweep_ids: set[str]) -> None:
        """Let the blocks of all other sweeps go."""
        for name in [name for name in self._held if name[0] not in sweep_ids]:
            del self._held[name]

    async def close(self) -> None:
        """Read no more."""
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)
        self._held.clear()

    def _taker(self, name: tuple[str, int]) -> Callable[["asyncio.Task[HeldBlock]"], None]:
        def take(task: "asyncio.Task[HeldBlock]") -> None:
            self._reading.pop(name, None)
            if not task.cancelled() and task.exception() is None:
                self._held[name] = task.result()
                while len(self._held) > 1 and self.size_bytes > self._bytes_max:
                    self._held.popitem(last=False)

        return take

    async def _read(self, sweep: Sweep, plan: BlockPlan) -> HeldBlock:
        gallery = gallery_of(sweep, is_blocklist=plan.is_blocklist)
        parts = [await self._deps.gallery_log.faces(gallery, each) for each in plan.segments]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _block, self._kernel, parts)


def gallery_of(sweep: Sweep, *, is_blocklist: bool = False) -> Gallery:
    """Whom a sweep looks at, or the blocklist of the same world."""
    kind = GalleryKind.BLOCKED if is_blocklist else GalleryKind.ENROLLED
    return Gallery(f"{sweep.tenant_id}:{sweep.mode}", kind.value, sweep.model_id)


def _block(kernel: Kernel, parts: list[LoggedFaces]) -> HeldBlock:
    """All parts as one block, without what is no template: no search finds that either."""
    some = [part for part in parts if part.faces]
    if not some:
        empty = Block(np.empty((0, 1), np.float32), np.empty(0, np.int64))
        return HeldBlock(Loaded(empty, None), (), ())
    vectors = np.concatenate([part.vectors for part in some])
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    sound = (squares >= SQUARE_MIN) & (squares <= SQUARE_MAX)
    told = [face for part in some for face in part.faces]
    if not sound.all():
        vectors = np.ascontiguousarray(vectors[sound])
        told = [face for face, is_sound in zip(told, sound.tolist(), strict=True) if is_sound]
    keys = tuple(face.subject_key for face in told)
    owners = np.fromiter(map(owner_number, keys), np.int64, len(keys))
    return HeldBlock(
        load(kernel, Block(vectors, owners)), tuple(face.face_id for face in told), keys
    )
