"""From settings to a pipeline that runs: alike in a front door, in a command and in a replica."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.image.header import Limits
from pipeline.models.cache import ModelCache
from pipeline.models.load import Detector, LoadedPack, load_faces
from pipeline.models.options import Device, Precision, Runtime, SessionOptions
from serve.settings import Settings


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Plain values, because they travel to other machines. What they mean is said in `settings`.

    `memory_bytes_max` bounds what the models take of a GPU, see `SessionOptions`.
    """

    cache_dir: str
    detector: str
    image_bytes_max: int
    image_pixels_max: int
    runtime: str = Runtime.ONNXRUNTIME.value
    device: str = Device.CPU.value
    precision: str = Precision.FP32.value
    memory_bytes_max: int = 0

    @property
    def limits(self) -> Limits:
        """How large an image may be."""
        return Limits(size_bytes_max=self.image_bytes_max, pixels_max=self.image_pixels_max)


def pack_options(settings: Settings) -> PackOptions:
    """The pipeline that these settings ask for."""
    wanted = settings.pipeline
    return PackOptions(
        cache_dir=str(settings.models.cache_dir.absolute()),
        detector=wanted.detector.value,
        image_bytes_max=wanted.image_bytes_max,
        image_pixels_max=wanted.image_pixels_max,
        runtime=wanted.runtime.value,
        device=wanted.device.value,
        precision=wanted.precision.value,
    )


def open_pack(options: PackOptions) -> LoadedPack:
    """The packs of this machine's cache, opened. Raises what `load_faces` raises."""
    sessions = SessionOptions(
        runtime=Runtime(options.runtime),
        device=Device(options.device),
        precision=Precision(options.precision),
        memory_bytes_max=options.memory_bytes_max,
    )
    cache = ModelCache(Path(options.cache_dir))
    return load_faces(cache, Detector(options.detector), options.limits, sessions)
