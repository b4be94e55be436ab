"""A process without an index: commands that only read or write records."""

from typing import NoReturn

from serve.errors import Code, ServeError
from serve.ports.search import Asked, ShardStatus


class AbsentIndex:
    """Stands where `FaceIndex` stands, and refuses: nobody is ever taken for unknown."""

    async def search(self, asked: Asked) -> NoReturn:
        """Raises `service_unavailable`."""
        del asked
        raise ServeError(Code.SERVICE_UNAVAILABLE, "this process has no index")

    async def statuses(self) -> tuple[ShardStatus, ...]:
        """Nobody holds one here."""
        return ()
