"""What Ray is told before it is imported: of our own cluster everything, of another's the least."""

import os
import stat
from pathlib import Path

import pytest

import serve
from serve.errors import Code, ServeError
from serve.inference.cluster.environment import (
    TOKEN_BYTES,
    TOKEN_PATH_VARIABLE,
    as_in_tutorials,
    make_token,
    of_joined_cluster,
    of_own_cluster,
)

TOKEN = Path("/private/token")
INHERITED = {
    "PATH": "/bin",
    "LIMEN_SERVER_PORT": "0",
    "RAYLEIGH": "scatters",
    "RAY_ADDRESS": "10.0.0.1:6379",
    "RAY_AUTH_MODE": "disabled",
    "RAY_AUTH_TOKEN": "theirs",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    "ray_lower": "1",
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "their.hook",
}
# That which keeps a cluster of our own to itself, whatever else it is told.
SAFE = {
    "RAY_AUTH_MODE": "token",
    TOKEN_PATH_VARIABLE: str(TOKEN),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_automatic_object_spilling_enabled": "0",
}
OF_RAY = {name for name in INHERITED if name.upper().lstrip("_").startswith("RAY_")}


def test_our_own_cluster_inherits_nothing_of_ray() -> None:
    """A variable that somebody set for another cluster neither opens ours nor joins it."""
    found = of_own_cluster(INHERITED, TOKEN)
    assert {name: found[name] for name in SAFE} == SAFE
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "ray_lower"} & set(found)
    assert [name for name in OF_RAY if found.get(name) == INHERITED[name]] == []
    kept = set(INHERITED) - OF_RAY
    assert {name: found[name] for name in kept} == {name: INHERITED[name] for name in kept}


def test_every_worker_of_ours_runs_the_hook() -> None:
    """The name that Ray is given is that of a function here."""
    name = of_own_cluster({}, TOKEN)["__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"]
    module, _, function = name.rpartition(".")
    path = Path(serve.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    assert f"def {function}() -> None:" in path.read_text()


@pytest.mark.parametrize("before", ["", "/elsewhere", os.pathsep.join(["/one", "/two"])])
def test_replicas_import_this_package(before: str) -> None:
    """The folder of this package comes first, and what was there stays."""
    root = str(Path(serve.__file__).parents[1])
    found = of_own_cluster({"PYTHONPATH": before}, TOKEN)["PYTHONPATH"].split(os.pathsep)
    assert found == [root, *filter(None, before.split(os.pathsep))]


def test_the_naive_way_is_as_safe() -> None:
    """What makes Serve faster is left out, what keeps strangers out is not."""
    own = of_own_cluster(INHERITED, TOKEN)
    found = as_in_tutorials(own)
    assert {name: found[name] for name in SAFE} == SAFE
    assert found["__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"].startswith("serve.")
    assert [name for name in found if name.startswith("RAY_SERVE_")] == []
    assert {name for name in set(own) - set(found) if not name.startswith("RAY_SERVE_")} == set()


def test_another_s_cluster_keeps_what_it_was_told() -> None:
    """A driver of it is tuned and reports to nobody; loopback, hook and spilling are not ours."""
    found = of_joined_cluster(INHERITED, TOKEN)
    assert found["RAY_USAGE_STATS_ENABLED"] == "0"
    assert found["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert (found["RAY_AUTH_MODE"], found[TOKEN_PATH_VARIABLE]) == ("token", str(TOKEN))
    assert found["__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"] == "their.hook"
    ours = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_automatic_object_spilling_enabled"}
    assert not ours & set(found)


def test_without_a_token_file_the_variables_say_what_token_there_is() -> None:
    """Neither the mode nor the path is touched."""
    found = of_joined_cluster(INHERITED, None)
    assert found["RAY_AUTH_MODE"] == "disabled"
    assert found["RAY_AUTH_TOKEN"] == "theirs"  # noqa: S105 (nobody's)
    assert TOKEN_PATH_VARIABLE not in found


def test_a_token_is_random_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask, nobody else may read it."""
    before = os.umask(0)
    try:
        for name in ("one", "two"):
            make_token(tmp_path / name)
    finally:
        os.umask(before)
    tokens = [bytes.fromhex((tmp_path / name).read_text()) for name in ("one", "two")]
    assert [len(token) for token in tokens] == [TOKEN_BYTES] * 2
    assert len(set(tokens)) == 2
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


def test_a_token_is_never_replaced(tmp_path: Path) -> None:
    """A cluster that runs with it is still reached after another start."""
    make_token(tmp_path / "token")
    token = (tmp_path / "token").read_text()
    make_token(tmp_path / "token")
    assert (tmp_path / "token").read_text() == token


def test_a_token_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The refusal names the file."""
    with pytest.raises(ServeError) as refused:
        make_token(tmp_path / "absent" / "token")
    assert refused.value.code is Code.FILE_UNWRITABLE
    assert "absent" in refused.value.detail
