"""`limen bench pipeline`: what each stage of the pipeline costs, and the whole of it.

Stages are timed on what the stage before made, so that each figure is that stage's own. The
whole path is timed from encoded bytes to evidence, by batch size and by worker threads.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from pipeline.errors import Failure, PipelineError
from pipeline.evidence import Detection, Image, Mesh, Pixels
from pipeline.face.age import estimate_ages
from pipeline.face.align import cut_chip
from pipeline.face.batch import CPU, BatchSizes, up_to
from pipeline.face.detect import detect_faces
from pipeline.face.embed import make_templates
from pipeline.face.liveness import detect_attacks
from pipeline.face.mesh import fit_meshes
from pipeline.face.pose import pose_of
from pipeline.face.steps import DECODE_SIDE_PX, FaceModels, FacePipeline, Plan
from pipeline.image.decode import decode_all
from pipeline.image.quality import assess
from serve.bench.baseline import DlibEmbedder
from serve.bench.measure import Timing, Work, time_work
from serve.errors import Code, ServeError

BATCHES = (1, 2, 4, 8, 16, 32, 64)
STAGE_BATCHES = (1, 8, 64)
# The path a login takes: everything but what only some tenants ask for.
SELFIE = Plan(age=False, passive_liveness=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line."""

    group: str  # "stage", "embedding" or "whole"
    name: str
    frame: str
    batch: int
    threads: int
    timing: Timing

    def encode(self) -> dict[str, str | int | float]:
        """One flat line of a JSON report."""
        return {
            "group": self.group,
            "name": self.name,
            "frame": self.frame,
            "batch": self.batch,
            "threads": self.threads,
            **self.timing.encode(),
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """One frame, taken through every stage once."""

    data: bytes
    image: Image
    detections: tuple[Detection, ...]
    mesh: Mesh
    chip: Pixels


def prepare(models: FaceModels, data: bytes) -> Prepared:
    """Take a frame through the stages. Raises `no_face`, or what its decoding met."""
    (image,) = decode_all([data], DECODE_SIDE_PX)
    if isinstance(image, Failure):
        raise PipelineError(image.code, image.detail)
    (detections,) = detect_faces(models.detection, [image.pixels], CPU.detection)
    if not detections:
        raise ServeError(Code.NO_FACE, f"in the frame of {image.width_px} x {image.height_px} px")
    (mesh,) = fit_meshes(models.mesh, [image.pixels], [detections[0]], CPU.mesh)
    return Prepared(data, image, detections, mesh, cut_chip(image.pixels, mesh))


def bench_stages(  # noqa: PLR0913 (what is measured, and how)
    models: FaceModels,
    frame: str,
    prepared: Prepared,
    batch: int,
    rounds: int,
    *,
    sizes: BatchSizes = CPU,
) -> Iterator[Row]:
    """Each stage alone, on one thread, for a batch of copies of one frame.

    `sizes` are those in which the pipeline that is measured runs its models.
    """
    pixels = [prepared.image.pixels] * batch
    faces, meshes = [prepared.detections[0]] * batch, [prepared.mesh] * batch
    stages: dict[str, Work] = {
        "decode": partial(decode_all, [prepared.data] * batch, DECODE_SIDE_PX),
        "detect": partial(detect_faces, models.detection, pixels, sizes.detection),
        "mesh": partial(fit_meshes, models.mesh, pixels, faces, sizes.mesh),
        "align": lambda: [cut_chip(prepared.image.pixels, mesh) for mesh in meshes],
        "embed": partial(
            make_templates, models.embedding, [prepared.chip] * batch, sizes.embedding
        ),
        "quality": partial(_assess_all, prepared, batch),
    }
    if models.age is not None:
        stages["age"] = partial(estimate_ages, models.age, pixels, faces, sizes.age)
    if models.passive_liveness:
        stages["passive_liveness"] = partial(
            detect_attacks, models.passive_liveness, pixels, meshes, sizes.passive_liveness
        )
    timings = time_work({name: (work, batch) for name, work in stages.items()}, rounds)
    for name, timing in timings.items():
        yield Row("stage", name, frame, batch, 1, timing)


def bench_embedding(
    models: FaceModels, prepared: Prepared, baseline: DlibEmbedder | None, rounds: int
) -> Iterator[Row]:
    """The embedder at every batch size, and dlib on the same chip in the same rounds."""
    works: dict[tuple[str, int], tuple[Work, int]] = {
        ("limen", batch): (
            partial(make_templates, models.embedding, [prepared.chip] * batch, up_to(batch)),
            batch,
        )
        for batch in BATCHES
    }
    if baseline is not None:
        works["dlib", 1] = (partial(baseline.embed, prepared.chip), 1)
    timings = time_work({f"{name}/{n}": work for (name, n), work in works.items()}, rounds)
    for name, batch in works:
        yield Row("embedding", name, "chip", batch, 1, timings[f"{name}/{batch}"])


def bench_whole(
    faces: FacePipeline, frame: str, data: bytes, layouts: Sequence[tuple[int, int]], rounds: int
) -> Iterator[Row]:
    """Bytes to evidence, for each (batch, threads) layout, all layouts in the same rounds."""
    pools = {threads: ThreadPoolExecutor(threads) for _, threads in layouts}
    try:
        works = {
            f"{batch}x{threads}": (
                partial(_run_threads, pools[threads], faces, [data] * batch, threads),
                batch * threads,
            )
            for batch, threads in layouts
        }
        timings = time_work(works, rounds)
    finally:
        for pool in pools.values():
            pool.shutdown()
    for batch, threads in layouts:
        yield Row("whole", "selfie", frame, batch, threads, timings[f"{batch}x{threads}"])


def _run_threads(
    pool: ThreadPoolExecutor, faces: FacePipeline, batch: list[bytes], threads: int
) -> None:
    for done in [pool.submit(faces.run, batch, SELFIE) for _ in range(threads)]:
        done.result()


def _assess_all(prepared: Prepared, batch: int) -> None:
    pose = pose_of(prepared.mesh)
    for _ in range(batch):
        assess(prepared.image, prepared.detections, prepared.mesh, pose, prepared.chip)
