"""`limen sweep`, with real models over a real store: its files, its end, and a real ring."""

import csv
import json
import stat
from pathlib import Path

import pytest
from redis.asyncio import Redis

from pipeline.evidence import Pixels
from serve.cli.sweeps.files import FILES
from serve.demo.tiles import make_selfie
from serve.errors import Code
from serve.settings import State
from tests.serve.cli.command_line import Ran, limen

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("model_cache")]

# The man of the first row is also at the start of the second, some of them behind sunglasses.
HIS = {f"tile 0-{column:02d}" for column in range(18)} | {
    f"tile 1-{column:02d}" for column in range(4)
}
RING_MIN = 12
KEPT_MIN = 70  # the others are refused: a tile is 106 px wide, and some are dark or show a profile


@pytest.fixture
def data_dir(redis_state: State, link: Redis) -> Path:
    """A running store with one tenant, who keeps pictures of faces."""
    data_dir = redis_state.data_dir
    limen("tenant", "create", "Acme <b>", "--keep-reference-images", data_dir=data_dir)
    return data_dir


@pytest.fixture
def people(tmp_path: Path, tiles: list[list[Pixels]]) -> Path:
    """The 108 tiles, each as the photo of a customer of its own."""
    folder = tmp_path / "people"
    folder.mkdir()
    for row, line in enumerate(tiles):
        for column, tile in enumerate(line):
            (folder / f"tile {row}-{column:02d}.jpg").write_bytes(make_selfie(tile))
    return folder


def swept(data_dir: Path, out: Path, *options: str) -> Ran:
    return limen("sweep", "--tenant", "Acme <b>", "--out", out, *options, data_dir=data_dir)


def test_the_man_of_the_first_row_is_one_ring_and_nobody_is_with_him(
    data_dir: Path, people: Path, tmp_path: Path
) -> None:
    """The 108 tiles, enrolled under 108 customers: his are found, joined, told and drawn; the same
    sweep is written down again, and a second one goes on from it.
    """
    enrolled = limen("enroll", people, "--tenant", "Acme <b>", "--json", data_dir=data_dir).document
    kept = enrolled["enrolled"] + enrolled["held"]
    assert kept >= KEPT_MIN
    out = tmp_path / "out"
    ran = swept(data_dir, out, "--chips", "--json")
    assert ran.exit_code == 0
    summary = ran.document
    sweep = summary["sweep"]
    assert (sweep["status"], sweep["faces"]) == ("done", kept)
    assert sweep["compared"] == sweep["faces"] * (sweep["faces"] - 1) // 2
    rings = json.loads((out / "rings.json").read_text())["data"]
    (his,) = [ring for ring in rings if "tile 0-00" in ring["members"]]
    assert len(his["members"]) >= RING_MIN
    assert set(his["members"]) <= HIS
    assert not [ring for ring in rings if ring is not his and HIS & set(ring["members"])]
    pairs = [json.loads(line) for line in (out / "pairs.ndjson").read_text().splitlines()]
    assert len(pairs) == sweep["found"] > 0
    with (out / "pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["face_a"] for row in rows] == [pair["face_a"] for pair in pairs]
    page = (out / "report.html").read_text()
    assert "Acme &lt;b&gt;" in page
    assert page.count("data:image/jpeg;base64,") >= len(his["members"])
    assert {path.name for path in out.iterdir()} == set(FILES)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    again = swept(data_dir, out, "--resume", sweep["id"], "--json")
    assert again.document["sweep"]["id"] == sweep["id"]
    assert "data:image" not in (out / "report.html").read_text()
    later = swept(data_dir, tmp_path / "later", "--since", sweep["id"], "--json").document
    assert (later["sweep"]["compared"], later["largest_ring"]) == (0, len(his["members"]))


def test_what_cannot_be_swept_is_refused(data_dir: Path, tmp_path: Path) -> None:
    """A folder of somebody else's, a bad threshold, two kinds of it, no such sweep or tenant."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("kept")
    for out, options, code in (
        ("mine", (), Code.FILE_UNWRITABLE),
        ("out", ("--threshold", "0.1"), Code.THRESHOLD_TOO_LOW),
        ("out", ("--threshold", "0.5", "--target-fpir", "0.01"), Code.FIELD_INVALID),
        ("out", ("--since", "yesterday"), Code.FIELD_INVALID),
        ("out", ("--resume", "swp_00" + "A" * 22), Code.NOT_FOUND),
        ("out", ("--resume", "swp_00" + "A" * 22, "--since", "x"), Code.FIELD_INVALID),
    ):
        refusal = swept(data_dir, tmp_path / out, *options).refusal
        assert refusal is not None
        assert refusal.args[0] is code
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    assert not (tmp_path / "out").exists()


def test_nobody_is_swept_too(data_dir: Path, tmp_path: Path) -> None:
    """A gallery without faces ends done, with nothing in its files, and says so."""
    ran = swept(data_dir, tmp_path / "out", "--threshold", "0.5")
    assert ran.exit_code == 0
    assert "done" in ran.output
    assert (tmp_path / "out" / "pairs.ndjson").read_text() == ""
    assert "No two customers are so alike." in (tmp_path / "out" / "report.html").read_text()
