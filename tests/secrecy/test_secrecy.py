"""A running service, searched for everything that it was told in confidence."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from serve.inference.cluster.kin import kin
from serve.inference.place import recorded, token_file
from serve.store.vault.keyring import open_keyring
from tests.faults.stage import take_photos
from tests.secrecy.adversary import content_of, live_files, open_all
from tests.secrecy.canaries import Search, below
from tests.secrecy.stage import Served, Shop, canaries_of, keys_of, limen, served


@pytest.mark.models
@pytest.mark.parametrize("engine", ["local", "ray"])
async def test_nothing_told_in_confidence_is_in_the_clear(
    model_cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    """Ids, photos, chips, templates, tokens and keys: in no file of the service's, nor in its
    backup, its words, its processes' arguments and environments, or Ray's folders and memory.
    """
    data_dir, photos = tmp_path / "var", take_photos(model_cache)
    keys_dir = data_dir / "keys"
    shop = Shop.made(data_dir)
    customer_id = shop.word("customer")
    async with served(data_dir, engine) as service, shop.visiting(service.url) as visit:
        await visit.enrol(customer_id, photos.enrolled)
        outcomes = {(await visit.verify(customer_id, each))[1] for each in photos.same}
        await visit.verify(customer_id, photos.strangers[0])
        outcomes.add(await visit.again(customer_id, photos.same[0]))
        told = limen("backup", str(tmp_path / "backup.tar"), data_dir=data_dir)
        assert told["customers"] == 1
        limen("keys", "rotate", "--master", "--epoch", data_dir=data_dir)
        outcomes.add((await visit.verify(customer_id, photos.same[0]))[1])  # under the new keys
        canaries = {**shop.canaries, **canaries_of(photos.enrolled), **keys_of(keys_dir)}
        search = Search(canaries)
        looked_at = list(_places(service, keys_dir))
        found = search.files(looked_at)
        if engine == "ray":  # its memory and its folder were among them
            shown = [str(path.readlink()) for path in looked_at if path.is_symlink()]
            assert any("shm" in each for each in shown)
            assert any("session_" in str(path) for path in looked_at)
        for place, content in service.told():
            found += search.within(place, content)
    found += search.files([*below(tmp_path, keys_dir)])
    (plain,) = await content_of(tmp_path / "backup.tar", tmp_path / "look")  # not compressed
    found += search.within("backup, loaded", plain)
    with capsys.disabled():
        print(
            f"\nsecrecy, {engine}: {len(canaries)} canaries, {search.looked_at} places,"
            f" {search.bytes / 2**20:.1f} MiB, {len(found)} found"
        )
    assert found == []
    assert "approved" in outcomes
    live = live_files(data_dir)
    for kept in (b":idem:", b":audit:", b"session.judged", b"operator"):  # were searched as well
        assert any(kept in content for content in live), kept
    opened = open_all(live, open_keyring(keys_dir, 0, create=False))
    sealed = [name for name in canaries if name.startswith(("template@", "chip@", "customer"))]
    assert len(sealed) >= 11
    assert [name for name in sealed if not opened.holds(canaries[name])] == []


def _places(service: Served, keys_dir: Path) -> Iterator[Path]:
    """Every file of the service while it runs, its logs and what its processes share."""
    yield service.log
    yield from below(service.data_dir, keys_dir)
    if (folder := recorded(service.data_dir)) is not None:
        yield from below(folder)
    processes = {process.pid for process in service.processes()}
    processes |= {process.pid for process in kin(token_file(service.data_dir))}
    for pid in processes:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if any(kind in str(link.readlink()) for kind in ("shm", "memfd", "deleted")):
                        yield link
