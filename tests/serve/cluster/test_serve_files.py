"""The Serve files as Ray reads them."""

import json
from dataclasses import asdict
from pathlib import Path

from serve.inference.cluster.options import options_of, read_plan
from serve.settings import load
from tests.helpers import tree
from tests.serve.cluster.serve_files import FOLDER, SHIPPED, with_autoscaling


def test_ray_reads_what_we_read(tmp_path: Path) -> None:
    """Every shipped file, and the autoscaling in a comment, is one that `serve deploy` takes: its
    application can be built, with the arguments and the options that `limen run` takes from it.
    """
    scaling = tmp_path / "serve.yaml"
    scaling.write_text(with_autoscaling((FOLDER / "serve-gpu.yaml").read_text()))
    paths = [*SHIPPED, scaling]
    ran = tree.run("-m", "tests.serve.cluster.serve_files_program", *map(str, paths))
    assert ran.returncode == 0, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    settings = load()
    assert len(found) == len(paths) >= 4
    for path, said in zip(paths, found, strict=True):
        plan = read_plan(path)
        wanted = options_of(settings, settings.pipeline.threads or 1).overridden(plan.args)
        assert (said["application"], said["type"]) == ("limen", "Application")
        assert said["args"] == asdict(wanted)
        assert said["options"].pop("name") == "Faces"
        assert said["options"] == plan.options
