"""Every command, run as a user runs it: real weights, real photos, exit codes and JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evidence import Pixels
from pipeline.image.decode import encode_png
from pipeline.models.cache import ModelCache

pytestmark = pytest.mark.models

RUN_S_MAX = 120


Run = Callable[..., tuple[int, str, str]]


def environment_of(cache: Path) -> dict[str, str]:
    """Nothing of the user's but this cache: no settings, no packs pulled elsewhere."""
    return {"PATH": "/usr/bin:/bin", "LIMEN_MODELS_CACHE_DIR": str(cache)}


def run_limen(*arguments: str | Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `limen` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def limen(model_cache: ModelCache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`limen` over the default pack alone: no passive liveness, whatever the user has pulled."""
    cache = tmp_path_factory.mktemp("models")
    (cache / "packs").mkdir()
    (cache / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    return partial(run_limen, environment=environment_of(cache))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiles: list[list[Pixels]], astronaut: Pixels
) -> Path:
    """Photos of the tile man, of a woman, of an astronaut, and a file that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    for name, pixels in {
        "man1": tiles[0][0],
        "man2": tiles[0][1],
        "man3": tiles[0][4],
        "woman1": tiles[4][0],
        "woman2": tiles[5][2],
        "astronaut": astronaut,
        "grey": np.full((200, 200, 3), 128, np.uint8),
    }.items():
        (folder / f"{name}.png").write_bytes(encode_png(pixels))
    (folder / "notes.txt").write_text("no photo")
    return folder


def verified(
    limen: Run, folder: Path, first: str, second: str, *options: str
) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `limen verify` on two of the photos."""
    paths = (folder / f"{first}.png", folder / f"{second}.png")
    code, stdout, _ = limen("verify", *paths, "--json", *options)
    return code, json.loads(stdout)


def test_verify_tells_a_man_from_a_woman(limen: Run, folder: Path) -> None:
    """Two photos of one man compare above the threshold, a man and a woman below it."""
    _, same = verified(limen, folder, "man1", "man2")
    _, other = verified(limen, folder, "man1", "woman1")
    assert same["comparison"]["is_match"] is True
    assert same["comparison"]["similarity"] >= same["comparison"]["threshold"] == 0.36
    assert other["comparison"]["is_match"] is False


def test_verify_approves_nobody_without_liveness(limen: Run, folder: Path) -> None:
    """A match without liveness evidence is not approved, unless the user asks for match only."""
    code, strict = verified(limen, folder, "astronaut", "astronaut")
    assert code == 1
    assert strict["comparison"]["is_match"] is True
    assert strict["verdict"]["outcome"] == "needs_review"
    assert [reason["code"] for reason in strict["verdict"]["reasons"]] == ["liveness_unavailable"]
    code, lenient = verified(limen, folder, "astronaut", "astronaut", "--match-only")
    assert code == 0
    assert lenient["verdict"]["outcome"] == "approved"
    assert [reason["code"] for reason in lenient["verdict"]["reasons"]] == ["liveness_not_checked"]


def test_verify_prints_no_template(limen: Run, folder: Path) -> None:
    """Neither form of the answer holds the numbers of a template or of the mesh."""
    _, document = verified(limen, folder, "man1", "man2")
    assert document["probe"]["template"] == {"model_id": "dlib-resnet-128.1"}
    assert "mesh" not in document["probe"]


def test_inspect_draws_what_it_says(limen: Run, folder: Path, tmp_path: Path) -> None:
    """`inspect` reports box, pose, quality and feedback, and writes a picture of them."""
    out = tmp_path / "drawn.png"
    code, stdout, stderr = limen("inspect", folder / "astronaut.png", "--json", "--draw", out)
    assert (code, stderr) == (0, "")
    document = json.loads(stdout)
    assert len(document["faces"]) == 1
    assert set(document) >= {"feedback", "pose", "quality", "age", "passive_liveness"}
    assert document["feedback"] == ["ok"]
    assert document["passive_liveness"] == {"available": False, "reason": "model_unavailable"}
    assert out.read_bytes().startswith(b"\x89PNG")


def test_inspect_of_no_face_is_an_answer(limen: Run, folder: Path) -> None:
    """A picture without a face is described, not refused."""
    code, stdout, _ = limen("inspect", folder / "grey.png", "--json")
    assert code == 0
    assert json.loads(stdout)["feedback"] == ["face_not_found"]


def test_refusals_are_coded(limen: Run, folder: Path) -> None:
    """A file that is no image, or no file, ends with its code, in JSON where JSON was asked."""
    for path, expected in (("notes.txt", "not_an_image"), ("nosuch.jpg", "file_unreadable")):
        code, stdout, _ = limen("inspect", folder / path, "--json")
        assert code == 2
        assert json.loads(stdout)["error"]["code"] == expected
        code, stdout, stderr = limen("inspect", folder / path)
        assert (code, stdout) == (2, "")
        assert expected in stderr
        assert len(stderr.splitlines()) == 1


def test_evaluate_reports_error_rates(limen: Run, folder: Path, tmp_path: Path) -> None:
    """A CSV of labelled pairs becomes counts, rates with intervals, and a DET plot."""
    pairs = folder / "pairs.csv"
    pairs.write_text(
        "path_a,path_b,same,group\n"
        "man1.png,man2.png,1,men\n"
        "man1.png,man3.png,1,men\n"
        "man2.png,man3.png,1,men\n"
        "man1.png,woman1.png,0,mixed\n"
        "man2.png,woman2.png,0,mixed\n"
        "woman1.png,woman2.png,0,women\n"
        "man1.png,grey.png,0,mixed\n"
    )
    plot = tmp_path / "det.png"
    code, stdout, _ = limen("evaluate", pairs, "--json", "--det", plot)
    assert code == 0
    report = json.loads(stdout)
    assert (report["pairs"], report["genuine"], report["impostor"]) == (7, 3, 4)
    assert report["fte"]["failed"] == 1
    assert report["fmr"]["errors"] == report["fnmr"]["errors"] == 0
    assert report["fmr"]["trials"] == 3
    assert set(report["groups"]) == {"men", "mixed", "women"}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_models_are_listed_and_verified(limen: Run) -> None:
    """The cache's packs are listed with their state, and their files pass their checks."""
    code, stdout, _ = limen("models", "list", "--json")
    assert code == 0
    states = {pack["pack"]: pack["state"] for pack in json.loads(stdout)["packs"]}
    assert states["default"] == "built"
    code, stdout, _ = limen("models", "verify", "default", "--json")
    assert code == 0
    checked = json.loads(stdout)["models"]
    assert [model["task"] for model in checked] == ["embedding", "detection", "mesh", "age"]
    assert all(model["known_answer_difference"] <= 1e-2 for model in checked)


@pytest.mark.shared
def test_pull_from_a_mirror_adds_liveness(
    shared: Path, folder: Path, model_cache: ModelCache, tmp_path: Path
) -> None:
    """A pack pulled from a mirror folder is at once part of the evidence."""
    cache = tmp_path / "models"
    (cache / "packs").mkdir(parents=True)
    (cache / "packs" / "default").symlink_to(model_cache.pack_dir("default"))
    environment = environment_of(cache)
    for name in ("minifasnet", "yunet"):
        code, stdout, _ = run_limen(
            "models", "pull", name, "--mirror", shared / "weights", "--json",
            environment=environment,
        )  # fmt: skip
        assert code == 0
        assert all(model["made"] for model in json.loads(stdout)["models"])
    photo = shared / "faces" / "liveness" / "image_T1.jpg"
    code, stdout, _ = run_limen("verify", photo, photo, "--json", environment=environment)
    document = json.loads(stdout)
    assert document["probe"]["passive_liveness"]["is_bona_fide"] is True
    assert document["verdict"]["outcome"] == "approved"
    assert code == 0
    replay = photo.with_name("image_F2.jpg")
    code, stdout, _ = run_limen("verify", replay, replay, "--json", environment=environment)
    assert code == 1
    verdict = json.loads(stdout)["verdict"]
    assert verdict["outcome"] == "declined"
    assert [reason["code"] for reason in verdict["reasons"]] == ["presentation_attack"]


def test_damaged_cache_is_refused_and_named(model_cache: ModelCache, tmp_path: Path) -> None:
    """A model file with one changed byte is never loaded."""
    cache = tmp_path / "models"
    pack = cache / "packs" / "default"
    pack.mkdir(parents=True)
    for path in model_cache.pack_dir("default").iterdir():
        (pack / path.name).write_bytes(path.read_bytes())
    data = bytearray((pack / "mesh.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (pack / "mesh.onnx").write_bytes(data)
    environment = environment_of(cache)
    code, stdout, _ = run_limen("models", "verify", "--json", environment=environment)
    assert code == 2
    assert json.loads(stdout)["error"]["code"] == "pack_corrupt"
    assert "mesh.onnx" in json.loads(stdout)["error"]["message"]
