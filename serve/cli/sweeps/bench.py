"""`limen bench sweep`: how fast everybody is compared with everybody, and what that disturbs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.errors import DeviceError
from index.sweep.blas import BlasKernel
from index.sweep.choose import open_kernel
from index.sweep.kernel import Kernel
from serve.bench.measure import describe_machine
from serve.bench.search.gallery import Say
from serve.bench.search.rivals import versions
from serve.bench.sweeps.crowd import FACES_PER_PLANTED, THRESHOLD
from serve.bench.sweeps.goals import goals
from serve.bench.sweeps.gpu import NO_GPU, Gpu, measure_gpu
from serve.bench.sweeps.live import measure_live
from serve.bench.sweeps.rings import measure_rings
from serve.bench.sweeps.speed import all_threads, measure_sweep
from serve.cli.options import AsJson, print_json, write_file
from serve.cli.search.bench import SEED, size_of
from serve.cli.sweeps.bench_tables import print_sweeps
from serve.pictures.sweep_bench import draw_sweeps

SIZES = ("20000x128", "100000x128", "20000x512")
LIVE = 100_000
RING_FACES, RING_DIMENSION = 20_000, 128
RING_FACES_MIN = 400


def bench_sweep(  # noqa: PLR0913 (typer makes an option of each)
    *,
    size: Annotated[
        list[str] | None, typer.Option(help=f"FACESxDIMENSION, once for each; else {SIZES}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds behind each figure.")] = 3,
    live: Annotated[
        int, typer.Option(min=0, max=10**7, help="Faces to search beside a sweep; 0 for none.")
    ] = LIVE,
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Part of the time that sweep works.")
    ] = 0.5,
    rings: Annotated[
        bool, typer.Option("--rings", help="Grow rings where it is known who is whom, as well.")
    ] = False,
    ring_faces: Annotated[
        int, typer.Option(min=RING_FACES_MIN, max=10**6, help="Faces that those grow among.")
    ] = RING_FACES,
    plot: Annotated[Path | None, typer.Option(help="Write the figures as a picture here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time sweeps beside a bare matrix product and faiss, and searches beside a sweep."""
    sizes = [size_of(text, FACES_PER_PLANTED) for text in size or SIZES]
    say = Console(stderr=True).print
    kernels = _kernels()
    sweepings = [
        measure_sweep(kernel, each, SEED, rounds, say, kernels if kernel is kernels[-1] else ())
        for each in sizes
        for kernel in kernels
    ]
    beside = measure_live(live, share, rounds, SEED, say) if live else None
    gpu = _gpu(rounds, say)
    found = measure_rings(kernels[-1], ring_faces, RING_DIMENSION, SEED, say) if rings else None
    report = {
        "machine": describe_machine(),
        "command": shlex.join(["limen", *sys.argv[1:]]),
        "versions": versions(),
        "rounds": rounds,
        "threads": all_threads(),
        "threshold": THRESHOLD,
        "goals": [goal.encode() for goal in goals(sweepings, beside, gpu, found)],
        "sweeps": [each.encode() for each in sweepings],
        "live": None if beside is None else beside.encode(),
        "gpu": NO_GPU if gpu is None else gpu.encode(),
        "rings": None if found is None else found.encode(),
    }
    if plot is not None:
        write_file(plot, draw_sweeps(sweepings, beside, found))
    if as_json:
        print_json(report)
    else:
        print_sweeps(report)


def _kernels() -> list[Kernel]:
    """What every install has; and what this one takes on a processor, last, where it is another."""
    every, best = BlasKernel(), open_kernel("cpu")
    return [every] if best.name == every.name else [every, best]


def _gpu(rounds: int, say: Say) -> Gpu | None:
    """Tiles on a GPU, where there is one."""
    try:
        kernel = open_kernel("cuda")
    except DeviceError:
        return None
    return measure_gpu(kernel, rounds, SEED, say)
