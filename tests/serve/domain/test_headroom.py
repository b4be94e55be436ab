"""When the store is short of room for something new."""

from dataclasses import replace
from typing import Any

import pytest

from serve.domain.headroom import Marks, Room, Shortage, shortage

MARKS = Marks(disk_free_min_bytes=100, memory_share_max=0.9)
ROOM = Room(disk_free_bytes=150, log_bytes=50)


@pytest.mark.parametrize(
    ("changes", "short_of"),
    [
        ({}, None),
        ({"disk_free_bytes": 149}, Shortage.DISK),
        ({"log_bytes": 51}, Shortage.DISK),
        ({"log_bytes": 51, "rewritten_bytes": 1}, None),
        ({"log_bytes": 0, "disk_free_bytes": 100, "rewritten_bytes": 60}, None),
        ({"disk_free_bytes": None, "log_bytes": 2**60}, None),
        ({"memory_bytes": 2**60}, None),
        ({"memory_bytes": 90, "memory_max_bytes": 100}, None),
        ({"memory_bytes": 91, "memory_max_bytes": 100}, Shortage.MEMORY),
        ({"memory_bytes": 99, "memory_max_bytes": 100, "disk_free_bytes": 0}, Shortage.DISK),
    ],
)
def test_the_marks_leave_room_for_a_rewrite(
    changes: dict[str, Any], short_of: Shortage | None
) -> None:
    """Short is who has less than the mark and a rewrite need, or more than the share in use."""
    assert shortage(replace(ROOM, **changes), MARKS) is short_of
