"""The benchmark over a real log, in its shortest form, and the command as a whole."""

from pathlib import Path

import pytest

from serve.bench.search.living import measure_living
from serve.settings import Settings
from tests.serve.cli.command_line import limen

ENTRIES, FACES = 40, 5


async def test_a_log_is_replayed_and_followed() -> None:
    """Everybody enrolled is in the replayed index, and each one who comes is found."""
    steps: list[str] = []
    found = await measure_living(Settings(), ENTRIES, FACES, 1, steps.append)
    assert found.entries == ENTRIES
    assert found.replay_s > 0
    assert found.replay_s_per_million == pytest.approx(found.replay_s * 10**6 / ENTRIES)
    for latency in (found.visible, found.beside, found.committed):
        assert latency.searches == FACES
        assert 0 < latency.p50_ms <= latency.p99_ms
    assert len(steps) == 3


def test_the_command_prints_one_document(tmp_path: Path) -> None:
    """With `--json` every figure with what it depends on, and with `--plot` a picture."""
    plot = tmp_path / "index.png"
    ran = limen(
        "bench", "index", "--size", "100x32", "--mates", "8", "--rounds", "1", "--entries", "20",
        "--plot", plot, "--json",
    )  # fmt: skip
    assert ran.exit_code == 0
    report = ran.document
    assert set(report["machine"]) == {"processor", "cores", "system", "python", "commit"}
    assert set(report["versions"]) == {"faiss", "numpy", "usearch"}
    assert (report["threads"], report["limit"], report["photos"]) == (1, 10, None)
    (gallery,) = report["galleries"]
    assert (gallery["faces"], gallery["wrong_answers"]) == (100, 0)
    assert gallery["contenders"][0]["name"] == "limen"
    assert gallery["contenders"][0]["missed_mates"] == 0
    assert set(gallery["probes_per_s_over_raw_faiss"]) == {"1", "16", "64"}
    assert report["log"]["entries"] == 20
    assert {goal["goal"] for goal in report["goals"]} >= {"p99 in ms until a face is found"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_tables() -> None:
    """Without `--json` the same for a person, and without a log if none is wanted."""
    ran = limen(
        "bench", "index", "--size", "100x32", "--mates", "8", "--rounds", "1", "--entries", "0"
    )
    assert ran.exit_code == 0
    assert "100 x 32: 0 wrong of 8" in ran.output
    assert "IndexFlatIP" in ran.output
    assert "replayed" not in ran.output


@pytest.mark.parametrize("size", ["1000", "ax128", "9x128", "1000x16", "1000x9999", "99999999x128"])
def test_a_size_that_cannot_be_is_refused(size: str) -> None:
    """A usage error before anything is measured."""
    assert limen("bench", "index", "--size", size, "--entries", "0").exit_code == 2


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    """How alike people are cannot be told from nothing."""
    ran = limen("bench", "index", "--size", "100x32", "--faces", tmp_path / "nobody")
    assert ran.exit_code != 0
