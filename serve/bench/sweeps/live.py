"""Searches beside a sweep: how long single probes take with and without one in another process.

Probes come one by one at a steady pace and each counts from when it was due, so that a search that
had to wait for a core shows it. The sweep is what a worker does: as nice as can be, tiles in
half of the cores, for a part of the time.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from time import perf_counter
from typing import Any

from index import yardstick
from index.arena import Arena
from index.entry import Vectors
from index.sweep.choose import blas_threads, open_kernel
from serve.bench.search.gallery import Latency, Say, asked, filled
from serve.bench.search.templates import People
from serve.bench.sweeps.crowd import THRESHOLD, crowd
from serve.bench.sweeps.speed import Job, all_threads
from serve.domain.sweeps.plan import keep_below
from serve.flows.sweeps.tiles import Pace

DIMENSION = 128
SWEPT = 16_384  # faces that the worker sweeps again and again
PER_S = 50
TURN = 200  # probes of each turn
PROBES = 256
NICE = 19
READY_S = 120.0
LOOK_S = 1.0  # between two looks whether anybody is there to end the worker


@dataclass(frozen=True, slots=True)
class Live:
    """Of single probes among `faces`, `alone` and `beside` a sweep that works `share` of the time
    in `threads` threads, and compared `pairs_per_s` meanwhile.
    """

    faces: int
    share: float
    threads: int
    alone: Latency
    beside: Latency
    pairs_per_s: float

    @property
    def p99_ratio(self) -> float:
        """Beside over alone."""
        return self.beside.p99_ms / self.alone.p99_ms

    def encode(self) -> dict[str, Any]:
        """For a JSON report."""
        return {
            "faces": self.faces,
            "dimension": DIMENSION,
            "probes_per_s": PER_S,
            "sweep": {
                "share": self.share,
                "threads": self.threads,
                "nice": NICE,
                "pairs_per_s": round(self.pairs_per_s),
            },
            "alone_ms": asdict(self.alone),
            "beside_ms": asdict(self.beside),
            "p50_ratio": round(self.beside.p50_ms / self.alone.p50_ms, 3),
            "p99_ratio": round(self.p99_ratio, 3),
        }


def measure_live(faces: int, share: float, rounds: int, seed: int, say: Say) -> Live:
    """Turns of probes, by turns without and with the sweep."""
    yardstick.use_threads(1)
    people = People(DIMENSION, seed)
    templates = people.templates(faces)
    probes = people.mates(templates[:PROBES])
    threads = max(1, all_threads() // 2)
    say(f"{faces:,} x {DIMENSION}: probes, with and without a sweep beside them")
    arena = filled(templates)
    alone: list[float] = []
    beside: list[float] = []
    with _worker(share, threads, seed) as (running, compared):
        _turn(arena, probes)  # unmeasured
        swept_s = 0.0
        for _ in range(rounds):
            alone += _turn(arena, probes)
            running.set()
            began_s = perf_counter()
            beside += _turn(arena, probes)
            swept_s += perf_counter() - began_s
            running.clear()
        pairs_per_s = compared.value / swept_s
    return Live(faces, share, threads, Latency.of(alone), Latency.of(beside), pairs_per_s)


def _turn(arena: Arena, probes: Vectors) -> list[float]:
    """Seconds of single probes from when each was due."""
    began_s = perf_counter()
    times_s = []
    for number in range(TURN):
        due_s = began_s + number / PER_S
        time.sleep(max(0.0, due_s - perf_counter()))
        at = number % len(probes)
        asked(arena, probes[at : at + 1])
        times_s.append(perf_counter() - due_s)
    return times_s


@contextmanager
def _worker(share: float, threads: int, seed: int) -> "Iterator[tuple[Event, Synchronized[float]]]":
    """A process that sweeps while the event is set; and the pairs that it has compared so far."""
    context = multiprocessing.get_context("spawn")
    ready, running = context.Event(), context.Event()
    compared: Synchronized[float] = context.Value("d", 0.0)
    words = (share, threads, seed, ready, running, compared)
    process = context.Process(target=work, args=words, daemon=True)
    process.start()
    try:
        assert ready.wait(READY_S), "the sweep beside did not begin"
        yield running, compared
    finally:
        process.kill()
        process.join()


def work(  # noqa: PLR0913, PLR0917 (a process has no other way to be told)
    share: float,
    threads: int,
    seed: int,
    ready: Event,
    running: Event,
    compared: "Synchronized[float]",
) -> None:
    """Sweep one gallery again and again in threads that rest in proportion, as a worker's do, until
    the process is ended or has lost its parent.
    """
    os.nice(NICE)
    parent = os.getppid()
    job = Job.of(open_kernel("cpu"), crowd(SWEPT, DIMENSION, seed))
    keep = keep_below(SWEPT, len(job.tiles), is_known=True)
    pace, tiles = Pace(share), cycle(job.tiles)

    def sweep() -> None:
        while True:
            pace.rest()
            running.wait()
            began_s = perf_counter()
            found = job.meet(next(tiles), threshold=THRESHOLD, keep=keep)
            pace.worked(perf_counter() - began_s)
            with compared.get_lock():
                compared.value += found.compared

    with blas_threads(1):
        for _ in range(threads):
            threading.Thread(target=sweep, daemon=True).start()
        ready.set()
        while os.getppid() == parent:
            time.sleep(LOOK_S)
