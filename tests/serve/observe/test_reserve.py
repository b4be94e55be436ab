"""Disk space for counts: taken at the start, given back at the end."""

import os
import subprocess
import sys
from pathlib import Path

from serve.observe import metrics
from serve.observe.reserve import FILE_BYTES, KINDS, give_back

COUNTING = """
import os
from serve.observe import metrics
metrics.count_request("/a", "GET", 200, 0.1)
print(os.getpid())
"""


def test_a_process_has_its_space_before_it_counts(tmp_path: Path) -> None:
    """Every file that a process counts in lies whole on the disk; one that ended gives the rest
    of it back.
    """
    done = subprocess.run(
        [sys.executable, "-c", COUNTING],
        env={**os.environ, metrics.FOLDER_VARIABLE: str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    pid = int(done.stdout)
    files = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert files.keys() == {f"{kind}_{pid}.db" for kind in KINDS}
    assert all(each.st_size == FILE_BYTES <= each.st_blocks * 512 for each in files.values())
    give_back(tmp_path, pid)
    assert 8 < (tmp_path / f"histogram_{pid}.db").stat().st_size < FILE_BYTES // 2
