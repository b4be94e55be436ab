"""Which kernel a machine is best served by."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from threadpoolctl import threadpool_limits

from index.errors import Code, DeviceError
from index.sweep.blas import BlasKernel
from index.sweep.kernel import Kernel

DEVICES = ("auto", "cpu", "cuda")


def open_kernel(device: str = "auto") -> Kernel:
    """The fastest kernel there is on "cpu" or "cuda", or on either of them ("auto"): torch in
    bfloat16 on a GPU, or on a processor that multiplies it; else numpy. Raises DeviceError with
    `device_unavailable`.
    """
    if device not in DEVICES:
        raise DeviceError(Code.DEVICE_UNAVAILABLE, f"a sweep runs on one of {', '.join(DEVICES)}")
    tiles = _torch_tiles()
    kernel: Kernel = BlasKernel()
    if device != "cpu" and tiles is not None and tiles.has_cuda():
        kernel = tiles.CudaKernel()
    elif device == "cuda":
        missing = "torch finds none" if tiles else "torch is not installed: install limen[gpu]"
        raise DeviceError(Code.DEVICE_UNAVAILABLE, f"no GPU: {missing}")
    elif tiles is not None and tiles.has_bfloat16():
        kernel = tiles.TorchKernel()
    return kernel


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Let each matrix product use `count` cores meanwhile, in the whole process; to be called
    before the threads are started that multiply. Tiles that are worked on in threads of their own
    want one.
    """
    tiles = _torch_tiles()
    with threadpool_limits(count):
        before = tiles.use_threads(count) if tiles is not None else count
        try:
            yield
        finally:
            if tiles is not None:
                tiles.use_threads(before)


@cache
def _torch_tiles() -> ModuleType | None:
    """The kernels of torch; None where it is not installed. It takes a second to import."""
    try:
        from index.sweep import torch_tiles  # noqa: PLC0415 (an extra)
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
        return None
    return torch_tiles
