"""The demo tenant's credentials, read from the server's data directory."""

import json
from pathlib import Path

import pytest

from serve.demo.credentials import Credentials, read_credentials
from serve.errors import Code, ServeError

WRITTEN = {
    "tenant_id": "ten_1",
    "api_key": "sk_live_1",
    "test_api_key": "sk_test_1",
    "webhook_secret": "whsec_1",
}


def test_credentials_are_read_and_never_shown(tmp_path: Path) -> None:
    """The test key and the secret are there, and in no repr."""
    path = tmp_path / "demo.json"
    path.write_text(json.dumps(WRITTEN))
    found = read_credentials(path)
    assert found == Credentials("ten_1", "sk_test_1", "whsec_1")
    assert repr(found) == "Credentials(tenant_id='ten_1')"


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"tenant_id": "ten_1"}', "\udcff"])
def test_a_file_without_credentials_is_unreadable(tmp_path: Path, text: str | None) -> None:
    """No file, no JSON, or JSON of something else is `file_unreadable`."""
    path = tmp_path / "demo.json"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ServeError) as refused:
        read_credentials(path)
    assert refused.value.code is Code.FILE_UNREADABLE
