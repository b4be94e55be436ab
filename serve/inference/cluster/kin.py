"""The processes of this install's own cluster: where they listen, and ending what was left.

Ray's processes outlive a `kill -9` of what started them by a minute or for good. Each of ours
carries the path of this install's token in its environment, which is how they are known.
"""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from serve.inference.cluster.environment import TOKEN_PATH_VARIABLE

WAIT_S_MAX = 5.0


def kin(token_file: Path) -> Iterator[psutil.Process]:
    """Every process of the cluster with this token, and the engine that drives it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_own = process.uids().real == os.getuid()
            if is_own and process.environ().get(TOKEN_PATH_VARIABLE) == str(token_file):
                yield process


def end_leftovers(token_file: Path) -> int:
    """Kill them all but the caller and its forebears; how many."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = [process for process in kin(token_file) if process.pid not in ours]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=WAIT_S_MAX)
    return len(found)


def exposed(token_file: Path) -> list[str]:
    """Where they listen beyond this machine's loopback, as `name address:port`."""
    return [
        f"{process.name()} {connection.laddr.ip}:{connection.laddr.port}"
        for process in kin(token_file)
        for connection in _connections(process)
        if connection.status == psutil.CONN_LISTEN and not _is_loopback(connection.laddr.ip)
    ]


def _connections(process: psutil.Process) -> list[Any]:
    with suppress(psutil.Error):
        return list(process.net_connections("inet"))
    return []


def _is_loopback(address: str) -> bool:
    """Also of IPv4 addresses written as IPv6."""
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
