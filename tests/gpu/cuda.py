"""What a GPU is used through, and how fast it is at the product of two matrices.

Written without a GPU and never run on one.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import onnxruntime
import pytest

from pipeline.models.options import Device, Precision, Runtime, SessionOptions

ONNXRUNTIME = SessionOptions(device=Device.CUDA)
TORCH = replace(ONNXRUNTIME, runtime=Runtime.TORCH)
ENGINES = {
    "onnxruntime fp32": ONNXRUNTIME,
    "onnxruntime fp16": replace(ONNXRUNTIME, precision=Precision.FP16),
    "torch fp32": TORCH,
    "torch fp16": replace(TORCH, precision=Precision.FP16),
}
ROUNDS = 7  # timed, after two that are not
SIDE = 8192  # of the matrices


def available(name: str) -> SessionOptions:
    """The options of an engine that this machine has; skips where it has it not."""
    options = ENGINES[name]
    if options.runtime is Runtime.TORCH:
        torch = pytest.importorskip("torch", reason="no CUDA: torch is not installed")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA: torch finds no device")
    elif "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("no CUDA: this ONNX Runtime was built without it")
    return options


def seconds(work: Callable[[], object]) -> float:
    """The median time of one call that returns when the device is done."""
    taken = []
    for _ in range(2 + ROUNDS):
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return sorted(taken[2:])[ROUNDS // 2]


def matrix_flops_per_s() -> float:
    """What the device reaches on half-precision matrices: the yardstick of every model.

    Skips where torch has no device, which it is measured with.
    """
    available("torch fp16")
    import torch  # noqa: PLC0415 (an extra)

    left = torch.randn(SIDE, SIDE, dtype=torch.float16, device="cuda")
    right = torch.randn(SIDE, SIDE, dtype=torch.float16, device="cuda")

    def work() -> None:
        torch.matmul(left, right)
        torch.cuda.synchronize()

    return 2 * SIDE**3 / seconds(work)
