"""P4: which states may follow each other, written down from the design and not from the code.

What is watched are samples: between two looks a session may have moved several times, so what is
demanded is that a path of the graph leads from each look to the next.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

RETRY = "declined, with retries left"
# created and capturing read `pending`; capturing after a failed try reads `declined`.
EDGES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"processing", "expired", "canceled"}),
    "processing": frozenset({"pending", RETRY, "approved", "declined", "needs_review"}),
    RETRY: frozenset({"processing", "expired", "canceled"}),
    "needs_review": frozenset({"approved", "declined", "expired", "canceled"}),
    "approved": frozenset(),
    "declined": frozenset(),
    "expired": frozenset(),
    "canceled": frozenset(),
}
FIRST = frozenset({"pending", "declined"})  # declined: locked out from the start
ENDINGS = frozenset({"review_declined", "locked_out", "too_many_captures"})


def may_follow(before: str, after: str) -> bool:
    """Whether a path of the graph leads from one look to the next."""
    reached, new = {before}, {before}
    while new:
        new = {follower for state in new for follower in EDGES.get(state, ())} - reached
        reached |= new
    if before == RETRY:
        reached.discard("pending")  # a session that was tried is not untried again
    return after in reached


def looks(node: Any) -> Iterator[tuple[str, str]]:
    """Every session in a JSON answer, and the state that it tells of."""
    if isinstance(node, list):
        for item in node:
            yield from looks(item)
    elif isinstance(node, dict):
        if "resource_id" in node and "data" in node:
            yield node["resource_id"], _state(node, node["data"])
        elif str(node.get("id", "")).startswith("ses_") and "status" in node:
            yield node["id"], _state(node, node)
        elif isinstance(node.get("data"), list):
            yield from looks(node["data"])


def _state(told: dict[str, Any], counts: dict[str, Any]) -> str:
    status = str(told["status"])
    reasons = {item["code"] for item in told["reasons"]}
    has_left = counts["retries_remaining"] > 0 and not reasons & ENDINGS
    return RETRY if status == "declined" and has_left else status


@dataclass
class Watch:
    """The last look at each session, how many looks there were, and the steps between them."""

    last: dict[str, str] = field(default_factory=dict)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    looked: int = 0

    def complaints(self, node: Any) -> Iterator[str]:
        """What an answer tells of sessions and the graph does not allow."""
        for session_id, state in looks(node):
            self.looked += 1
            before = self.last.get(session_id)
            self.last[session_id] = state
            if state not in EDGES:
                yield f"{session_id} is {state}, which is no state of the graph"
            elif before is not None and before != state:
                self.steps[before, state] += 1
                if not may_follow(before, state):
                    yield f"{session_id} went from {before} to {state}"
