"""Photos to enrol: from folders and from lines, and whatever else lies among them."""

import base64
import json
from pathlib import Path

import pytest

from serve.cli.photos import LINE_MARGIN_BYTES, NotEnrolled, Photo, photos_in
from serve.domain.sweeps.signals import SignalKind
from serve.errors import Code, ServeError

LIMIT = 1_000


def found_in(path: Path) -> list[Photo | NotEnrolled]:
    """Everything found, after checking that it is as much as was announced."""
    photos, total = photos_in(path, LIMIT)
    found = list(photos)
    assert len(found) == total
    return found


def write_lines(folder: Path, *lines: object) -> Path:
    path = folder / "people.ndjson"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def test_a_folder_names_customers_by_file_or_by_folder(tmp_path: Path) -> None:
    """A photo's stem is its customer, unless it lies in a customer's folder; hidden files rest."""
    (tmp_path / "bob").mkdir()
    for name in ("alice.jpg", "bob/2.png", "bob/1.jpg", ".DS_Store", "bob/.hidden", "no suffix"):
        (tmp_path / name).write_bytes(name.encode())
    photos = [photo for photo in found_in(tmp_path) if isinstance(photo, Photo)]
    assert [(photo.place, photo.customer_id, photo.read()) for photo in photos] == [
        ("alice.jpg", "alice", b"alice.jpg"),
        ("bob/1.jpg", "bob", b"bob/1.jpg"),
        ("bob/2.png", "bob", b"bob/2.png"),
        ("no suffix", "no suffix", b"no suffix"),
    ]


def test_a_name_no_customer_can_have_is_a_failure(tmp_path: Path) -> None:
    """A file whose name holds control characters keeps the others from nothing."""
    (tmp_path / "a\nb.jpg").write_bytes(b"1")
    (tmp_path / "c.jpg").write_bytes(b"2")
    failure, photo = found_in(tmp_path)
    assert isinstance(failure, NotEnrolled)
    assert failure.code == Code.FIELD_INVALID
    assert isinstance(photo, Photo)


def test_lines_hold_images_or_paths(tmp_path: Path) -> None:
    """An image is base64 or a data URL; a path starts at the folder of the file."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.jpg").write_bytes(b"bob")
    encoded = base64.b64encode(b"alice").decode()
    path = write_lines(
        tmp_path,
        {"customer_id": "alice", "image": encoded, "consent_id": "c-1"},
        {"customer_id": "alice", "image": f"data:image/jpeg;base64,{encoded}"},
        {"customer_id": "bob", "path": "photos/b.jpg"},
    )
    photos = [photo for photo in found_in(path) if isinstance(photo, Photo)]
    assert [(photo.place, photo.customer_id, photo.consent_id) for photo in photos] == [
        ("line 1", "alice", "c-1"), ("line 2", "alice", None), ("line 3", "bob", None),
    ]  # fmt: skip
    assert [photo.read() for photo in photos] == [b"alice", b"alice", b"bob"]


def test_a_line_may_hold_signals(tmp_path: Path) -> None:
    """Hashes of what the customer gave beside the face; none are none, and none is printed."""
    line = {"customer_id": "alice", "image": "YQ==", "signals": {"phone": "a" * 32, "email": None}}
    photos = found_in(write_lines(tmp_path, line, {"customer_id": "bob", "path": "b.jpg"}))
    assert [photo.signals for photo in photos if isinstance(photo, Photo)] == [
        {SignalKind.PHONE: "a" * 32}, {},
    ]  # fmt: skip
    assert "aaa" not in repr(photos)


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        (
            {"customer_id": "a", "path": "x", "signals": {"phone": "+4915112345678"}},
            Code.FIELD_INVALID,
            "signals",
        ),
        ("{", Code.BODY_INVALID, "JSON"),
        ("[]", Code.BODY_INVALID, "object"),
        ('{"customer_id": "a", "customer_id": "b", "path": "x"}', Code.BODY_INVALID, "once"),
        ({"path": "a.jpg"}, Code.FIELD_INVALID, "customer_id"),
        ({"customer_id": "", "path": "a.jpg"}, Code.FIELD_INVALID, "customer_id"),
        ({"customer_id": 7, "path": "a.jpg"}, Code.FIELD_INVALID, "customer_id"),
        ({"customer_id": "a"}, Code.FIELD_INVALID, "either image or path"),
        ({"customer_id": "a", "path": "a", "image": "YQ=="}, Code.FIELD_INVALID, "either"),
        ({"customer_id": "a", "photo": "a.jpg"}, Code.FIELD_INVALID, "photo"),
        ("x" * (LIMIT * 4 // 3 + LINE_MARGIN_BYTES + 1), Code.BODY_TOO_LARGE, "bytes"),
    ],
)
def test_a_bad_line_is_a_failure_of_its_own(
    line: object, code: Code, told: str, tmp_path: Path
) -> None:
    """It is told by its number, quotes nothing, and the lines around it are read."""
    good = {"customer_id": "alice", "image": "YQ=="}
    before, failure, after = found_in(write_lines(tmp_path, good, line, good))
    assert isinstance(failure, NotEnrolled)
    assert (failure.place, failure.code) == ("line 2", code)
    assert told in failure.detail
    assert isinstance(before, Photo)
    assert isinstance(after, Photo)
    assert after.place == "line 3"


def test_what_cannot_be_read_says_so_when_it_is_read(tmp_path: Path) -> None:
    """A missing file and an image that is no base64 are coded errors of their photo."""
    path = write_lines(
        tmp_path,
        {"customer_id": "a", "path": "missing.jpg"},
        {"customer_id": "a", "image": "not base64!"},
    )
    codes = []
    for photo in found_in(path):
        assert isinstance(photo, Photo)
        with pytest.raises(ServeError) as refused:
            photo.read()
        codes.append(refused.value.code)
    assert codes == [Code.FILE_UNREADABLE, Code.PROOF_INVALID]


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    """One byte more than the limit is enough for the gate to refuse it."""
    (tmp_path / "a.jpg").write_bytes(bytes(10 * LIMIT))
    (photo,) = found_in(tmp_path)
    assert isinstance(photo, Photo)
    assert len(photo.read()) == LIMIT + 1


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    """A file that ends in the middle of nothing has all its lines."""
    path = tmp_path / "people.ndjson"
    path.write_text('{"customer_id": "a", "image": "YQ=="}')
    assert len(found_in(path)) == 1


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    """Nothing there is one coded error, before anything is loaded."""
    with pytest.raises(ServeError) as refused:
        photos_in(tmp_path / "missing", LIMIT)
    assert refused.value.code is Code.FILE_UNREADABLE


def test_nothing_of_a_customer_is_in_a_repr(tmp_path: Path) -> None:
    """A photo tells where it was found, not whose it is."""
    path = write_lines(tmp_path, {"customer_id": "alice", "image": "YQ==", "consent_id": "c-1"})
    (photo,) = found_in(path)
    assert repr(photo) == "Photo(place='line 1')"
