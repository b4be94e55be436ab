"""The `FaceIndex` port with another index behind it, and the troubles of a real one on demand."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from serve.errors import Code, ServeError
from serve.ports.search import Asked, FaceIndex, Found, ShardStatus


@dataclass(slots=True)
class ScriptedIndex:
    """Asks `behind`, None for nobody enrolled at all; `asked` are the searches so far.

    Partitions in `missing` cannot be answered for, `trouble` is raised instead of an answer, and
    `before` is awaited first, once.
    """

    behind: FaceIndex | None = None
    asked: list[Asked] = field(default_factory=list)
    missing: tuple[int, ...] = ()
    trouble: Code | None = None
    before: Callable[[], Awaitable[object]] | None = None

    async def search(self, asked: Asked) -> Found:
        """See `serve.ports.search.FaceIndex`."""
        self.asked.append(asked)
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        if self.trouble is not None:
            raise ServeError(self.trouble, "the index is in trouble", retry_after_s=1)
        found = Found((), 0) if self.behind is None else await self.behind.search(asked)
        hits = tuple(hit for hit in found.hits if hit.subject.partition not in self.missing)
        return replace(found, hits=hits, missing=self.missing)

    async def statuses(self) -> Sequence[ShardStatus]:
        """It holds nothing."""
        return ()
