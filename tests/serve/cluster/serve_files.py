"""The Serve files that are shipped, as written and with their autoscaling."""

from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files("configs"))) / "ray"
SHIPPED = tuple(sorted(FOLDER.glob("*.yaml")))
_OPTION, _COMMENT = " " * 8, " " * 8 + "# "


def with_autoscaling(text: str) -> str:
    """A file's text with the example in its comments in place of `num_replicas`."""
    lines = [line for line in text.splitlines() if not line.startswith(f"{_OPTION}num_replicas:")]
    return "\n".join(
        _OPTION + line.removeprefix(_COMMENT) if line.startswith(_COMMENT) else line
        for line in lines
    )
