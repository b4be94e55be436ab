"""A service on a real Redis for tests of flows."""

import pytest_asyncio
from redis.asyncio import Redis

from serve.store.vault.keyring import Keyring
from tests.helpers.service import Service, open_service


@pytest_asyncio.fixture
async def service(link: Redis, keyring: Keyring) -> Service:
    """An empty store with one tenant, whose every event calls for a face."""
    return await open_service(link, keyring)
