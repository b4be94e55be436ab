"""`limen tenant`, `limen key`, `limen secret` and `limen audit`: who may use this install, how, and
who did.

A secret is printed once, when it is made; the store keeps digests and sealed copies.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pipeline.decision.policy import LivenessPolicy
from serve.api.answers import TenantResponse, timestamp
from serve.api.audit import EntryResponse
from serve.cli.options import AsJson, DataDir, parsed, print_json, settings_in, with_deps
from serve.deps import Deps
from serve.domain.audit import AuditRecord
from serve.domain.ids import Mode
from serve.domain.tenancy.api_key import DEFAULT_SCOPES, ApiKey, Scope
from serve.domain.tenancy.tenant import NAME_LENGTH_MAX, Tenant, TenantPatch
from serve.errors import Code, ServeError
from serve.flows import audit as trail
from serve.flows import quota, tenants
from serve.ports import Page

app = typer.Typer(help="Tenants: whose customers are verified, under which policies.")
keys = typer.Typer(help="API keys of a tenant.")
secrets = typer.Typer(help="The secret that a tenant's callbacks are signed with.")

WhichTenant = Annotated[str, typer.Argument(help="Id of the tenant, or its name if unique.")]
Policy = Annotated[
    LivenessPolicy | None, typer.Option(help="Whether an approval needs a live person.")
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--origin", help="Origin of its pages and callbacks; repeat it for several."),
]
FrontEnd = Annotated[str | None, typer.Option(help="Where hand-off links lead.")]
KeepImages = Annotated[
    bool | None,
    typer.Option(
        "--keep-reference-images/--drop-reference-images",
        help="Whether aligned reference faces are kept, encrypted.",
    ),
]
Factor = Annotated[
    float | None,
    typer.Option(
        help="How many times the quotas of the settings it may ask for; 1 is as they are."
    ),
]
Retention = Annotated[int | None, typer.Option(help="Days until a session's record is gone.")]
AUDIT_MAX = 100
KEPT_NOWHERE = "Keep the secrets now: they are not shown again."


@app.command()
def create(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the organisation.")],
    *,
    liveness_policy: Policy = None,
    origin: Origins = None,
    frontend_base_url: FrontEnd = None,
    keep_reference_images: KeepImages = None,
    session_retention_days: Retention = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant with a key for each world; its secrets are shown this once."""
    patch = _patch(
        liveness_policy=liveness_policy,
        allowed_origins=origin,
        frontend_base_url=frontend_base_url,
        keep_reference_images=keep_reference_images,
        session_retention_days=session_retention_days,
    )
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        raise ServeError(Code.FIELD_INVALID, f"a name has 1 to {NAME_LENGTH_MAX} characters")
    made = with_deps(
        settings_in(context, data_dir), lambda deps: tenants.create_tenant(deps, name, patch)
    )
    _print_secrets(
        {
            "tenant_id": made.tenant.id,
            "api_key": made.api_key,
            "test_api_key": made.test_api_key,
            "webhook_secret": made.webhook_secret,
        },
        as_json=as_json,
    )


@app.command(name="list")
def list_tenants(
    context: typer.Context, data_dir: DataDir = None, *, as_json: AsJson = False
) -> None:
    """Every tenant and its settings, oldest first."""

    async def carry_out(deps: Deps) -> list[tuple[Tenant, float]]:
        every = await tenants.list_tenants(deps)
        factors = await asyncio.gather(*(deps.quotas.factor(tenant.id) for tenant in every))
        return list(zip(every, factors, strict=True))

    found = with_deps(settings_in(context, data_dir), carry_out)
    if as_json:
        print_json({"tenants": [_described(*each) for each in found]})
        return
    columns = "name", "liveness policy", "origins", "days kept", "quota factor"
    table = Table(_whole("tenant"), *columns)
    for tenant, factor in found:
        table.add_row(
            tenant.id,
            escape(tenant.name),
            tenant.liveness_policy.value,
            "\n".join(tenant.allowed_origins),
            str(tenant.session_retention_days),
            f"{factor:g}",
        )
    Console().print(table)


@app.command(name="set")
def change(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    tenant: WhichTenant,
    *,
    liveness_policy: Policy = None,
    origin: Origins = None,
    no_origins: Annotated[
        bool, typer.Option("--no-origins", help="Take all origins away.")
    ] = False,
    frontend_base_url: FrontEnd = None,
    keep_reference_images: KeepImages = None,
    session_retention_days: Retention = None,
    quota_factor: Factor = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; origins given replace all there were."""
    patch = _patch(
        liveness_policy=liveness_policy,
        allowed_origins=[] if no_origins else origin,
        frontend_base_url=frontend_base_url,
        keep_reference_images=keep_reference_images,
        session_retention_days=session_retention_days,
    )

    async def carry_out(deps: Deps) -> tuple[Tenant, float]:
        found = await find_tenant(deps, tenant)
        if quota_factor is not None:
            await quota.change_factor(deps, found.id, quota_factor)
        after = await tenants.change_settings(deps, found.id, patch)
        return after, await deps.quotas.factor(found.id)

    changed = _described(*with_deps(settings_in(context, data_dir), carry_out))
    if as_json:
        print_json(changed)
        return
    for name, value in changed.items():
        typer.echo(f"{name:24}{', '.join(value) if isinstance(value, list) else value}")


@keys.command(name="create")
def create_key(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    tenant: WhichTenant,
    *,
    mode: Annotated[Mode, typer.Option(help="The world that the key belongs to.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it may be used for; if absent all but search:embedding and pii."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a further key, which is shown this once."""

    async def carry_out(deps: Deps) -> tuple[ApiKey, str]:
        found = await find_tenant(deps, tenant)
        return await tenants.create_key(deps, found.id, mode, scope or DEFAULT_SCOPES)

    record, text = with_deps(settings_in(context, data_dir), carry_out)
    _print_secrets({"key_id": record.id, "api_key": text}, as_json=as_json)


@keys.command(context_settings={"ignore_unknown_options": True})  # an id may begin with a dash
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `limen key list` shows it.")],
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key useless at once."""
    revoked = with_deps(
        settings_in(context, data_dir), lambda deps: tenants.revoke_key(deps, key_id)
    )
    if as_json:
        print_json(_described_key(revoked))
        return
    typer.echo(f"revoked {revoked.id} of {revoked.tenant_id}")


@keys.command(name="list")
def list_keys(
    context: typer.Context,
    tenant: WhichTenant,
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """A tenant's keys without their secrets, revoked ones among them."""

    async def carry_out(deps: Deps) -> list[ApiKey]:
        return await deps.directory.keys((await find_tenant(deps, tenant)).id)

    found = with_deps(settings_in(context, data_dir), carry_out)
    if as_json:
        print_json({"keys": [_described_key(key) for key in found]})
        return
    table = Table(_whole("key"), "world", "scopes", "made", "revoked")
    for key in found:
        table.add_row(
            key.id,
            key.mode.value,
            "all" if set(key.scopes) == set(Scope) else ", ".join(key.scopes),
            timestamp(key.created_at_ms),
            "" if key.revoked_at_ms is None else timestamp(key.revoked_at_ms),
        )
    Console().print(table)


@secrets.command()
def rotate(
    context: typer.Context,
    tenant: WhichTenant,
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a new signing secret, shown this once; the old one signs beside it for 24 hours."""

    async def carry_out(deps: Deps) -> tuple[str, str]:
        found = await find_tenant(deps, tenant)
        return found.id, (await tenants.rotate_secret(deps, found.id)).secret

    tenant_id, secret = with_deps(settings_in(context, data_dir), carry_out)
    _print_secrets({"tenant_id": tenant_id, "webhook_secret": secret}, as_json=as_json)


def audit(  # noqa: PLR0913 (one parameter for each option)
    context: typer.Context,
    *,
    tenant: Annotated[
        str | None, typer.Option(help="Only what concerns this tenant, its customers as well.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=AUDIT_MAX, help="Entries to show.")] = 50,
    cursor: Annotated[str, typer.Option(help="`next_cursor` of the page before.")] = "",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Who did what, the newest first: to the install and to tenants; with --tenant to customers."""

    async def carry_out(deps: Deps) -> Page[AuditRecord]:
        found = None if tenant is None else (await find_tenant(deps, tenant)).id
        return await trail.install_page(deps, found, cursor, limit)

    page = with_deps(settings_in(context, data_dir), carry_out)
    if as_json:
        entries = [_described_entry(record) for record in page.items]
        print_json({"entries": entries, "next_cursor": page.next_cursor})
        return
    for record in page.items:
        typer.echo(_line(record))
    if page.next_cursor:
        typer.echo(f"there is more: --cursor {page.next_cursor}")


async def find_tenant(deps: Deps, text: str) -> Tenant:
    """The tenant with this id, or else the only one with this name. Raises `not_found`."""
    found = await deps.directory.tenant(text)
    if found is not None:
        return found
    named = [tenant for tenant in await deps.directory.tenants() if tenant.name == text]
    if len(named) != 1:
        why = "several tenants have this name; give the id" if named else "no such tenant"
        raise ServeError(Code.NOT_FOUND, why)
    return named[0]


def _patch(**given: object) -> TenantPatch:
    """What was given. Raises `field_invalid`."""
    wanted = {name: value for name, value in given.items() if value is not None}
    return parsed(wanted, TenantPatch)


def _described(tenant: Tenant, quota_factor: float) -> dict[str, Any]:
    described = TenantResponse.of(tenant).model_dump(mode="json")
    return {**described, "quota_factor": quota_factor}


def _line(record: AuditRecord) -> str:
    """When, what, by whom; then to which tenant, in which world, what, and how it came out."""
    entry, concern = record.entry, record.concern
    count = "" if entry.count is None else f"{entry.count} shown"
    what = entry.target or concern.customer
    told = (concern.tenant_id, concern.mode or "", what, entry.outcome, count)
    rest = "  ".join(word for word in told if word)
    return f"{timestamp(record.at_ms)}  {entry.action:20}{entry.actor!s:22}{rest}".rstrip()


def _described_entry(record: AuditRecord) -> dict[str, Any]:
    described = EntryResponse.of(record).model_dump(mode="json")
    return {**described, "tenant_id": record.concern.tenant_id or None}


def _described_key(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.id,
        "tenant_id": key.tenant_id,
        "mode": key.mode.value,
        "scopes": [scope.value for scope in key.scopes],
        "created_at": timestamp(key.created_at_ms),
        "revoked_at": None if key.revoked_at_ms is None else timestamp(key.revoked_at_ms),
    }


def _print_secrets(document: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        typer.echo(f"{name:16}{value}")
    typer.echo(KEPT_NOWHERE)


def _whole(title: str) -> Column:
    """A column that is never broken, so that what stands in it can be copied."""
    return Column(title, no_wrap=True)
