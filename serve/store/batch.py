"""The commands of one commit, gathered before they are sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve.store.scripts import Argument

COMMANDS_MAX = 20_000


@dataclass(slots=True)
class Batch:
    """Commands over keys of one slot, in the order in which they will run."""

    keys: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    commands: int = 0

    def add(self, name: str, key: str, *arguments: Argument) -> None:
        """Append one command."""
        if key not in self.keys:
            self.keys.append(key)
        # Two keys stand before these: the operation's record and the customer.
        position = self.keys.index(key) + 3
        self.arguments += (name, position, len(arguments), *arguments)
        self.commands += 1

    def put(self, key: str, fields: Sequence[Argument], expires_at_ms: int) -> None:
        """Replace a hash's fields, given as name, value, …, and say when it goes."""
        self.add("HSET", key, *fields)
        self.add("PEXPIREAT", key, expires_at_ms)
