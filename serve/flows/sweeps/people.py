"""The customers behind subject keys: who is still there, under which faces, and by what name."""

import asyncio
from collections.abc import Iterable, Mapping

from serve.deps import Deps
from serve.domain.customer import Customer
from serve.domain.ids import Mode, Prefix, Subject
from serve.domain.search.gallery import BLOCKED_PREFIX
from serve.domain.sweeps.sweep import FacePair

AT_ONCE = 64  # customers read together

World = tuple[str, Mode]


async def customers_of(deps: Deps, world: World, keys: Iterable[str]) -> dict[str, Customer]:
    """The customers of a world who are there, by subject key."""
    wanted = sorted(set(keys))
    found: dict[str, Customer] = {}
    for start in range(0, len(wanted), AT_ONCE):
        subjects = [Subject(*world, key) for key in wanted[start : start + AT_ONCE]]
        for snapshot in await asyncio.gather(*map(deps.ledger.snapshot, subjects)):
            if snapshot.customer is not None:
                found[snapshot.subject.key] = snapshot.customer
    return found


def named(pairs: Iterable[FacePair]) -> dict[str, set[str]]:
    """The faces that pairs name, by subject key."""
    faces: dict[str, set[str]] = {}
    for pair in pairs:
        faces.setdefault(pair.subject_a, set()).add(pair.face_a)
        faces.setdefault(pair.subject_b, set()).add(pair.face_b)
    return faces


def has_face(people: Mapping[str, Customer], key: str, face_id: str) -> bool:
    """Whether the customer is there and has the face: who went and came again has another."""
    found = people.get(key)
    return found is not None and any(item.face_id == face_id for item in found.references)


def gone_faces(
    people: Mapping[str, Customer], faces: Mapping[str, Iterable[str]]
) -> frozenset[str]:
    """Those of the faces, by subject key, that nobody of `people` has any more."""
    return frozenset(
        face for key, some in faces.items() for face in some if not has_face(people, key, face)
    )


def is_blocked(customer: Customer) -> bool:
    """Whether it is an entry of the blocklist: by its name, which no tenant can give."""
    return customer.customer_id.startswith(BLOCKED_PREFIX)


def told_id(subject: Subject, customer: Customer) -> str:
    """What the tenant knows the customer by: their own id, or that of a blocklist's entry."""
    if not is_blocked(customer):
        return customer.customer_id
    rest = customer.customer_id.removeprefix(BLOCKED_PREFIX)
    return f"{Prefix.BLOCK}_{subject.partition:02d}{rest}"
