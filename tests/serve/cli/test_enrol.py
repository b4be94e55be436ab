"""Enrolment of many: with real models over a real store, and its bookkeeping alone."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_png
from pipeline.models.cache import ModelCache
from serve.app import open_deps
from serve.cli.enrol import FAILURES_LISTED_MAX, Outcome, Tally, enrol_all
from serve.cli.photos import NotEnrolled, Photo
from serve.demo.tiles import ENROLLED, make_blank, make_selfie
from serve.domain.ids import Mode
from serve.errors import Code, ServeError
from serve.settings import Settings, State
from tests.serve.cli.command_line import Ran, limen

PATIENCE_S = 30.0  # of a test that would otherwise hang for ever


def photos(count: int) -> Iterator[Photo | NotEnrolled]:
    """So many photos, every tenth of which cannot be read."""
    for number in range(count):
        if number % 10 == 9:
            yield NotEnrolled(f"line {number}", Code.BODY_INVALID, "not JSON")
        else:
            yield Photo(f"line {number}", f"customer-{number}", lambda: b"")


async def test_every_photo_is_counted_once() -> None:
    """Workers share the photos; failures come in the order of the photos."""
    advanced = 0
    together = asyncio.Barrier(4)

    async def one(photo: Photo) -> Outcome | NotEnrolled:
        number = int(photo.place.split()[1])
        if number < 4:
            await together.wait()  # until four workers are at work
        if number % 10 == 3:
            return NotEnrolled(photo.place, Code.CAPTURE_UNFIT, "", ("too_dark",))
        return Outcome.REPEATED if number % 2 else Outcome.ENROLLED

    def advance() -> None:
        nonlocal advanced
        advanced += 1

    async with asyncio.timeout(PATIENCE_S):
        tally = await enrol_all(one, photos(100), 4, advance)
    assert tally.counts == {Outcome.ENROLLED: 50, Outcome.REPEATED: 30, Outcome.FAILED: 20}
    assert [failure.place for failure in tally.listed] == [
        f"line {tens + ones}" for tens in range(0, 100, 10) for ones in (3, 9)
    ]
    assert advanced == 100


async def test_what_ends_all_is_raised() -> None:
    """A store that is gone ends the enrolment with its own error, and no worker stays behind."""

    async def one(photo: Photo) -> Outcome | NotEnrolled:
        await asyncio.sleep(0)
        raise ServeError(Code.STATE_UNAVAILABLE, "gone")

    with pytest.raises(ServeError) as refused:
        await enrol_all(one, photos(9), 4, lambda: None)
    assert refused.value.code is Code.STATE_UNAVAILABLE


def test_the_list_of_failures_is_bounded() -> None:
    """However many fail, all are counted and a bounded number is listed."""
    tally = Tally()
    for number in range(FAILURES_LISTED_MAX + 5):
        tally.count(number, NotEnrolled(f"line {number}", Code.NO_FACE, ""))
    assert tally.counts[Outcome.FAILED] == FAILURES_LISTED_MAX + 5
    assert len(tally.listed) == FAILURES_LISTED_MAX


@pytest.fixture
def data_dir(
    redis_state: State,
    link: Redis,
    model_cache: ModelCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A running, empty store with one tenant, and the default pack alone."""
    (tmp_path / "models" / "packs").mkdir(parents=True)
    (tmp_path / "models" / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    monkeypatch.setenv("LIMEN_MODELS_CACHE_DIR", str(tmp_path / "models"))
    limen("tenant", "create", "Acme", data_dir=redis_state.data_dir)
    return redis_state.data_dir


def enroll(path: Path, data_dir: Path, *options: str) -> Ran:
    return limen("enroll", path, "--tenant", "Acme", *options, data_dir=data_dir)


def references(data_dir: Path, mode: Mode, customer_id: str) -> list[str | None]:
    """The consents of a customer's reference faces."""

    async def ask() -> list[str | None]:
        settings = Settings(state=State(data_dir=data_dir))
        async with open_deps(settings, with_models=False) as deps:
            (tenant,) = await deps.directory.tenants()
            subject = deps.ledger.subject(tenant.id, mode, customer_id)
            customer = (await deps.ledger.snapshot(subject)).customer
            return [row.consent_id for row in customer.references] if customer else []

    return asyncio.run(ask())


@pytest.mark.models
def test_a_folder_is_enrolled_and_again_changes_nothing(
    data_dir: Path, tmp_path: Path, tiles: list[list[Pixels]], astronaut: Pixels
) -> None:
    """Faces are kept, what shows none is listed with its hint, and a second run repeats."""
    folder = tmp_path / "people"
    (folder / "bob").mkdir(parents=True)
    (first_row, first), (second_row, second) = ENROLLED
    for name, data in {
        "alice.png": encode_png(astronaut),
        "bob/1.jpg": make_selfie(tiles[first_row][first]),
        "bob/2.jpg": make_selfie(tiles[second_row][second]),
        "carol.jpg": make_blank(),
    }.items():
        (folder / name).write_bytes(data)
    (folder / "dave.txt").write_text("no photo")
    ran = enroll(folder, data_dir, "--json")
    assert ran.exit_code == 1
    assert ran.document["enrolled"] == 3
    carol, dave = ran.document["failures"]
    assert (carol["place"], carol["code"]) == ("carol.jpg", "capture_unfit")
    assert carol["feedback"] == ["face_not_found"]
    assert (dave["place"], dave["code"]) == ("dave.txt", "not_an_image")
    assert len(references(data_dir, Mode.LIVE, "bob")) == 2
    assert references(data_dir, Mode.TEST, "bob") == []
    for name in ("carol.jpg", "dave.txt"):
        (folder / name).unlink()
    again = enroll(folder, data_dir)
    assert again.exit_code == 0
    assert "0 enrolled, 3 repeated, 0 failed" in again.output
    assert len(references(data_dir, Mode.LIVE, "bob")) == 2


@pytest.mark.models
def test_lines_are_enrolled_in_the_world_asked_for(
    data_dir: Path, tmp_path: Path, astronaut: Pixels
) -> None:
    """NDJSON enrols with its consent, and a bad line fails alone."""
    photo = base64.b64encode(encode_png(astronaut)).decode()
    lines = [{"customer_id": "alice", "image": photo, "consent_id": "c-1"}, {"customer_id": "x"}]
    path = tmp_path / "people.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)))
    ran = enroll(path, data_dir, "--mode", "test")
    assert ran.exit_code == 1
    assert "1 enrolled, 0 repeated, 1 failed" in ran.output
    assert "line 2" in ran.output
    assert references(data_dir, Mode.TEST, "alice") == ["c-1"]


def test_nothing_to_enrol_is_refused(tmp_path: Path) -> None:
    """An empty folder is a mistake, told before models are loaded."""
    ran = limen("enroll", tmp_path, "--tenant", "Acme", data_dir=tmp_path / "var")
    assert ran.refusal is not None
    assert ran.refusal.args[0] is Code.FILE_UNREADABLE
    assert not (tmp_path / "var").exists()


@pytest.mark.models
def test_an_unknown_tenant_is_refused(data_dir: Path, tmp_path: Path) -> None:
    """A tenant that does not exist gets no customers."""
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "a.jpg").write_bytes(b"x")
    ran = limen("enroll", tmp_path / "people", "--tenant", "Emca", data_dir=data_dir)
    assert ran.refusal is not None
    assert ran.refusal.args[0] is Code.NOT_FOUND
