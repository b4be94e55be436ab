"""What an operator hears of the room that the store has."""

import logging

import pytest

from serve.domain.headroom import Shortage
from serve.flows.upkeep.room import tell


def test_only_a_change_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A shortage is written once, another kind anew, and its end once."""
    before: Shortage | None = None
    with caplog.at_level(logging.INFO, logger="serve"):
        for now in (None, Shortage.DISK, Shortage.DISK, Shortage.MEMORY, None, None):
            before = tell(before, now)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "store short of room"),
        ("WARNING", "store short of room"),
        ("INFO", "store has room again"),
    ]
