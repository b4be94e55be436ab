"""What `limen check` finds on this machine: Python, models, folders, the disk, limits."""

import os
import resource
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from statistics import median
from time import perf_counter

from pipeline.models.catalog import read_recipe
from pipeline.models.load import DEFAULT_PACK, LIVENESS_PACK, YUNET_PACK, Detector
from serve.app import open_cache
from serve.cli.models import pack_state
from serve.settings import Settings, State
from serve.store.install import keys_folder
from serve.store.local.places import places

PYTHON_MIN = (3, 11)
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
DISK_BYTES_FEW = 5 * 2**30
SYNCS = 8
SYNC_BYTES = 4_096
SYNC_MS_FEW = 20.0  # the median above which every change is slow
FILES_FEW = 4_096


class Grade(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what it says to an operator."""

    subject: str
    grade: Grade
    text: str


def findings_here(settings: Settings) -> Iterator[Finding]:
    """Everything that needs neither the store nor the network."""
    yield _python()
    yield _runtime()
    yield from _packs(settings)
    yield from _data_folder(settings)
    yield _keys_folder(settings)
    yield _open_files()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    grade = Grade.OK if sys.version_info >= PYTHON_MIN else Grade.FAIL
    return Finding("python", grade, version)


def _runtime() -> Finding:
    found = []
    for name in RUNTIMES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    if len(found) == 1:
        return Finding("onnx runtime", Grade.OK, found[0])
    if not found:
        return Finding("onnx runtime", Grade.FAIL, "none; install limen[default] or limen[gpu]")
    return Finding("onnx runtime", Grade.WARN, f"{' and '.join(found)}: keep one of them")


def _packs(settings: Settings) -> Iterator[Finding]:
    cache = open_cache(settings)
    needed = [DEFAULT_PACK]
    if settings.pipeline.detector is Detector.YUNET:
        needed.append(YUNET_PACK)
    for name in needed:
        state = pack_state(cache, read_recipe(name))
        how = "limen models build" if name == DEFAULT_PACK else f"limen models pull {name}"
        if state == "built":
            yield Finding(f"models {name}", Grade.OK, f"built, in {cache.root}")
        else:
            yield Finding(f"models {name}", Grade.FAIL, f"{state}; run `{how}`")
    state = pack_state(cache, read_recipe(LIVENESS_PACK))
    if state == "built":
        yield Finding("liveness", Grade.OK, "passive liveness is built")
    elif state == "absent":
        yield Finding(
            "liveness",
            Grade.WARN,
            "no passive liveness: a selfie alone goes to review, a passed challenge is approved; "
            f"see `limen models pull {LIVENESS_PACK}`",
        )
    else:
        yield Finding("liveness", Grade.FAIL, f"{LIVENESS_PACK} is {state}; pull it again")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.state.data_dir.absolute()
    if not folder.exists():
        yield Finding("data folder", Grade.OK, f"{folder}: made by the first start")
        folder = _nearest(folder)
    elif _is_shared(folder):
        yield Finding("data folder", Grade.WARN, f"{folder}: others may look into it; chmod 700")
    else:
        yield Finding("data folder", Grade.OK, f"{folder}")
    yield _disk(folder, settings.state)
    yield _syncs(folder)


def _disk(folder: Path, state: State) -> Finding:
    """Whether there is room for new work beside an embedded store, and for other files."""
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free"
    if not state.redis_url:
        needed = state.disk_free_min_bytes + places(state.data_dir).log_bytes()
        if free < needed:
            text += f": below {needed / 2**30:.1f} GiB nothing new is begun"
            return Finding("disk", Grade.FAIL, text)
    return Finding("disk", Grade.WARN if free < DISK_BYTES_FEW else Grade.OK, text)


def _syncs(folder: Path) -> Finding:
    """How long the disk takes to keep a change: what every acknowledged request waits for."""
    try:
        times_ms = sync_times_ms(folder)
    except OSError as error:
        return Finding("fsync", Grade.FAIL, f"{folder} cannot be written: {error.strerror}")
    middle, worst = median(times_ms), max(times_ms)
    grade = Grade.OK if middle <= SYNC_MS_FEW else Grade.WARN
    return Finding("fsync", grade, f"median {middle:.1f} ms, worst {worst:.1f} ms of {SYNCS}")


def sync_times_ms(folder: Path) -> list[float]:
    """Milliseconds that each of a few small writes took to reach the disk. Raises OSError."""
    times_ms = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(SYNCS):
            start = perf_counter()
            stream.write(bytes(SYNC_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
            times_ms.append((perf_counter() - start) * 1000)
    return times_ms


def _keys_folder(settings: Settings) -> Finding:
    folder = keys_folder(settings.state).absolute()
    if not folder.exists():
        return Finding("keys folder", Grade.OK, f"{folder}: made by the first start")
    loose = next((path for path in (folder, *folder.rglob("*")) if _is_shared(path)), None)
    if loose is not None:
        return Finding("keys folder", Grade.FAIL, f"{loose}: others may read it; chmod go=")
    return Finding("keys folder", Grade.OK, f"{folder}: only its owner may read it")


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < FILES_FEW:
        text = f"{limit}; raise it (ulimit -n): each connection is one"
        return Finding("open files", Grade.WARN, text)
    return Finding("open files", Grade.OK, f"{limit}")


def _is_shared(path: Path) -> bool:
    """Whether group or others have any right to it."""
    return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)


def _nearest(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next(parent for parent in folder.parents if parent.exists())
