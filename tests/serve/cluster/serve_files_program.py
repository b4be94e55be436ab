"""What Ray makes of Serve files: `python -m tests.serve.cluster.serve_files_program FILE...`.

Prints a line of JSON for each. A process of its own, because importing Ray leaves traces.
"""

import json
import sys
from pathlib import Path

import yaml
from ray.serve._private.utils import import_attr  # type: ignore[attr-defined]
from ray.serve.schema import ServeDeploySchema


def main(*paths: str) -> None:
    """Read each as `serve deploy` does, and build its application."""
    for path in paths:
        document = yaml.safe_load(Path(path).read_text())
        (application,) = ServeDeploySchema.model_validate(document).applications
        (deployment,) = application.deployments
        built = import_attr(application.import_path)(application.args)
        said = {
            "application": application.name,
            "deployment": deployment.name,
            "type": type(built).__name__,
            "args": built._bound_deployment.init_args[0],  # noqa: SLF001
            "options": deployment.model_dump(exclude_unset=True),
        }
        sys.stdout.write(json.dumps(said, default=str) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
