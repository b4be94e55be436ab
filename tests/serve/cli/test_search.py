"""`limen search`, with real models over a real store."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_png
from serve.demo.tiles import ENROLLED, SAME_MAN, STRANGER, make_blank, make_selfie
from serve.errors import Code
from serve.settings import State
from tests.serve.cli.command_line import Ran, limen

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("model_cache")]


@pytest.fixture
def people(tmp_path: Path, tiles: list[list[Pixels]], astronaut: Pixels) -> Path:
    """Photos to enrol: an astronaut and a man."""
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "astronaut.png").write_bytes(encode_png(astronaut))
    row, column = ENROLLED[0]
    (folder / "bob.jpg").write_bytes(make_selfie(tiles[row][column]))
    return folder


@pytest.fixture
def data_dir(redis_state: State, link: Redis, people: Path) -> Path:
    """A running store with one tenant, whose live customers they are."""
    data_dir = redis_state.data_dir
    limen("tenant", "create", "Acme", data_dir=data_dir)
    ran = limen("enroll", people, "--tenant", "Acme", "--json", data_dir=data_dir)
    assert ran.document["enrolled"] == 2
    return data_dir


@pytest.fixture
def photos(tmp_path: Path, tiles: list[list[Pixels]]) -> Path:
    """Another photo of the man, one of a stranger, and one of a wall."""
    for name, (row, column) in {"bob": SAME_MAN, "stranger": STRANGER[0]}.items():
        (tmp_path / f"{name}.jpg").write_bytes(make_selfie(tiles[row][column]))
    (tmp_path / "wall.jpg").write_bytes(make_blank())
    return tmp_path


def searched(photo: Path, data_dir: Path, *options: str) -> Ran:
    return limen("search", photo, "--tenant", "Acme", *options, data_dir=data_dir)


def test_who_is_enrolled_is_found_and_who_is_not_is_not(data_dir: Path, photos: Path) -> None:
    """One man by another photo, exit code 0; a stranger by none, exit code 1; each world alone;
    and every search is in the trail.
    """
    ran = searched(photos / "bob.jpg", data_dir, "--json")
    assert ran.exit_code == 0
    document = ran.document
    assert (document["count"], document["gallery_size"], document["is_complete"]) == (1, 2, True)
    (match,) = document["matches"]
    assert match["isMatch"] is True
    assert match["similarity"] > 0.5
    assert match["verificationId"].startswith("ver_")
    text = searched(photos / "bob.jpg", data_dir)
    assert match["verificationId"] in text.output
    assert "among 2 faces" in text.output
    stranger = searched(photos / "stranger.jpg", data_dir)
    assert stranger.exit_code == 1
    assert "nobody found" in stranger.output
    elsewhere = searched(photos / "bob.jpg", data_dir, "--mode", "test", "--json")
    assert (elsewhere.exit_code, elsewhere.document["gallery_size"]) == (1, 0)
    trail = limen("audit", "--tenant", "Acme", "--json", data_dir=data_dir).document["entries"]
    told = [entry for entry in trail if entry["action"] == "face.searched"]
    assert len(told) == 4
    assert {entry["actor"]["kind"] for entry in told} == {"operator"}


def test_what_cannot_be_searched_is_refused(data_dir: Path, photos: Path) -> None:
    """A wall, a threshold below the floor, a tenant and a file that are not there; and bounds."""
    for photo, options, code in (
        ("wall.jpg", (), Code.CAPTURE_UNFIT),
        ("bob.jpg", ("--threshold", "0.1"), Code.THRESHOLD_TOO_LOW),
        ("gone.jpg", (), Code.FILE_UNREADABLE),
    ):
        refusal = searched(photos / photo, data_dir, *options).refusal
        assert refusal is not None
        assert refusal.args[0] is code
    unknown = limen("search", photos / "bob.jpg", "--tenant", "Emca", data_dir=data_dir).refusal
    assert unknown is not None
    assert unknown.args[0] is Code.NOT_FOUND
    for options in (("--limit", "51"), ("--limit", "0"), ("--threshold", "2")):
        assert searched(photos / "bob.jpg", data_dir, *options).exit_code == 2
