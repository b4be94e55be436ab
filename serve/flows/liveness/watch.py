"""What ends the streams of a door from elsewhere: one reader for all of them, woken by Redis."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from serve.deps import Deps
from serve.domain.ids import Subject
from serve.domain.session import KycStatus, elapsed
from serve.errors import Code, ServeError
from serve.observe import logs
from serve.ports.liveness import Ending, Places

PAUSE_S = 0.1  # after Redis could not be read; it doubles
PAUSE_S_MAX = 1.0
CHECKED_AT_ONCE = 16

_CODES = {
    KycStatus.EXPIRED: Code.TOKEN_EXPIRED,
    KycStatus.DECLINED: Code.ATTEMPTS_EXHAUSTED,
}


class Watched(Protocol):
    """A stream as the watch knows it."""

    @property
    def name(self) -> str:
        """The digest of its secret."""
        ...

    @property
    def session_id(self) -> str:
        """The session that it captures for."""
        ...

    @property
    def subject(self) -> Subject:
        """Whose session it is."""
        ...

    def end(self, error: ServeError) -> None:
        """It is over, unless it is being judged: then the judgement says so."""
        ...

    def give_way(self, resumed: str) -> None:
        """The session went on in a newer stream, which goes on with the stream `resumed`."""
        ...


@dataclass(slots=True)
class _Place:
    """A stream, and whether its beginning has been read in the log: what stands before that is of
    older streams.
    """

    stream: Watched
    is_announced: bool = False


class Watch:
    """The open streams of a door, at most one of a session."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._streams: dict[str, _Place] = {}
        self._places: Places | None = None
        self._reader: asyncio.Task[None] | None = None

    async def join(self, stream: Watched, resumed: str) -> None:
        """Watch a stream from now on; an older one of the session, on whichever door, gives way.

        Raises `state_unavailable`.
        """
        if self._places is None:
            places = await self._deps.endings.places()
            self._places = self._places or places
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        older = self._streams.get(stream.session_id)
        self._streams[stream.session_id] = _Place(stream)
        if older is not None:
            older.stream.give_way(resumed)
        ending = Ending(
            stream.subject.locator, stream.session_id, stream_id=stream.name, resumed=resumed
        )
        await self._deps.endings.supersede(stream.subject, ending)

    def leave(self, stream: Watched) -> None:
        """Watch it no longer."""
        place = self._streams.get(stream.session_id)
        if place is not None and place.stream is stream:
            del self._streams[stream.session_id]

    async def close(self) -> None:
        """Read no more."""
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()  # once may not be enough: redis-py can swallow it
            await asyncio.wait([self._reader], timeout=PAUSE_S)

    async def _read(self) -> None:
        """End what is told of, until cancelled. After a time without Redis all are looked at: what
        was told meanwhile may be gone from the log.
        """
        pause_s = 0.0
        while True:
            try:
                assert self._places is not None
                if pause_s:
                    await self._look_at_all()
                self._places, endings = await self._deps.endings.read(self._places)
                for ending in endings:
                    self._heed(ending)
                pause_s = 0.0
            except ServeError as error:
                if not pause_s:
                    logs.write("the endings of streams are out of reach", code=error.code)
                pause_s = min(PAUSE_S_MAX, 2 * pause_s or PAUSE_S)
                await asyncio.sleep(pause_s)
            except Exception as error:  # noqa: BLE001 (whoever else is to end must not wait for it)
                logs.write_error("the endings of streams cannot be read", error)
                pause_s = PAUSE_S_MAX
                await asyncio.sleep(pause_s)

    def _heed(self, ending: Ending) -> None:
        if not ending.session_id:
            for place in list(self._streams.values()):
                if place.stream.subject.locator == ending.locator:
                    place.stream.end(ServeError(Code.NOT_FOUND, "no such session token"))
            return
        found = self._streams.get(ending.session_id)
        if found is None:
            return
        if ending.stream_id == found.stream.name:
            found.is_announced = True
        elif not ending.stream_id:
            found.stream.end(over(KycStatus(ending.status)))
        elif found.is_announced:
            found.stream.give_way(ending.resumed)

    async def _look_at_all(self) -> None:
        """Raises `state_unavailable` where Redis is gone again."""
        streams = [place.stream for place in self._streams.values()]
        for start in range(0, len(streams), CHECKED_AT_ONCE):
            part = streams[start : start + CHECKED_AT_ONCE]
            await asyncio.gather(*map(self._look, part))

    async def _look(self, stream: Watched) -> None:
        snapshot = await self._deps.ledger.snapshot(stream.subject)
        session = await self._deps.ledger.session(snapshot, stream.session_id)
        if session is None:
            stream.end(ServeError(Code.NOT_FOUND, "no such session token"))
            return
        session = elapsed(session, snapshot.now_ms)
        if not session.is_under_way:
            stream.end(over(session.status))


def over(status: KycStatus) -> ServeError:
    """Why nothing is captured any more in a session of this status."""
    return ServeError(_CODES.get(status, Code.SESSION_CLOSED), f"the session is {status}")
