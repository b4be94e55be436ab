"""The society that rings are measured in, what is counted of them, and the command as a whole."""

from pathlib import Path

import numpy as np
import pytest

from index.sweep.blas import BlasKernel
from serve.bench.sweeps.goals import goals
from serve.bench.sweeps.rings import AtBar, Clusters, RingsFound, components, measure_rings
from serve.bench.sweeps.society import KIN, RING_MAX, TWINS, pairs_within, society
from tests.serve.cli.command_line import limen

FACES = 2_000


def silent(what: str) -> None:
    """Progress that nobody watches."""


def test_a_society_is_what_it_says() -> None:
    """Rings of one person, twins as alike who are two, kin less so; the seed is all there is."""
    made = society(FACES, 128, 3)
    wide = made.templates.astype(np.float64)
    sizes = np.bincount(made.people)
    assert made.largest == RING_MAX == sizes.max()
    assert (sizes >= 2).sum() == FACES // 200
    assert made.mates == sum(size * (size - 1) // 2 for size in sizes.tolist())
    assert np.abs(np.linalg.norm(wide, axis=1) - 1).max() < 1e-6
    for one, other in made.apart.tolist():
        assert made.people[one] != made.people[other]
        assert wide[one] @ wide[other] == pytest.approx(TWINS, abs=1e-6)
    ring = np.flatnonzero(made.people == np.argmax(sizes))
    within = (wide[ring] @ wide[ring].T)[np.triu_indices(len(ring), 1)]
    assert within.mean() > KIN
    assert made.is_plain[ring].all()
    assert not made.is_plain[made.apart].any()
    assert (~made.is_plain).sum() == 2 * 5 + 4 * 5 + 1
    holders = [made.people[row] for row in made.signals]
    assert 0 < len(set(holders)) < FACES // 200
    again = society(FACES, 128, 3)
    assert np.array_equal(again.templates, made.templates)
    assert again.signals == made.signals


def test_pairs_are_counted_within_groups() -> None:
    """Precision is of pairs told, recall of pairs there are; nothing told is nothing wrong."""
    people = np.array([0, 0, 0, 3, 3, 5])
    assert pairs_within([3, 2, 1]) == 4
    found = Clusters.of([[0, 1, 3], [4, 5]], people)
    assert found == Clusters(2, 3, 1 / 4, 1 / 4)
    assert Clusters.of([], people) == Clusters(0, 0, 1.0, 0.0)
    assert Clusters.of([[0, 1, 2], [3, 4]], people) == Clusters(2, 3, 1.0, 1.0)


def test_components_chain() -> None:
    """Whoever is tied in any number of steps is in one."""
    found = components([(0, 1), (2, 3), (1, 2), (7, 8), (3, 0)])
    assert sorted(map(sorted, found)) == [[0, 1, 2, 3], [7, 8]]
    assert components([]) == []


def test_rings_stay_where_components_chain() -> None:
    """At every threshold no ring is larger than the largest true one by more than one, and hardly a
    pair is wrong; connected components of the same pairs hold half of everybody.
    """
    found = measure_rings(BlasKernel(), FACES, 128, 1, silent)
    assert len(found.bars) == 5
    assert found.largest == RING_MAX
    assert max(at.limen.largest for at in found.bars) <= RING_MAX + 1
    assert min(at.limen.precision for at in found.bars) > 0.9
    assert max(at.limen.recall for at in found.bars) > 0.8
    assert max(at.components.largest for at in found.bars) > FACES / 2
    assert [at.threshold for at in found.bars] == sorted(at.threshold for at in found.bars)
    (goal,) = goals([], rings=found)
    assert goal.is_met


def test_one_ring_too_large_misses_the_goal() -> None:
    """The worst threshold decides."""
    fine, large = (Clusters(1, size, 1.0, 1.0) for size in (26, 27))
    bars = [AtBar(0.9, 1.0, 0.95, 0.9, found, fine, 0) for found in (fine, large)]
    assert [
        goals([], rings=RingsFound(FACES, 128, 25, 1, some))[0].is_met for some in (bars[:1], bars)
    ] == [True, False]
    assert goals([], rings=RingsFound(FACES, 128, 25, 1, [])) == []


def test_the_command_prints_one_document(tmp_path: Path) -> None:
    """With `--json` every figure with what it depends on, and with `--plot` a picture."""
    plot = tmp_path / "sweep.png"
    ran = limen(
        "bench", "sweep", "--size", "200x32", "--rounds", "1", "--live", "0", "--rings",
        "--ring-faces", "400", "--plot", plot, "--json",
    )  # fmt: skip
    assert ran.exit_code == 0
    report = ran.document
    assert set(report["machine"]) == {"processor", "cores", "system", "python", "commit"}
    assert (report["live"], report["threshold"]) == (None, 0.96)
    sweep, *others = report["sweeps"]
    assert (sweep["faces"], sweep["pairs"], sweep["kernel"]) == (200, 19_900, "numpy float32")
    assert [each["found"] for each in others] == [sweep["found"]] * len(others)
    assert sweep["planted"]["above"] == {"planted": 5, "found": 5}
    assert sweep["planted"]["below"] == {"planted": 5, "found": 0}
    assert {each["name"] for each in sweep["tiles_by_turns"]} == {"limen", "bare GEMM"}
    assert report["gpu"] == "no GPU at hand" or report["gpu"]["projected"]["faces"] == 10**7
    assert report["rings"]["faces"] == 400
    assert {goal["goal"] for goal in report["goals"]} >= {"the largest ring, at any threshold"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--json` the same for a person, without rings if none are wanted."""
    monkeypatch.setattr("serve.bench.sweeps.live.TURN", 5)
    ran = limen("bench", "sweep", "--size", "200x32", "--rounds", "1", "--live", "300")
    assert ran.exit_code == 0
    assert "200 x 32 by" in ran.output
    assert "single probes among 300" in ran.output
    assert "components" not in ran.output


@pytest.mark.parametrize("size", ["1000", "ax128", "9x128", "1000x16", "99999999x128"])
def test_a_size_that_cannot_be_is_refused(size: str) -> None:
    """A usage error before anything is measured."""
    assert limen("bench", "sweep", "--size", size, "--live", "0").exit_code == 2
