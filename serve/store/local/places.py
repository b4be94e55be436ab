"""Files of the embedded store: where they are, and what a server finds before it starts."""

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.models.cache import write_atomically
from serve.errors import Code, ServeError
from serve.store.local import launch

SOCKET_PATH_BYTES_MAX = 100  # the kernel takes 107 and a terminating zero
LOG_BYTES_MAX = 2**20
WORDS_BYTES_MAX = 2**14
FIRST_WORDS = "Redis is starting"
LOG_NAME = "appendonly.aof"
UNFINISHED = "temp-*.aof"
UNFINISHED_DUMP = "temp-*.rdb"

CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
daemonize no
supervised no
dir "{folder}"
logfile "{folder}/redis.log"
databases 1
appendonly {appendonly}
appendfilename "appendonly.aof"
appendfsync always
no-appendfsync-on-rewrite no
aof-use-rdb-preamble no
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb
save ""
dbfilename dump.rdb
maxmemory-policy noeviction
crash-memcheck-enabled no
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of an embedded store are."""

    folder: Path
    loads_dump: bool = False  # of a server that begins with a snapshot, and writes no file yet

    @property
    def dump(self) -> Path:
        """The snapshot that a backup is made of, or that a restore begins with."""
        return self.folder / "dump.rdb"

    @property
    def backup_lock(self) -> Path:
        """Held while a backup is taken."""
        return self.folder / "backup"

    @property
    def stage(self) -> Path:
        """The data directory of a restore, until it is whole."""
        return self.folder.parent / "restoring"

    @property
    def log(self) -> Path:
        """The append-only file: all records."""
        return self.folder / LOG_NAME

    def log_bytes(self) -> int:
        """Size of the append-only file; 0 while there is none."""
        return _size_bytes(self.log)

    def rewritten_bytes(self) -> int:
        """What a rewrite of it that is under way has written so far."""
        return sum(map(_size_bytes, self.folder.glob(UNFINISHED)))

    def disk_free_bytes(self) -> int:
        """Bytes that may still be written beside it. Raises OSError."""
        status = os.statvfs(nearest(self.folder))
        return status.f_bavail * status.f_frsize

    def last_words(self) -> str:
        """What the last server wrote to its log."""
        with suppress(OSError):
            text = (self.folder / "redis.log").read_bytes()[-WORDS_BYTES_MAX:]
            return text.decode(errors="replace").rpartition(FIRST_WORDS)[2]
        return ""

    @property
    def supervisor_lock(self) -> Path:
        """Held by whoever may start and stop servers."""
        return self.folder / "lock"

    @property
    def users_lock(self) -> Path:
        """Shared by the commands that use the server."""
        return self.folder / "users"

    @property
    def server_lock(self) -> Path:
        """Held by a live server."""
        return self.folder / "server"

    @property
    def socket_record(self) -> Path:
        """Names the folder of the socket, where that is not this one."""
        return self.folder / "socket-folder"

    @property
    def socket(self) -> Path:
        """The unix socket that a server listens on."""
        with suppress(FileNotFoundError):
            return Path(os.fsdecode(self.socket_record.read_bytes())) / "redis.sock"
        return self.folder / "redis.sock"


def places(data_dir: Path) -> Places:
    """The files of the embedded store of `data_dir`; nothing is created."""
    return Places(data_dir.absolute() / "redis")


def make_folder(folder: Path) -> None:
    """The private folder of a store, in a private data directory. Raises `file_unwritable`."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error


def prepare(where: Places, executable: Path, mode: str) -> list[str]:
    """The command that starts a server, its files made ready; no server may be alive.

    `mode` is `child` or `detach`, as `launch` explains. Raises `file_unwritable`, which a disk
    that is full is not as long as nothing has to change.
    """
    try:
        return _prepare(where, executable, mode)
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{where.folder}: {error.strerror}") from error


def _prepare(where: Places, executable: Path, mode: str) -> list[str]:
    _clear(where)
    log = where.folder / "redis.log"
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(where.folder / "redis.log.1")
    _settle_socket(where)
    configuration = where.folder / "redis.conf"
    text = CONFIGURATION.format(
        socket=where.socket, folder=where.folder, appendonly="no" if where.loads_dump else "yes"
    ).encode()
    if not configuration.exists() or configuration.read_bytes() != text:
        write_atomically(configuration, text)
    script = [sys.executable, "-I", "-S", str(launch.__file__), mode, str(os.getpid())]
    return [*script, str(executable), str(configuration)]


def _clear(where: Places) -> None:
    """What a rewrite, a backup or a restore that died left behind; it may hold the erased."""
    left = [*where.folder.glob(UNFINISHED), *where.folder.glob(UNFINISHED_DUMP)]
    for unfinished in left if where.loads_dump else [*left, where.dump]:
        unfinished.unlink(missing_ok=True)
    shutil.rmtree(where.stage, ignore_errors=True)


def _settle_socket(where: Places) -> None:
    """Where the path is too long for a socket, put that into a short private folder."""
    if len(os.fsencode(where.folder / "redis.sock")) <= SOCKET_PATH_BYTES_MAX:
        where.socket_record.unlink(missing_ok=True)
        return
    if where.socket_record.exists() and _is_private(where.socket.parent):
        return
    short = tempfile.mkdtemp(prefix="limen-")
    if len(os.fsencode(Path(short) / "redis.sock")) > SOCKET_PATH_BYTES_MAX:
        Path(short).rmdir()
        raise ServeError(
            Code.STORE_UNSUPPORTED,
            f"{where.folder} and the folder for temporary files are too long for a unix socket",
        )
    write_atomically(where.socket_record, os.fsencode(short))


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest above it that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _size_bytes(path: Path) -> int:
    with suppress(FileNotFoundError, NotADirectoryError):
        return path.stat().st_size
    return 0


def _is_private(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        status = folder.lstat()
        return folder.is_dir() and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return False
