"""The keyring: made once, wrapping under the newest epoch, destroying the oldest."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.errors import Code, ServeError
from serve.store.vault.keyring import SECRETS, Keyring, open_keyring
from serve.store.vault.sealing import new_key
from serve.store.vault.series import DAY_MS, HOUR_MS
from tests.helpers.tree import run

SUBJECT = "0" * 32
DATA_KEY = bytes(range(32))
OPEN = """
import sys
from pathlib import Path
from serve.store.vault.keyring import open_keyring
print(open_keyring(Path(sys.argv[1]), 0, create=True).fingerprint())
"""


def again(folder: Path) -> Keyring:
    return open_keyring(folder, 0, create=False)


def test_a_wrapped_key_opens_for_its_customer_alone(keyring: Keyring) -> None:
    """The epoch's number stands in front, and another customer's label does not open it."""
    wrapped = keyring.wrap(DATA_KEY, SUBJECT)
    assert wrapped.startswith(b"\x00\x00\x00\x01")
    assert keyring.epoch_of(wrapped) == keyring.current_epoch == 1
    assert keyring.unwrap(wrapped, SUBJECT) == DATA_KEY
    with pytest.raises(ServeError, match="keys_mismatch"):
        keyring.unwrap(wrapped, "1" * 32)


def test_the_folder_is_private(tmp_path: Path, keyring: Keyring) -> None:
    """Nobody but its owner lists the folder or reads a key."""
    folder = tmp_path / "keys"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {modes.pop(folder), modes.pop(folder / "epochs")} == {0o700}
    assert set(modes.values()) == {0o600}
    assert not [path for path in modes if path.name.startswith(".")]


def test_the_secrets_are_read_again(tmp_path: Path, keyring: Keyring) -> None:
    """A second start finds the same secrets, and only those have that fingerprint."""
    same = again(tmp_path / "keys")
    other = open_keyring(tmp_path / "other", 0, create=True)
    assert (same.salt, same.pepper, same.master) == (keyring.salt, keyring.pepper, keyring.master)
    assert len({same.salt, same.pepper, same.master, other.salt, other.pepper, other.master}) == 6
    assert same.fingerprint() == keyring.fingerprint() != other.fingerprint()
    assert same.unwrap(keyring.wrap(DATA_KEY, SUBJECT), SUBJECT) == DATA_KEY


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    """Whichever makes the keys first, all use the same ones."""
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: run("-c", OPEN, str(tmp_path / "keys")), range(4)))
    assert [done.stderr for done in ended] == [""] * 4
    assert len({done.stdout for done in ended}) == 1


@pytest.mark.parametrize("name", [*SECRETS, "epochs.json", "epochs/00000001"])
@pytest.mark.parametrize("damage", [None, b"short"])
def test_a_missing_or_damaged_file_is_refused(
    tmp_path: Path, keyring: Keyring, name: str, damage: bytes | None
) -> None:
    """Keys are never replaced by new ones behind the records' back."""
    path = tmp_path / "keys" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(ServeError) as caught:
        again(tmp_path / "keys")
    assert caught.value.code is Code.KEYS_MISMATCH


def test_an_epoch_lasts_a_day(keyring: Keyring) -> None:
    """A younger epoch stays; an older one is replaced, and still unwraps."""
    old = keyring.wrap(DATA_KEY, SUBJECT)
    assert keyring.rotate(DAY_MS - 1) == 1
    assert keyring.rotate(DAY_MS) == keyring.current_epoch == 2
    assert keyring.rotate(DAY_MS + 1) == 2
    assert keyring.epoch_of(keyring.wrap(DATA_KEY, SUBJECT)) == 2
    assert keyring.unwrap(old, SUBJECT) == DATA_KEY


def test_other_processes_follow_a_rotation(tmp_path: Path, keyring: Keyring) -> None:
    """They read what the new epoch wrapped, and wrap under it themselves."""
    other = again(tmp_path / "keys")
    keyring.rotate(DAY_MS)
    assert other.unwrap(keyring.wrap(DATA_KEY, SUBJECT), SUBJECT) == DATA_KEY
    keyring.rotate(2 * DAY_MS)
    assert other.epoch_of(other.wrap(DATA_KEY, SUBJECT)) == 3


def test_a_replaced_key_is_destroyed_after_the_retention(tmp_path: Path, keyring: Keyring) -> None:
    """Not a moment before; then what it wrapped opens nowhere, and its file is gone."""
    old = keyring.wrap(DATA_KEY, SUBJECT)
    other = again(tmp_path / "keys")
    keyring.rotate(DAY_MS)
    assert keyring.destroy_replaced(8 * DAY_MS - 1, 7) == []
    assert not keyring.is_destroyed(1)
    assert keyring.destroy_replaced(8 * DAY_MS, 7) == [1]
    assert keyring.destroy_replaced(8 * DAY_MS, 7) == []
    for reader in (keyring, again(tmp_path / "keys")):
        with pytest.raises(ServeError, match="keys_mismatch"):
            reader.unwrap(old, SUBJECT)
    assert keyring.is_destroyed(1)
    assert other.is_destroyed(1)
    assert [path.name for path in (tmp_path / "keys" / "epochs").iterdir()] == ["00000002"]


def test_the_current_key_is_never_destroyed(keyring: Keyring) -> None:
    """However long nobody rotated."""
    assert keyring.destroy_replaced(1000 * DAY_MS, 1) == []
    assert keyring.current_epoch == 1
    assert not keyring.is_destroyed(1)
    assert not keyring.is_destroyed(2)


def test_the_day_of_destruction_is_promised(keyring: Keyring) -> None:
    """For the current epoch counted from when it is due to be replaced at the latest."""
    assert keyring.destroyed_by_ms(1, 7) == 8 * DAY_MS + 2 * HOUR_MS
    keyring.rotate(DAY_MS + 5)
    assert keyring.destroyed_by_ms(1, 7) == 8 * DAY_MS + 5 + HOUR_MS
    keyring.destroy_replaced(9 * DAY_MS, 7)
    assert keyring.destroyed_by_ms(1, 7) == 0
    with pytest.raises(ServeError, match="keys_mismatch"):
        keyring.destroyed_by_ms(99, 7)


def test_a_crash_within_a_rotation_is_survived(tmp_path: Path, keyring: Keyring) -> None:
    """A key that no list names was never used: the next rotation makes it anew."""
    (tmp_path / "keys" / "epochs" / "00000002").write_bytes(new_key())
    assert again(tmp_path / "keys").current_epoch == 1
    assert keyring.rotate(DAY_MS) == 2
    assert keyring.unwrap(keyring.wrap(DATA_KEY, SUBJECT), SUBJECT) == DATA_KEY


def test_a_crash_within_a_destruction_is_survived(tmp_path: Path, keyring: Keyring) -> None:
    """A replaced epoch whose file is gone is a destroyed one, and is forgotten next time."""
    keyring.rotate(DAY_MS)
    (tmp_path / "keys" / "epochs" / "00000001").unlink()
    reader = again(tmp_path / "keys")
    assert reader.is_destroyed(1)
    assert reader.destroy_replaced(8 * DAY_MS, 7) == [1]


@pytest.mark.parametrize("wrapped", [b"", b"\x00\x00\x00\x01", b"\x00\x00\x00\x09" + bytes(61)])
def test_what_was_never_wrapped_is_refused(keyring: Keyring, wrapped: bytes) -> None:
    """Short bytes and unknown epochs are errors with a code."""
    with pytest.raises(ServeError) as caught:
        keyring.unwrap(wrapped, SUBJECT)
    assert caught.value.code is Code.KEYS_MISMATCH


def test_no_secret_shows(keyring: Keyring) -> None:
    """Neither the keyring nor its state prints a key."""
    epochs = vars(vars(keyring)["_epochs"])["_state"]
    shown = f"{keyring!r} {vars(keyring)['_epochs']!r} {epochs!r}"
    assert keyring.salt.hex() not in shown
    assert repr(epochs.keys[1])[2:-1] not in shown
