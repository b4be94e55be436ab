"""`limen check`: what an operator should know before, and while, Limen runs.

Looks, and changes nothing: a machine where nothing was started yet has nothing made on it.
"""

import asyncio
import dataclasses
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.decision.policy import LivenessPolicy
from serve.app import open_deps
from serve.cli.machine import Finding, Grade, findings_here
from serve.cli.options import AsJson, DataDir, print_json, settings_in
from serve.domain.headroom import Room
from serve.domain.ids import Mode
from serve.domain.tenancy.tenant import LOOPBACK_HOSTS
from serve.errors import SENTENCES, ServeError
from serve.inference.cluster.kin import exposed, kin
from serve.inference.cluster.options import options_of, read_plan
from serve.inference.cluster.probe import asks_for_token
from serve.inference.place import token_file
from serve.processes.door import tls_context
from serve.processes.listening import split_address
from serve.settings import EngineKind, EngineSection, Settings, State
from serve.store import names
from serve.store.headroom import memory_of
from serve.store.link import configuration, open_link, reaching_redis, server_version
from serve.store.local.embedded import join_embedded
from serve.store.local.places import places

STYLES = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "bold red"}
DURABILITY = ("appendonly", "appendfsync", "aof-use-rdb-preamble", "maxmemory-policy")


def check(context: typer.Context, data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """Look over this install; exit code 1 if anything would keep it from working."""
    settings = settings_in(context, data_dir)
    findings = [*findings_here(settings), *findings_set(settings)]
    findings += asyncio.run(_all(findings_of_engine(settings)))
    findings += asyncio.run(_all(findings_stored(settings)))
    failed = any(finding.grade is Grade.FAIL for finding in findings)
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print_json({"ok": not failed, "findings": rows})
    else:
        table = Table("", "", "")
        table.show_header = False
        for found in findings:
            style = STYLES[found.grade]
            table.add_row(found.subject, f"[{style}]{found.grade}[/]", escape(found.text))
        Console().print(table)
    raise typer.Exit(1 if failed else 0)


def findings_set(settings: Settings) -> Iterator[Finding]:
    """What the settings alone say."""
    yield _tls(settings)
    yield _public_url(settings)
    if settings.admin.listen:
        host, _ = split_address(settings.admin.listen)
        is_local = host in LOOPBACK_HOSTS
        text = "" if is_local else ": keep it off the public network"
        grade = Grade.OK if is_local else Grade.WARN
        yield Finding("admin listener", grade, f"{settings.admin.listen}{text}")
    for name, is_on, meaning in (
        ("allow_private", settings.callbacks.allow_private, "may reach private addresses"),
        ("allow_http", settings.callbacks.allow_http, "may go unencrypted"),
    ):
        grade, text = (Grade.WARN, f"on: callbacks {meaning}") if is_on else (Grade.OK, "off")
        yield Finding(f"callbacks.{name}", grade, text)


def _tls(settings: Settings) -> Finding:
    try:
        context = tls_context(settings.server)
    except ServeError as error:
        return Finding("tls", Grade.FAIL, error.detail)
    if context is not None:
        return Finding("tls", Grade.OK, f"{settings.server.tls_cert}")
    if settings.server.public_base_url.startswith("https://"):
        return Finding("tls", Grade.OK, "not here; public_base_url says that a proxy has it")
    return Finding("tls", Grade.WARN, "off: a phone's camera needs https")


def _public_url(settings: Settings) -> Finding:
    url = settings.server.public_base_url
    if not url:
        text = "not set: tenants without a page of their own get no link for phones"
        return Finding("public_base_url", Grade.WARN, text)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return Finding("public_base_url", Grade.FAIL, f"{url} is no http or https URL")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        return Finding("public_base_url", Grade.WARN, f"{url}: a phone's camera needs https")
    return Finding("public_base_url", Grade.OK, url)


async def findings_of_engine(settings: Settings) -> AsyncIterator[Finding]:
    """How safe and how complete the engine is that these settings ask for."""
    engine = settings.engine
    if engine.kind is EngineKind.LOCAL:
        yield Finding("engine", Grade.OK, "local: threads in each front door")
        return
    if engine.kind is EngineKind.NAIVE_SERVE:
        yield Finding("engine", Grade.WARN, "naive-serve is a yardstick of benchmarks")
    yield _serve_file(settings)
    if engine.ray_address:
        yield _given_token(engine)
        yield await _joined(engine)
    else:
        file = token_file(settings.state.data_dir)
        yield _token(file, Finding("ray token", Grade.OK, "made by the first start"))
        yield _listening(file)


def _serve_file(settings: Settings) -> Finding:
    try:
        plan = read_plan(settings.engine.ray_file)
        options_of(settings, 1).overridden(plan.args)
    except ServeError as error:
        return Finding("engine", Grade.FAIL, f"{error.code}: {error.detail}")
    gpus = plan.options.get("ray_actor_options", {}).get("num_gpus", 0)
    text = f"ray: up to {plan.replicas_max} replicas, {gpus} GPUs each"
    return Finding("engine", Grade.OK, text)


async def _joined(engine: EngineSection) -> Finding:
    """Whether the cluster of somebody else's keeps strangers out."""
    try:
        is_protected = await asks_for_token(engine.ray_address)
    except ServeError as error:
        return Finding("ray cluster", Grade.FAIL, f"{SENTENCES[error.code]} {error.detail}")
    if is_protected:
        return Finding("ray cluster", Grade.OK, f"{engine.ray_address} asks for a token")
    grade = Grade.WARN if engine.ray_allow_no_token else Grade.FAIL
    text = f"{engine.ray_address} asks for no token: whoever reaches it runs code there"
    return Finding("ray cluster", grade, text)


def _given_token(engine: EngineSection) -> Finding:
    """Whether there is a token to join somebody else's cluster with."""
    file = engine.ray_token_file
    if file is not None:
        return _token(file, Finding("ray token", Grade.FAIL, f"{file} is not there"))
    grade = Grade.WARN if engine.ray_allow_no_token else Grade.FAIL
    return Finding("ray token", grade, "engine.ray_token_file is not set")


def _token(file: Path, absent: Finding) -> Finding:
    """Whether the secret of a cluster is one."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return absent
    except OSError as error:
        return Finding("ray token", Grade.FAIL, f"{file}: {error.strerror}")
    if stat.S_IMODE(mode) & 0o077:
        return Finding("ray token", Grade.FAIL, f"{file} may be read by others: chmod 600")
    return Finding("ray token", Grade.OK, f"{file}")


def _listening(file: Path) -> Finding:
    """Where the running cluster can be reached from."""
    if not any(kin(file)):
        return Finding("ray ports", Grade.OK, "not running")
    if found := exposed(file):
        return Finding("ray ports", Grade.FAIL, f"beyond the loopback: {', '.join(found)}")
    return Finding("ray ports", Grade.OK, "on the loopback alone")


async def findings_stored(settings: Settings) -> AsyncIterator[Finding]:
    """What the store of records says of itself, its keys and its tenants."""
    state = settings.state
    if not state.redis_url and not places(state.data_dir).folder.exists():
        yield Finding("redis", Grade.OK, "embedded; made by the first start")
        return
    subject = "redis"
    try:
        async with AsyncExitStack() as held:
            if not state.redis_url:
                await held.enter_async_context(join_embedded(state.data_dir))
            link = open_link(state)
            held.push_async_callback(link.aclose)
            yield _server(state.redis_url, await server_version(link))
            yield _durability(settings, await configuration(link, *DURABILITY))
            yield _memory(state, await memory_of(link))
            with reaching_redis():
                is_claimed = bool(await link.exists(names.INSTALL))
            subject = "install"
            if is_claimed:
                async for finding in _install(settings):
                    yield finding
            else:
                yield Finding("install", Grade.OK, "empty; its keys are made by the first start")
    except ServeError as error:
        text = f"{error.code}: {SENTENCES[error.code].removesuffix('.')}: {error.detail}"
        yield Finding(subject, Grade.FAIL, text)


def _server(url: str, version: Sequence[int]) -> Finding:
    """Where Redis is, without the password that its URL may hold."""
    text = f"version {'.'.join(map(str, version))}"
    if not url:
        return Finding("redis", Grade.OK, f"embedded, {text}")
    parts = urlsplit(url)
    if parts.scheme == "redis" and parts.hostname not in LOOPBACK_HOSTS:
        return Finding("redis", Grade.WARN, f"{parts.hostname}, {text}; unencrypted: use rediss://")
    return Finding("redis", Grade.OK, f"{parts.hostname}, {text}")


def _durability(settings: Settings, found: dict[str, str]) -> Finding:
    """Whether what is acknowledged survives a crash, and what is erased leaves the disk."""
    if not found:
        return Finding("durability", Grade.WARN, "CONFIG GET is forbidden: it cannot be told")
    wrong = []
    if found["maxmemory-policy"] != "noeviction":
        return Finding("durability", Grade.FAIL, "set maxmemory-policy to noeviction")
    if found["appendonly"] != "yes":
        wrong.append("appendonly is off: a restart loses records")
    elif found["appendfsync"] != "always" and not settings.state.replicas_min:
        wrong.append("appendfsync is not always, and state.replicas_min is 0")
    if found["aof-use-rdb-preamble"] != "no":
        wrong.append("aof-use-rdb-preamble is on: erased faces stay in the file")
    if wrong:
        return Finding("durability", Grade.WARN, "; ".join(wrong))
    text = f"appendfsync {found['appendfsync']}, {settings.state.replicas_min} replicas waited for"
    return Finding("durability", Grade.OK, text)


def _memory(state: State, room: Room) -> Finding:
    """How near Redis is to its limit."""
    text = f"{room.memory_bytes / 2**20:.0f} MiB"
    if not room.memory_max_bytes:
        return Finding("memory", Grade.OK, f"{text}, no maxmemory")
    text += f", {room.memory_share:.0%} of maxmemory"
    if room.memory_share > state.memory_share_max:
        text += f": above {state.memory_share_max:.0%} nothing new is begun"
        return Finding("memory", Grade.WARN, text)
    return Finding("memory", Grade.OK, text)


async def _install(settings: Settings) -> AsyncIterator[Finding]:
    async with open_deps(settings, with_models=False) as deps:
        yield Finding("install", Grade.OK, "keys and records belong together")
        tenants = await deps.directory.tenants()
        yield Finding("tenants", Grade.OK, f"{len(tenants)}")
        for tenant in tenants:
            worlds = [
                mode
                for mode in Mode
                if tenant.seen_in(mode).liveness_policy is LivenessPolicy.MATCH_ONLY
            ]
            if worlds:
                where = " and ".join(worlds)
                text = f"{tenant.name} ({tenant.id}) approves without a live person in {where} mode"
                yield Finding("liveness policy", Grade.WARN, text)


async def _all(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]
