"""P5 over every route of the document: a story told in four worlds, then walks by anybody.

`TEST_ISOLATION_EXAMPLES` walks of 40 steps, from `TEST_SEED`, and a count of every cell.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.settings import State
from tests.isolation.driver import Driver
from tests.isolation.machine import MINUTES, wander
from tests.isolation.stage import isolation_stage
from tests.isolation.story import go_across, tell_all
from tests.isolation.table import table

WALKS = int(os.environ.get("TEST_ISOLATION_EXAMPLES", "60"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))


@contextmanager
def worlds(state: State, folder: Path, seed: int = SEED) -> Iterator[Driver]:
    """A driver of four worlds that nothing has happened in."""
    with isolation_stage(state, folder / "keys") as stage:
        yield Driver.of(stage, seed)


def test_tenants_and_modes_never_see_each_other(redis_state: State, tmp_path: Path) -> None:
    """Whatever is called by whom about whose records: no success across, no word of others."""
    with worlds(redis_state, tmp_path) as driver:
        stories = tell_all(driver)
        go_across(driver)
        for story in stories:
            story.seen()
        wander(driver, WALKS, SEED)
        driver.stage.let_pass(MINUTES)
        for story in stories:
            story.seen()
        oracle = driver.oracle
        print(f"\nseed {SEED}, {WALKS} walks\n{table(oracle)}")
        assert oracle.findings == []
        for label in (operation.label for operation in driver.operations.values()):
            cells, is_public = oracle.cells[label], "x-scope" not in oracle.operation(label)
            needed = ["own", "apart", "nobody", *([] if is_public else ["scope"])]
            needed += ["across"] * ("_id}" in label and not is_public and "customer" not in label)
            assert [cell for cell in needed if not cells[cell]] == [], label
        assert {"across 2xx", "leaks", "undocumented", "5xx"}.isdisjoint(oracle.counts)
