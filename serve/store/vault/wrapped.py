"""Every data key that is alive, as it is wrapped: customers' and sweeps'."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.store import names
from serve.store.link import reaching_redis


@dataclass(frozen=True, slots=True)
class Wrapped:
    """Where a data key lies, and what it is wrapped for: a subject key, or a sweep's id."""

    record: str
    label: str
    data_key: bytes = field(repr=False)


async def wrapped_keys(link: Redis, partition: int, count: int) -> AsyncIterator[list[Wrapped]]:
    """All of a partition, about `count` at a time; one that comes meanwhile may be left out, and
    one may be told of twice. Raises `state_unavailable`.
    """
    for listed in (names.customers(partition), names.sweeps_kept(partition)):
        cursor = 0
        while True:
            with reaching_redis():
                step: Any = await link.zscan(listed, cursor, count=count)
                cursor, found = step
                places = [_place(partition, member.decode()) for member, _ in found]
                async with link.pipeline(transaction=False) as pipe:
                    for record, _ in places:
                        pipe.hget(record, "k")
                    keys = await pipe.execute()
            yield [
                Wrapped(*place, key)
                for place, key in zip(places, keys, strict=True)
                if key is not None
            ]
            if cursor == 0:
                break


def _place(partition: int, member: str) -> tuple[str, str]:
    """The record of a customer, by their locator, or of a sweep, by its id; and the label."""
    if ":" in member:
        subject = names.located(member)
        return names.customer(subject), subject.key
    return names.sweep(partition, member), member
