"""Which kernel is opened where, and how many cores it takes."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from index.errors import Code, DeviceError
from index.sweep import torch_tiles
from index.sweep.choose import blas_threads, open_kernel
from tests.helpers import tree

ALONE = """
import sys
sys.modules["torch"] = None
from index.errors import DeviceError
from index.sweep.choose import blas_threads, open_kernel
with blas_threads(1):
    print(open_kernel().name, open_kernel("cpu").name)
try:
    open_kernel("cuda")
except DeviceError as error:
    print(error)
"""


def test_a_processor_is_served_by_what_suits_it() -> None:
    """bfloat16 where it multiplies that itself, else numpy."""
    wanted = "torch bfloat16 on cpu" if torch_tiles.has_bfloat16() else "numpy float32"
    assert open_kernel("cpu").name == wanted
    if not torch.cuda.is_available():
        assert open_kernel().name == wanted


@pytest.mark.parametrize("device", ["tpu", "", "cuda"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    """By a code, and never by another in its place."""
    if device == "cuda" and torch.cuda.is_available():
        assert open_kernel(device).name == "torch bfloat16 on cuda"
        return
    with pytest.raises(DeviceError) as caught:
        open_kernel(device)
    assert caught.value.code is Code.DEVICE_UNAVAILABLE


def test_without_torch_numpy_does() -> None:
    """Nothing of it is needed but for a GPU, which is refused with a hint."""
    ran = tree.run("-c", ALONE)
    assert ran.stdout.splitlines() == [
        "numpy float32 numpy float32",
        "device_unavailable: no GPU: torch is not installed: install limen[gpu]",
    ], ran.stderr


def test_cores_are_bounded_meanwhile() -> None:
    """Of numpy's matrix products and of torch's; and as they were after."""
    np.ones((9, 9)) @ np.ones((9, 9))

    def cores() -> tuple[set[int], int]:
        blas = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        return set(blas), torch.get_num_threads()

    before = cores()
    with blas_threads(1):
        assert cores() == ({1}, 1)
    assert cores() == before
