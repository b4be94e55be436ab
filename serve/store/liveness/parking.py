"""Streams that have lost their connection: sealed under the customer's data key, for 15 s."""

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import Subject
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.scripts import Script, run
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import seal, unseal

# KEYS: 1 a customer, 2 the stream, 3 the customer's owned keys. ARGV: 1 the wrapped data key that
# it is sealed under, 2 the sealed stream, 3 ms for which it is kept. Returns 1, or 0 when the
# customer is gone or has another data key.
PARK = Script(
    "park",
    """
if redis.call('HGET', KEYS[1], 'k') ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], now + ARGV[3], KEYS[2])
return 1
""",
)

# KEYS: as of PARK. Returns the customer's wrapped data key and the stream, which is no more there.
UNPARK = Script(
    "unpark",
    """
local found = redis.call('GET', KEYS[2])
if not found then return false end
redis.call('UNLINK', KEYS[2])
redis.call('ZREM', KEYS[3], KEYS[2])
return {redis.call('HGET', KEYS[1], 'k'), found}
""",
)


@dataclass(frozen=True, slots=True)
class RedisParking:
    """The `Parking` port."""

    link: Redis
    keyring: Keyring = field(repr=False)

    async def park(self, subject: Subject, name: str, stream: bytes) -> None:
        """Keep a stream; nothing where the customer is gone, or their key is just being changed."""
        with reaching_redis():
            wrapped: Any = await self.link.hget(names.customer(subject), "k")
            if wrapped is None:
                return
            data_key = self.keyring.unwrap(wrapped, subject.key)
            sealed = seal(data_key, stream, f"parked|{name}")
            arguments = [wrapped, sealed, names.PARKED_KEPT_MS]
            await run(self.link, PARK, _keys(subject, name), arguments)

    async def take(self, subject: Subject, name: str) -> bytes | None:
        """The stream of that name, once: whoever asks second finds none."""
        with reaching_redis():
            found, _ = await run(self.link, UNPARK, _keys(subject, name), [])
        if found is None or found[0] is None:
            return None
        data_key = self.keyring.unwrap(found[0], subject.key)
        return unseal(data_key, found[1], f"parked|{name}")


def _keys(subject: Subject, name: str) -> list[str]:
    parked = names.parked(subject.partition, name)
    return [names.customer(subject), parked, names.owned(subject)]
