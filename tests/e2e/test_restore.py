"""The drill: a backup is taken while the service runs, the records are lost, and come back."""

import shutil
from pathlib import Path

import pytest

from pipeline.models.cache import ModelCache
from serve.store.local.places import places
from tests.faults.stage import take_photos
from tests.secrecy.stage import Shop, limen, served


@pytest.mark.models
async def test_a_lost_store_is_restored_and_the_erased_stay_erased(
    model_cache: ModelCache, tmp_path: Path
) -> None:
    """Whoever was there is there with their sessions and can be verified; whoever was erased
    after the backup is not.
    """
    data_dir, backup, photos = tmp_path / "var", tmp_path / "backup.tar", take_photos(model_cache)
    shop = Shop.made(data_dir)
    kept, gone, later = (f"{name}-customer" for name in ("kept", "gone", "later"))
    async with served(data_dir) as service, shop.visiting(service.url) as visit:
        await visit.enrol(kept, photos.enrolled)
        await visit.enrol(gone, photos.enrolled)
        session_id, outcome = await visit.verify(kept, photos.same[0])
        lost_id, _ = await visit.verify(gone, photos.same[0])
        assert outcome == "approved"
        told = limen("backup", str(backup), data_dir=data_dir)
        assert (told["tenants"], told["customers"], told["sessions"]) == (1, 2, 2)
        await visit.erase(gone)
        await visit.enrol(later, photos.enrolled)  # the service runs on
    shutil.rmtree(places(data_dir).folder)
    assert limen("restore", str(backup), "--check", data_dir=data_dir)["keys"] == "these"
    done = limen("restore", str(backup), data_dir=data_dir)
    assert (done["customers"], done["erased_again"]) == (1, 1)
    async with served(data_dir) as service, shop.visiting(service.url) as visit:
        names = (kept, gone, later)
        assert [await visit.status(name) for name in names] == ["approved", "pending", "pending"]
        path = "/api/v1/kyc/face/sessions/"
        found = [await visit.backend.call("GET", path + each) for each in (session_id, lost_id)]
        assert [answer.status for answer in found] == [200, 404]
        assert found[0].at("status") == "approved"
        assert (await visit.verify(kept, photos.same[0]))[1] == "approved"
        await visit.enrol(gone, photos.enrolled)  # as a customer who never was
        assert "erased again" not in service.log.read_text()


@pytest.mark.models
async def test_a_start_erases_whoever_a_snapshot_brought_back(
    model_cache: ModelCache, tmp_path: Path
) -> None:
    """Where the files were put back by other means than ours, the start sees to it, and says so."""
    data_dir, photos = tmp_path / "var", take_photos(model_cache)
    shop = Shop.made(data_dir)
    async with served(data_dir) as service, shop.visiting(service.url) as visit:
        await visit.enrol("kept-customer", photos.enrolled)
        await visit.enrol("gone-customer", photos.enrolled)
        log = places(data_dir).log.read_bytes()
        await visit.erase("gone-customer")
    places(data_dir).log.write_bytes(log)
    async with served(data_dir) as service, shop.visiting(service.url) as visit:
        assert "erased again" in service.log.read_text()
        assert await visit.status("kept-customer") == "approved"
        assert await visit.status("gone-customer") == "pending"
