"""A real Redis and real keys for tests of the stores.

One server for the whole run, in a folder of its own, emptied before each test that asks for it.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.settings import State
from serve.store.link import open_link
from serve.store.local.embedded import own_embedded
from serve.store.vault.keyring import Keyring, open_keyring


@pytest.fixture(scope="session")
def redis_state() -> Iterator[State]:
    """The settings that reach a server of this run."""
    with tempfile.TemporaryDirectory(prefix="limen-test-") as folder, asyncio.Runner() as runner:
        owned = own_embedded(Path(folder))
        runner.run(owned.__aenter__())
        try:
            yield State(data_dir=Path(folder))
        finally:
            runner.run(owned.__aexit__(None, None, None))


@pytest_asyncio.fixture
async def link(redis_state: State) -> AsyncIterator[Redis]:
    """A connection to an empty Redis."""
    opened = open_link(redis_state)
    await opened.flushall()
    yield opened
    await opened.aclose()


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """Fresh keys, their first epoch begun at 0 ms."""
    return open_keyring(tmp_path / "keys", 0, create=True)
