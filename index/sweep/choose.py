"""Which kernel a machine is best served by."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from index.sweep.blas import BlasKernel
from index.sweep.kernel import Kernel


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Let each matrix product use `count` cores meanwhile, in the whole process. Tiles that are
    worked on in threads of their own want one.
    """
    with threadpool_limits(count):
        yield


def open_kernel(device: str = "auto") -> Kernel:  # noqa: ARG001
    """The fastest kernel there is on "cpu" or "cuda", or on either ("auto")."""
    return BlasKernel()
