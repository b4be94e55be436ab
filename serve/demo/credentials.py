"""What the demonstration needs to know of its tenant, from the file that `limen run` writes."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from serve.errors import Code, ServeError

FILE_NAME = "demo.json"
BYTES_MAX = 2**16


@dataclass(frozen=True, slots=True)
class Credentials:
    """A tenant's key of the test world, and the secret that its callbacks are signed with."""

    tenant_id: str
    test_api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


def read_credentials(path: Path) -> Credentials:
    """The credentials in a JSON file. Raises `file_unreadable`."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(BYTES_MAX))
        names = ("tenant_id", "test_api_key", "webhook_secret")
        return Credentials(*(str(found[name]) for name in names))
    except OSError as error:
        raise ServeError(Code.FILE_UNREADABLE, f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{path}: not the JSON of a demo tenant"
        raise ServeError(Code.FILE_UNREADABLE, detail) from error
