"""What a customer's record knows of others: flagged as one person, or told apart for ever."""

from collections.abc import Collection, Mapping, Sequence

from serve.domain.customer import Customer, Flagged
from serve.domain.search.duplicate import DIFFERENT_KEPT, FLAGS_KEPT, DuplicateFlag


def is_told_apart(customer: Customer, other: str) -> bool:
    """Whether a reviewer said that the customer with the subject key `other` is somebody else."""
    return other in customer.different_from


def flags_of_pairs(customer: Customer) -> Mapping[str, str]:
    """The flag of each pair that the customer is one of, by the other's subject key."""
    pairs = {item.other: item.flag_id for item in reversed(customer.flagged_by)}
    return pairs | {item.other: item.flag_id for item in reversed(customer.flags)}


def count_flagged(customer: Customer) -> int:
    """How many others have this customer's face, as far as nobody told them apart."""
    return sum(not is_told_apart(customer, other) for other in flags_of_pairs(customer))


def with_flags(
    customer: Customer, flags: Sequence[DuplicateFlag]
) -> tuple[Customer, tuple[str, ...]]:
    """`customer` with new flags before the older ones, and the ids of those that go for them: of
    the same pairs, and what no longer fits.
    """
    added = tuple(Flagged(flag_id=flag.id, other=flag.matched.key) for flag in flags)
    others = {item.other for item in added}
    older = (*added, *(item for item in customer.flags if item.other not in others))
    kept = older[:FLAGS_KEPT]
    dropped = tuple(item.flag_id for item in customer.flags if item not in kept)
    return customer.model_copy(update={"flags": kept}), dropped


def with_flagged_by(customer: Customer, flag_id: str, other: str) -> Customer:
    """`customer` once told that the flag of another names them; the same when they were told, or
    know of a hundred: the others know of the pair.
    """
    is_told = any(item.flag_id == flag_id for item in customer.flagged_by)
    if is_told or len(customer.flagged_by) >= FLAGS_KEPT:
        return customer
    items = (Flagged(flag_id=flag_id, other=other), *customer.flagged_by)
    return customer.model_copy(update={"flagged_by": items})


def without_flags(customer: Customer, flag_ids: Collection[str]) -> Customer:
    """`customer` without a word of these flags."""
    return customer.model_copy(
        update={
            "flags": tuple(item for item in customer.flags if item.flag_id not in flag_ids),
            "flagged_by": tuple(
                item for item in customer.flagged_by if item.flag_id not in flag_ids
            ),
        }
    )


def with_different(customer: Customer, other: str) -> Customer:
    """`customer` told from `other` for ever: the thousand told apart last are remembered."""
    if is_told_apart(customer, other):
        return customer
    items = (other, *customer.different_from)[:DIFFERENT_KEPT]
    return customer.model_copy(update={"different_from": items})
