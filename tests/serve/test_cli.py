"""The command line's own promises: versions, refusals, exit codes."""

import json
import tomllib
from pathlib import Path

import pytest

import serve
from pipeline.errors import Code as PipelineCode
from serve import errors
from serve.cli import EXIT_REFUSED
from tests.helpers.tree import ROOT, run

MAIN = "from serve.cli import main; main()"


def test_the_version_is_the_distribution_s() -> None:
    """`limen --version` and the package metadata agree."""
    done = run("-c", MAIN, "--version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout == f"limen {serve.__version__}\n"
    assert serve.__version__ == project["version"]


def test_a_cluster_is_not_joined_without_its_token(tmp_path: Path) -> None:
    """`limen run` refuses to start before it would send images to whoever answers there."""
    done = run(
        "-c", MAIN, "run", "--data-dir", str(tmp_path / "var"), "--port", "0",
        LIMEN_ENGINE_RAY_ADDRESS="127.0.0.1:1", LIMEN_ADMIN_LISTEN="127.0.0.1:0",
    )  # fmt: skip
    assert done.returncode == EXIT_REFUSED
    assert "setting_invalid" in done.stderr
    assert "engine.ray_token_file" in done.stderr
    assert "listening" not in done.stdout


def test_a_coded_error_is_one_line() -> None:
    """A refusal says its code, what that means and the detail, and exits with 2."""
    done = run("-c", MAIN, "run", LIMEN_PIPELINE_THREAD="1")
    assert done.returncode == EXIT_REFUSED
    assert done.stdout == ""
    assert done.stderr == (
        "limen: setting_unknown: No setting has this name: "
        "LIMEN_PIPELINE_THREAD; did you mean LIMEN_PIPELINE_THREADS?\n"
    )


def test_a_program_reads_the_error_as_json() -> None:
    """With --json the refusal is a document on stdout and stderr stays empty."""
    done = run("-c", MAIN, "--config", "absent.toml", "run", "--json")
    assert done.returncode == EXIT_REFUSED
    assert done.stderr == ""
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "config_unreadable"
    assert "absent.toml" in error["message"]


@pytest.mark.parametrize("code", [*PipelineCode, *errors.Code])
def test_every_code_has_a_sentence(code: PipelineCode | errors.Code) -> None:
    """Whatever goes wrong, there is a sentence to say about it."""
    sentence = errors.SENTENCES[code]
    is_the_contract_s = code is errors.Code.MOBILE_REQUIRED  # word for word, without a full stop
    assert sentence.endswith(".") or is_the_contract_s
    assert len(sentence.split()) >= 4


def test_no_two_packages_share_a_code() -> None:
    """A code names one thing, whichever package raised it."""
    assert not {str(code) for code in PipelineCode} & {str(code) for code in errors.Code}
