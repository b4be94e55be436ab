"""One request to change something: the id by which a repeat of it is known."""

from dataclasses import dataclass, field

from serve.domain.change import Snapshot
from serve.domain.ids import Subject


@dataclass(slots=True)
class Operation:
    """What a caller asked for, once.

    `may_repeat` says that the id is the caller's own choice, so that it may have been carried out
    before: then that is looked up first. `subject` is whose records it concerned, as soon as the
    flow knows; None for what concerns no customer. `data_key` is that customer's, as soon as the
    flow has found, or made, one who exists. `began_ms` is when one that may repeat was first asked
    for.
    """

    id: str
    may_repeat: bool = False
    subject: Subject | None = None
    data_key: bytes | None = field(default=None, repr=False)
    began_ms: int | None = None

    def concerns(self, snapshot: Snapshot) -> None:
        """Note whose records the flow found."""
        self.subject = snapshot.subject
        self.data_key = None if snapshot.customer is None else snapshot.data_key
