"""A disk that fills up: new work is shed before Redis dies of it, and nothing acknowledged is lost
when it does. TEST_FULL_S lengthens the outage, TEST_SEED repeats a run.
"""

from pathlib import Path

import pytest

from serve.observe.metrics import FOLDER_VARIABLE
from tests.faults.disk.tiny import NOT_PERMITTED, own_disk, played

DISK_BYTES = 64 * 2**20
COUNTS_BYTES = 4 * 2**20


@pytest.mark.models
@pytest.mark.usefixtures("model_cache")
def test_a_full_disk_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the mark nothing new is begun and what has begun is finished; full, all are refused
    and no process but Redis ends; with room again all goes on, and every promise was kept.
    """
    words = own_disk(tmp_path, DISK_BYTES)
    if words is None:
        pytest.skip(NOT_PERMITTED)
    said = played(words, "tests.faults.disk.full_disk", tmp_path)
    with capsys.disabled():
        print(f"\n{said.strip()}")
    assert "broken promises 0" in said


def test_a_full_disk_ends_no_process_that_counts(tmp_path: Path) -> None:
    """A process that began to count before the disk was full counts on, new series among them;
    without its space reserved the first of them ends it with SIGBUS.
    """
    words = own_disk(tmp_path, COUNTS_BYTES)
    if words is None:
        pytest.skip(NOT_PERMITTED)
    folder = {FOLDER_VARIABLE: str(tmp_path)}
    assert played(words, "tests.faults.disk.counting", tmp_path, **folder) == "counted 400\n"
