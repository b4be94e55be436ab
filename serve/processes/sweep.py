"""The sweeper: bulk sweeps, worked on in what time nobody else needs, and kept free of the gone."""

import asyncio
import os

from index.errors import DeviceError
from index.sweep.choose import blas_threads, open_kernel
from index.sweep.kernel import Kernel
from pipeline.errors import Code
from serve.app import open_deps
from serve.errors import ServeError
from serve.flows.sweeps.upkeep import run_sweep_upkeep
from serve.flows.sweeps.work import Options, Sweeper
from serve.processes.lifeline import Announce
from serve.settings import Settings

NICENESS = 19  # whoever else wants a core has it
MIB = 2**20


def sweeper_options(settings: Settings, share: float = 1.0) -> Options:
    """How many threads a worker of this machine has, and how much memory."""
    section = settings.sweeps
    threads = section.threads or max(1, (os.cpu_count() or 1) // 2)
    return Options(threads, section.memory_mib * MIB, share)


def sweeper_kernel(settings: Settings) -> Kernel:
    """What multiplies on this machine. It may take seconds. Raises `device_unavailable`."""
    try:
        return open_kernel(settings.sweeps.device.value)
    except DeviceError as error:
        raise ServeError(Code.DEVICE_UNAVAILABLE, error.detail) from error


async def run_sweep(settings: Settings, announce: Announce, stop: asyncio.Event) -> None:
    """Work on sweeps until `stop`; `announce` once connected. With a share of 0 it only keeps what
    sweeps came to free of who has gone.
    """
    os.nice(NICENESS)
    share = settings.sweeps.share
    async with open_deps(settings, with_models=False, with_scale=True, supervised=True) as deps:
        kernel = await asyncio.to_thread(sweeper_kernel, settings)
        sweeper = Sweeper(deps, kernel, sweeper_options(settings, share or 1.0))
        with blas_threads(1):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run_sweep_upkeep(deps, stop))
                if share:
                    tasks.create_task(sweeper.run(stop))
                announce()
    if not sweeper.is_idle:
        os._exit(0)  # a thread is at a tile that has been given back, and would be for long
