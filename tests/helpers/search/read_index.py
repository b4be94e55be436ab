"""The index without memory: every search reads the whole log of faces, and compares with all.

It needs no task of its own, so it stands wherever ports are built without one; slow, and simple
enough to be an oracle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.entry import START, Enrolled, Entry, Gallery
from serve.ports.search import Asked, FaceHit, FaceLog, Found, ShardStatus
from serve.store import names

ENTRIES_MAX = 1_000  # of one partition, in one read


@dataclass(slots=True)
class ReadIndex:
    """The `FaceIndex` port. `scanned` counts the faces that were compared with."""

    log: FaceLog
    scanned: int = 0

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        faces = [entry for entry in await everybody(self.log) if self.is_meant(asked, entry)]
        self.scanned += len(faces)
        probe = asked.template.vector.astype(np.float64)
        best: dict[str, FaceHit] = {}
        for face in faces:
            owner = names.located(face.owner)
            score = float(probe @ face.vector.astype(np.float64))
            known = best.get(face.owner)
            if score < asked.floor or owner.key == asked.exclude:
                continue
            if known is None or score > known.native:
                best[face.owner] = FaceHit(owner, face.face, score)
        hits = sorted(best.values(), key=lambda hit: (-hit.native, hit.subject.key))
        return Found(tuple(hits[: asked.limit]), len(faces))

    def is_meant(self, asked: Asked, face: Enrolled) -> bool:
        """Whether the face is of the gallery that is searched."""
        return face.gallery == gallery_of(asked)

    async def statuses(self) -> Sequence[ShardStatus]:
        """It holds nothing."""
        return ()


def gallery_of(asked: Asked) -> Gallery:
    """The gallery that is searched, by what the log calls it."""
    return Gallery(f"{asked.tenant_id}:{asked.mode}", asked.kind, asked.template.model_id)


async def everybody(log: FaceLog) -> list[Enrolled]:
    """Every face in the log whose owner has not gone."""
    after = dict.fromkeys(names.EVERY_PARTITION, START)
    entries: list[Entry] = []
    while found := await log.read(after, limit=ENTRIES_MAX):
        for partition, (log_id, read) in found.items():
            after[partition] = log_id
            entries += read
    erased_at = {entry.owner: entry.log_id for entry in entries if not isinstance(entry, Enrolled)}
    return [
        entry
        for entry in entries
        if isinstance(entry, Enrolled) and entry.log_id > erased_at.get(entry.owner, START)
    ]
