"""A process that goes on counting on a disk that is full, as a program: its folder is the disk."""

import os
import sys
from pathlib import Path

from serve.observe import metrics
from tests.faults.disk.tiny import fill

SERIES = 400


def main(folder: Path) -> None:
    """Count before the disk is full, and new series after."""
    metrics.count_refusal("first")
    fill(folder)
    for number in range(SERIES):
        metrics.count_refusal(f"code_{number}")
    assert metrics.render()[0].count(b"limen_refusals_total{") == SERIES + 1
    print("counted", SERIES)


if __name__ == "__main__":
    assert os.environ[metrics.FOLDER_VARIABLE] == sys.argv[1]
    main(Path(sys.argv[1]))
