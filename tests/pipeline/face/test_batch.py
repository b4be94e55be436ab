"""Batches: sizes that suit the device, and an item's result the same in all of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import Code, Failure
from pipeline.evidence import FaceEvidence, Mesh, Pixels, Template
from pipeline.face.batch import CPU, GPU, BatchSizes, Buckets, padded_to, run_batched, up_to
from pipeline.face.liveness import CroppedModel
from pipeline.face.steps import FaceModels, FacePipeline, Plan, Prepared
from pipeline.image.decode import encode_png
from pipeline.models.load import LoadedPack
from pipeline.ports import Arrays, Model

TASKS = ("first", "second", "mesh", "embedding", "age", "passive_liveness")


class Counting:
    """A model that keeps the size of each batch it was run on."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.model_id = model.model_id
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The model's answer."""
        self.sizes += [len(batch) for batch in inputs.values()]
        return self._model.run(inputs)


class Doubling:
    """A model whose answer to a row is twice the row."""

    model_id = "doubling"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """One output for the one input."""
        return {"doubled": inputs["rows"] * 2}


@st.composite
def buckets(draw: st.DrawFn) -> Buckets:
    """Any rule there is, with small batches."""
    return draw(st.sampled_from([up_to, padded_to]))(2 ** draw(st.integers(0, 4)))


@given(st.integers(1, 40), buckets())
def test_every_item_comes_back_from_runs_of_the_sizes(count: int, rule: Buckets) -> None:
    """However many items there are, each has its own row, and no run is of another size."""
    model = Counting(Doubling())
    rows = [np.full((3,), i) for i in range(count)]
    found = run_batched(model, "rows", rows, rule)["doubled"]
    assert found.tolist() == [[2 * i] * 3 for i in range(count)]
    assert max(model.sizes) <= rule.items_max
    assert set(model.sizes) <= set(rule.sizes) or not rule.is_padded
    assert sum(model.sizes) == count or rule.is_padded


def test_a_cpu_never_pads_and_a_gpu_meets_few_shapes() -> None:
    """On a CPU five items are a run of five; on a GPU a run of eight, one of seven sizes."""
    assert CPU.embedding.size_of(5) == 5
    assert GPU.embedding.size_of(5) == 8
    assert GPU.embedding.sizes == (1, 2, 4, 8, 16, 32, 64)
    assert CPU.embedding.sizes == (1, 16)
    assert CPU.detection.sizes == (1,)


@pytest.fixture(scope="module")
def photos(tiles: list[list[Pixels]]) -> list[bytes]:
    """Five different faces, and a picture so far from square that the detector looks twice."""
    faces = [tiles[row][column] for row in (0, 3) for column in (0, 7)] + [tiles[5][13]]
    wide = np.pad(faces[0], ((0, 0), (0, 8 * faces[0].shape[1]), (0, 0)), mode="reflect")
    return [encode_png(each) for each in [*faces, np.ascontiguousarray(wide)]]


def counting(models: FaceModels) -> tuple[FaceModels, dict[str, list[Counting]]]:
    """The same models, each with a count of its own."""
    detection = models.detection
    first, second = Counting(detection.first), Counting(detection.second)
    mesh, embedding = Counting(models.mesh), Counting(models.embedding)
    age = Counting(models.age or Doubling())
    pad = [Counting(cropped.model) for cropped in models.passive_liveness]
    counted = FaceModels(
        replace(detection, first=first, second=second), mesh, embedding, age,
        tuple(CroppedModel(model, cropped.crop_factor)
              for model, cropped in zip(pad, models.passive_liveness, strict=True)),
    )  # fmt: skip
    lists = [[first], [second], [mesh], [embedding], [age], pad]
    return counted, dict(zip(TASKS, lists, strict=True))


def fingerprint(outcome: FaceEvidence | Failure) -> tuple[Any, ...]:
    """All that a model had a part in, to the last bit."""
    assert isinstance(outcome, FaceEvidence)
    assert isinstance(outcome.template, Template)
    assert isinstance(outcome.mesh, Mesh)
    assert outcome.chip is not None
    numbers = (outcome.template.vector, outcome.mesh.points, outcome.chip)
    return (*(array.tobytes() for array in numbers), outcome.age, outcome.quality)


@pytest.mark.models
@pytest.mark.parametrize("sizes", [CPU, GPU], ids=["cpu", "gpu"])
def test_batch_and_padding_change_no_byte(
    pack: LoadedPack, photos: list[bytes], sizes: BatchSizes
) -> None:
    """On a CPU an item's result is the same to the byte in every bucket, whatever fills it up."""
    plan = Plan(chip=True)
    alone = [fingerprint(pack.faces.run([data], plan)[0]) for data in photos]
    faces = FacePipeline(pack.models, batches=sizes)
    for batch in (1, 2, 3, 5, 6):
        together = [fingerprint(each) for each in faces.run(photos[:batch], plan)]
        assert together == alone[:batch]
    backwards = [fingerprint(each) for each in faces.run(photos[::-1], plan)]
    assert backwards == alone[::-1]


@pytest.mark.models
def test_a_gpu_s_models_meet_no_other_size(pack: LoadedPack, photos: list[bytes]) -> None:
    """Every run of every model is of one of its buckets' sizes, in a batch of any size."""
    models, seen = counting(pack.models)
    faces = FacePipeline(models, batches=GPU)
    for batch in (1, 3, 5, 6):
        faces.run(photos[:batch])
    for task in TASKS[:-1]:
        (model,) = seen[task]
        assert model.sizes
        assert set(model.sizes) <= set(GPU.embedding.sizes)


@pytest.mark.models
@pytest.mark.parametrize("sizes", [CPU, GPU], ids=["cpu", "gpu"])
def test_warming_meets_every_size(pack: LoadedPack, sizes: BatchSizes) -> None:
    """Each model, both looks of the detector among them, is run once at each of its sizes."""
    small = replace(sizes, age=up_to(2), embedding=padded_to(4), mesh=padded_to(2))
    small = replace(small, detection=padded_to(2) if sizes is GPU else sizes.detection)
    models, seen = counting(pack.models)
    told: list[tuple[str, int, int]] = []
    runs = FacePipeline(models, batches=small).warm(lambda *step: told.append(step))
    expected = [small.detection, small.detection, small.mesh, small.embedding, small.age]
    for task, rule in zip(TASKS[:-1], expected, strict=True):
        assert seen[task][0].sizes == list(rule.sizes)
    assert runs == sum(len(rule.sizes) for rule in expected)
    assert [done for _, done, _ in told] == list(range(runs + 1))
    assert {total for _, _, total in told} == {runs}


@pytest.mark.models
def test_warming_meets_passive_liveness(
    pack: LoadedPack, liveness_models: tuple[CroppedModel, ...]
) -> None:
    """Both networks of passive liveness are run at each size too."""
    models, seen = counting(replace(pack.models, passive_liveness=liveness_models))
    FacePipeline(models).warm()
    assert [model.sizes for model in seen["passive_liveness"]] == [[1, 8], [1, 8]]


@pytest.mark.models
def test_the_halves_make_the_whole(pack: LoadedPack, photos: list[bytes]) -> None:
    """Preparing and completing gives what running gives, to the byte, as often as one likes."""
    plan = Plan(chip=True)
    whole = pack.faces.run([photos[0], b"", photos[1]], plan)
    prepared = pack.faces.prepare([photos[0], b"", photos[1]])
    for _ in range(2):
        halves = pack.faces.complete(prepared, [plan] * len(prepared))
        assert halves[1] == whole[1]
        for place in (0, 2):
            assert fingerprint(halves[place]) == fingerprint(whole[place])


@pytest.mark.models
def test_preparing_runs_no_model(pack: LoadedPack, photos: list[bytes]) -> None:
    """The half for the host leaves every model alone, and a bad image fails there, alone."""
    models, seen = counting(pack.models)
    prepared = FacePipeline(models).prepare([photos[0], b"not an image"])
    assert isinstance(prepared[0], Prepared)
    assert isinstance(prepared[1], Failure)
    assert prepared[1].code is Code.NOT_AN_IMAGE
    assert not any(model.sizes for found in seen.values() for model in found)
    assert repr(prepared[0]) == "Prepared()"
