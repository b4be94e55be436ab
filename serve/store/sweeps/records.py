"""Records of sweeps: sealed under a key of their own, with what scripts count beside it.

The key is another from the moment on that a sweep is over, or somebody is taken out of what it came
to: an older backup then opens with the key of its own day alone, which will be destroyed.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.sweeps.sweep import Sweep, SweepStatus
from serve.errors import Code, ServeError
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import new_key, seal, unseal

_FIELDS = ("u", "k", "d", "s", "e", "td", "cp", "mt", "fd", "bm", "cf")
_COUNTED = ("tiles_done", "compared", "mates", "found", "busy_ms")

Result = TypeVar("Result")
TRIES_MAX = 8  # of what others change at the same time

PARTS = ("plan", "tiles", "claims", "done", "results", "report")
PARTS_OF_WORK = ("tiles", "claims", "done", "results")  # of no use once it is over


@dataclass(frozen=True, slots=True)
class Kept:
    """A sweep that is there: as it is, the key that all of it is sealed under, as such and as it
    is wrapped, and the document as it lies in the store.
    """

    sweep: Sweep
    data_key: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)
    document: bytes = field(default=b"", repr=False)

    @classmethod
    def anew(cls, sweep: Sweep, keyring: Keyring) -> Self:
        """A sweep under a key that nothing was sealed under before."""
        data_key = new_key()
        wrapped = keyring.wrap(data_key, sweep.id)
        return cls(sweep, data_key, wrapped, seal(data_key, sweep.dump(), label_of(sweep.id)))

    def seal(self, plain: bytes, part: str) -> bytes:
        """`plain`, as nothing else than this part of this sweep."""
        return seal(self.data_key, plain, label_of(self.sweep.id, part))

    def unseal(self, sealed: bytes, part: str) -> bytes:
        """What was sealed as this part. Raises `keys_mismatch`."""
        return unseal(self.data_key, sealed, label_of(self.sweep.id, part))


def label_of(sweep_id: str, part: str = "") -> str:
    """What a part is sealed with; with none, the document."""
    return f"sweep|{sweep_id}|{part}"


def world_of(tenant_id: str, mode: Mode) -> str:
    """How a sweep names whose it is."""
    return f"{tenant_id}:{mode}"


def key_of(sweep_id: str, part: str = "") -> str:
    """The key of a sweep, or of a part. Raises `not_found` for what is no such id."""
    partition = partition_of(Prefix.SWEEP, sweep_id)
    if not part:
        return names.sweep(partition, sweep_id)
    return names.sweep_part(partition, sweep_id, part)


async def read(
    link: Redis, keyring: Keyring, sweep_ids: Sequence[str], world: str = ""
) -> list[Kept | None]:
    """Each sweep, in one round trip; None for one that has gone. With a `world`, one of another
    costs what none would: it is not opened.
    """
    with reaching_redis():
        async with link.pipeline(transaction=False) as pipe:
            for sweep_id in sweep_ids:
                pipe.hmget(key_of(sweep_id), list(_FIELDS))
            rows = await pipe.execute()
    return [
        _opened(keyring, sweep_id, row) if not world or row[0] == world.encode() else None
        for sweep_id, row in zip(sweep_ids, rows, strict=True)
    ]


async def read_one(link: Redis, keyring: Keyring, sweep_id: str) -> Kept | None:
    """One sweep. Raises `not_found` for what is no such id."""
    (found,) = await read(link, keyring, [sweep_id])
    return found


async def read_with(
    link: Redis, keyring: Keyring, sweep_id: str, work: Callable[[Kept], Awaitable[Result]]
) -> Result | None:
    """What `work` makes of a sweep, None where there is none; done again where the key was replaced
    between the record and what belongs to it. Raises what `work` raises, and `state_unavailable`
    when that happens all the time.
    """
    for _ in range(TRIES_MAX):
        kept = await read_one(link, keyring, sweep_id)
        if kept is None:
            return None
        try:
            return await work(kept)
        except ServeError as error:
            again = await read_one(link, keyring, sweep_id)
            is_other = again is None or again.data_key != kept.data_key
            if error.code is not Code.KEYS_MISMATCH or not is_other:
                raise
    raise busy()


def busy() -> ServeError:
    """It is changed by others all the time."""
    return ServeError(Code.STATE_UNAVAILABLE, "a sweep changes all the time", retry_after_s=1)


def _opened(keyring: Keyring, sweep_id: str, row: Sequence[bytes | None]) -> Kept | None:
    _, wrapped, sealed, status, ended, *counted, complete_from = row
    if wrapped is None or sealed is None or status is None:
        return None
    data_key = keyring.unwrap(wrapped, sweep_id)
    sweep = Sweep.model_validate_json(unseal(data_key, sealed, label_of(sweep_id)))
    said: dict[str, Any] = {"status": SweepStatus(status.decode())}
    said |= {
        name: int(number)
        for name, number in zip(_COUNTED, counted, strict=True)
        if number is not None
    }
    if complete_from is not None:
        said["complete_from"] = float(complete_from)
    if ended is not None:
        said["ended_at_ms"] = int(ended)
    return Kept(sweep.model_copy(update=said), data_key, wrapped, sealed)
