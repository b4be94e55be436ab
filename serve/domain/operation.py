"""One request to change something: the id by which a repeat of it is known."""

from dataclasses import dataclass

from serve.domain.ids import Subject


@dataclass(slots=True)
class Operation:
    """What a caller asked for, once.

    `may_repeat` says that the id is the caller's own choice, so that it may have been carried out
    before: then that is looked up first. `subject` is whose records it concerned, as soon as the
    flow knows; None for what concerns no customer.
    """

    id: str
    may_repeat: bool = False
    subject: Subject | None = None
