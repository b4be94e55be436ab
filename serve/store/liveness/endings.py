"""What ends streams: one short log for each partition, which every door reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import Subject
from serve.ports.liveness import Ending, Places
from serve.store import names
from serve.store.link import now_ms, patience_ms, reaching_redis
from serve.store.scripts import Argument

READ_MAX = 256  # of each partition at once
FIELDS = (b"u", b"s", b"w", b"n", b"r")


@dataclass(frozen=True, slots=True)
class RedisEndings:
    """The `Endings` port. A read holds a connection of its own for as long as it waits."""

    link: Redis

    async def places(self) -> Places:
        """Where endings will be read from that are told after this call."""
        with reaching_redis():
            at_ms = await now_ms(self.link)
        return dict.fromkeys(names.EVERY_PARTITION, f"{at_ms - 1}-0")

    async def read(self, after: Places) -> tuple[Places, Sequence[Ending]]:
        """Those told behind `after`; see `serve.ports.liveness`. Nothing polls: what is told wakes
        the read.
        """
        streams = {names.ended(partition).encode(): partition for partition in after}
        wait = ("BLOCK", patience_ms(self.link), "COUNT", READ_MAX)
        with reaching_redis():
            async with self.link.pipeline(transaction=False) as pipe:
                pipe.execute_command("XREAD", *wait, "STREAMS", *streams, *after.values())
                (found,) = await pipe.execute()
        places, endings = dict(after), []
        for stream, rows in found or ():
            places[streams[stream]] = rows[-1][0].decode()
            endings += [_ending(fields) for _, fields in rows]
        return places, endings

    async def supersede(self, subject: Subject, ending: Ending) -> None:
        """Tell that a newer stream of a session has begun."""
        key = names.ended(subject.partition)
        link: Any = self.link
        with reaching_redis():
            await link.execute_command("XADD", key, *told(ending))
            await link.execute_command("PEXPIRE", key, names.ENDED_KEPT_MS)


def told(ending: Ending) -> tuple[Argument, ...]:
    """What XADD takes after its key."""
    values = (ending.locator, ending.session_id, ending.status, ending.stream_id, ending.resumed)
    pairs = [(name, value) for name, value in zip(FIELDS, values, strict=True) if value]
    return ("MAXLEN", "~", names.ENDED_MAX, "*", *(word for pair in pairs for word in pair))


def _ending(fields: dict[bytes, bytes]) -> Ending:
    return Ending(*(fields.get(name, b"").decode() for name in FIELDS))
