"""What `limen check` finds out about the engine: whom it lets in, and where it listens."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

from serve.cli.machine import Finding, Grade
from serve.errors import SENTENCES, ServeError
from serve.inference.cluster.kin import exposed, kin
from serve.inference.cluster.options import read_plan
from serve.inference.cluster.probe import asks_for_token
from serve.inference.place import token_file
from serve.settings import EngineKind, EngineSection, Settings


async def findings_of_engine(settings: Settings) -> AsyncIterator[Finding]:
    """How safe and how complete the engine is that these settings ask for."""
    engine = settings.engine
    if engine.kind is EngineKind.LOCAL:
        yield Finding("engine", Grade.OK, "local: threads in each front door")
        return
    if engine.kind is EngineKind.NAIVE_SERVE:
        yield Finding("engine", Grade.WARN, "naive-serve is a yardstick of benchmarks")
    yield _serve_file(engine)
    if engine.ray_address:
        yield await _joined(engine)
    else:
        yield _token(token_file(settings.state.data_dir))
    file = engine.ray_token_file if engine.ray_address else token_file(settings.state.data_dir)
    if file is not None:
        yield _listening(file)


def _serve_file(engine: EngineSection) -> Finding:
    try:
        plan = read_plan(engine.ray_file)
    except ServeError as error:
        return Finding("engine", Grade.FAIL, f"{error.code}: {error.detail}")
    gpus = plan.options.get("ray_actor_options", {}).get("num_gpus", 0)
    text = f"ray: up to {plan.replicas_max} replicas, {gpus:g} GPUs each"
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


def _token(file: Path) -> Finding:
    """Whether the secret of our own cluster is one."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return Finding("ray token", Grade.OK, "made by the first start")
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
