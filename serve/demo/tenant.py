"""The demonstration's tenant: made on the first start that asks for one, its keys shown once."""

import json
from pathlib import Path

from pipeline.models.cache import write_atomically
from serve.demo.credentials import FILE_NAME
from serve.deps import Deps
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows.tenants import CreatedTenant, create_tenant, list_tenants

NAME = "demo"


async def ensure_demo_tenant(deps: Deps, data_dir: Path) -> CreatedTenant | None:
    """The demo tenant just made, with its secrets; None where there is one already.

    Its policies are those of any new tenant: a match counts with a challenge that was passed. Its
    secrets are also left in `demo.json`, mode 0600, where the demonstration reads them. Raises
    `file_unwritable`.
    """
    if any(tenant.name == NAME for tenant in await list_tenants(deps)):
        return None
    created = await create_tenant(deps, NAME, TenantPatch())
    credentials = {
        "tenant_id": created.tenant.id,
        "api_key": created.api_key,
        "test_api_key": created.test_api_key,
        "webhook_secret": created.webhook_secret,
    }
    path = data_dir / FILE_NAME
    try:
        write_atomically(path, json.dumps(credentials, indent=2).encode())
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{path}: {error.strerror}") from error
    return created
