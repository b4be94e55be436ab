"""Records of sweeps: sealed under a key of their own, with what scripts count beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, partition_of
from serve.domain.sweeps.sweep import Sweep, SweepStatus
from serve.store import names
from serve.store.link import reaching_redis
from serve.store.vault.keyring import Keyring
from serve.store.vault.sealing import seal, unseal

_FIELDS = ("u", "k", "d", "s", "e", "td", "cp", "mt", "fd", "bm", "cf")
_COUNTED = ("tiles_done", "compared", "mates", "found", "busy_ms")

PARTS = ("plan", "tiles", "claims", "done", "results", "report")
PARTS_OF_WORK = ("tiles", "claims", "done", "results")  # of no use once it is over


@dataclass(frozen=True, slots=True)
class Kept:
    """A sweep that is there: as it is, and the key that all of it is sealed under."""

    sweep: Sweep
    data_key: bytes = field(repr=False)

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
    return Kept(sweep.model_copy(update=said), data_key)
