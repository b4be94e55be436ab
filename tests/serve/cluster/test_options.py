"""Serve files: the shipped ones are read, and nothing that is misspelt is."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.options import Device
from serve.errors import Code, ServeError
from serve.inference.cluster.options import (
    FILE_BYTES_MAX,
    Plan,
    ReplicaOptions,
    limits_of,
    options_of,
    read_plan,
)
from serve.settings import EngineSection, Models, Pipeline, Settings
from tests.serve.cluster.serve_files import FOLDER, SHIPPED, with_autoscaling

OPTIONS = ReplicaOptions(
    cache_dir="packs", detector="blazeface", image_bytes_max=2**20, image_pixels_max=2**20, slots=2
)
GPU = FOLDER / "serve-gpu.yaml"


def refused(path: Path, content: str | bytes) -> ServeError:
    """What a file with this content is refused with."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ServeError) as caught:
        read_plan(path)
    return caught.value


def of_deployment(path: Path, options: str) -> Path:
    """A file with one deployment of these options."""
    path.write_text(f"applications: [{{name: limen, deployments: [{{name: Faces, {options}}}]}}]\n")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_read(path: Path) -> None:
    """Each names replicas, and what it says of them is possible."""
    plan = read_plan(path)
    made = OPTIONS.overridden(plan.args)
    assert plan.args.items() <= asdict(made).items()
    assert plan.replicas_max == plan.options["num_replicas"]
    assert made.envelopes <= plan.options["max_ongoing_requests"]
    is_on_gpu = plan.options["ray_actor_options"].get("num_gpus", 0) > 0
    assert is_on_gpu == (made.device == Device.CUDA)


def test_the_one_for_cpus_is_the_default() -> None:
    """Without a file of one's own, replicas run on CPUs."""
    assert read_plan(None) == read_plan(FOLDER / "serve.yaml")
    assert "num_gpus" not in read_plan(None).options["ray_actor_options"]


def test_the_autoscaling_in_the_comments_is_right(tmp_path: Path) -> None:
    """It is valid as it stands there, and aims at half of what the engine keeps on its way."""
    path = tmp_path / "serve.yaml"
    path.write_text(with_autoscaling(GPU.read_text()))
    plan = read_plan(path)
    scaling = plan.options["autoscaling_config"]
    assert "num_replicas" not in plan.options
    assert plan.replicas_max == scaling["max_replicas"] > scaling["min_replicas"] > 0
    assert 2 * scaling["target_ongoing_requests"] == OPTIONS.overridden(plan.args).envelopes


@pytest.mark.parametrize(
    ("options", "replicas_max"),
    [
        ({}, 1),
        ({"num_replicas": 3}, 3),
        ({"autoscaling_config": {"min_replicas": 1, "max_replicas": 4}}, 4),
        ({"autoscaling_config": {}}, 1),
    ],
)
def test_cores_are_shared_by_as_many_as_there_may_be(
    options: dict[str, Any], replicas_max: int
) -> None:
    """With autoscaling that is its upper bound."""
    assert Plan({}, options).replicas_max == replicas_max


@pytest.mark.parametrize(
    ("options", "resources"),
    [
        ({}, {"CPU": 1, "GPU": 0}),
        ({"num_replicas": 3}, {"CPU": 3, "GPU": 0}),
        ({"num_replicas": 3, "ray_actor_options": {"num_cpus": 2, "num_gpus": 0.5}},
         {"CPU": 6, "GPU": 1.5}),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4},
          "ray_actor_options": {"num_gpus": 1}}, {"CPU": 2, "GPU": 2}),
        ({"autoscaling_config": {}, "ray_actor_options": {"num_gpus": 1}}, {"CPU": 1, "GPU": 1}),
    ],
)  # fmt: skip
def test_resources_are_those_of_the_first_replicas(
    options: dict[str, Any], resources: dict[str, float]
) -> None:
    """With autoscaling as few as there may be; a core each unless they say otherwise."""
    assert Plan({}, options).resources == resources


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\xff", Code.CONFIG_UNREADABLE),
        ("applications: [", Code.CONFIG_UNREADABLE),
        ("#" * (FILE_BYTES_MAX + 1), Code.CONFIG_UNREADABLE),
        ("", Code.SETTING_INVALID),
        ("just text", Code.SETTING_INVALID),
        ("applications: []", Code.SETTING_INVALID),
        ("applications: [{name: other, deployments: [{name: Faces}]}]", Code.SETTING_INVALID),
        ("applications: [{name: limen, deployments: [{name: Other}]}]", Code.SETTING_INVALID),
        ("applications: [{name: limen}]", Code.SETTING_INVALID),
        ("applications: [{name: limen, args: 7, deployments: [{name: Faces}]}]",
         Code.SETTING_INVALID),
        ("applications: &a [{name: limen, deployments: [{name: Faces}, {name: Faces}]}]",
         Code.SETTING_INVALID),
    ],
    ids=["not text", "not YAML", "too large", "empty", "text", "no application",
         "another application", "another deployment", "no deployment", "no arguments", "two"],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | bytes, code: Code) -> None:
    """The refusal names the file."""
    error = refused(tmp_path / "mine.yaml", content)
    assert error.code is code
    assert "mine.yaml" in error.detail


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """So is a folder in its place."""
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ServeError) as caught:
            read_plan(path)
        assert caught.value.code is Code.CONFIG_UNREADABLE
        assert str(path) in caught.value.detail


@pytest.mark.parametrize(
    "options",
    ["num_replica: 2", "num_replicas: auto", "num_replicas: '2'", "ray_actor_options: 1",
     "autoscaling_config: auto", "user_config: {}", "health_check_period_s: soon"],
)  # fmt: skip
def test_an_option_that_nobody_reads_is_an_error(tmp_path: Path, options: str) -> None:
    """Misspelt, of another type, or none of ours: it is named."""
    with pytest.raises(ServeError) as caught:
        read_plan(of_deployment(tmp_path / "serve.yaml", options))
    assert caught.value.code is Code.SETTING_INVALID
    assert f"Faces.{options.partition(':')[0]}" in caught.value.detail


@pytest.mark.parametrize(
    ("option", "value"),
    [("ray_actor_options.num_gpus", "one"), ("ray_actor_options.num_cpus", "[1]"),
     ("autoscaling_config.min_replicas", "1.5"), ("autoscaling_config.max_replicas", "many")],
)  # fmt: skip
def test_what_is_counted_is_a_number(tmp_path: Path, option: str, value: str) -> None:
    """Of the options inside of others, those that we reckon with."""
    outer, _, inner = option.partition(".")
    with pytest.raises(ServeError) as caught:
        read_plan(of_deployment(tmp_path / "serve.yaml", f"{outer}: {{{inner}: {value}}}"))
    assert caught.value.code is Code.SETTING_INVALID
    assert f"Faces.{option} = " in caught.value.detail


def test_what_is_left_empty_is_not_set(tmp_path: Path) -> None:
    """An option without a value is Ray's default."""
    path = of_deployment(tmp_path / "serve.yaml", "num_replicas: 2, ray_actor_options: null")
    assert read_plan(path) == Plan({}, {"num_replicas": 2})


@pytest.mark.parametrize(
    "args",
    [{"slot": 1}, {"slots": "1"}, {"slots": 1.0}, {"slots": True}, {"slots": 0}, {"batch_max": -1},
     {"decoders": -1}, {"device": "gpu"}, {"device": 0}, {"runtime": "tensorrt"},
     {"detector": "retina"}, {"precision": "fp8"}, {"cache_dir": None}, {"memory_bytes_max": -1}],
)  # fmt: skip
def test_an_argument_that_cannot_be_is_an_error(args: dict[str, Any]) -> None:
    """A replica is never started to find out; the refusal names the argument and its value."""
    with pytest.raises(ServeError) as caught:
        OPTIONS.overridden(args)
    assert caught.value.code is Code.SETTING_INVALID
    ((name, value),) = args.items()
    assert f"args.{name} = {value!r}" in caught.value.detail


def test_arguments_take_the_place_of_settings() -> None:
    """Those that are named; zero is a number of decoders."""
    made = OPTIONS.overridden({"slots": 1, "decoders": 0, "device": "cuda", "precision": "fp16"})
    changed = {"slots": 1, "decoders": 0, "device": "cuda", "precision": "fp16"}
    assert asdict(made) == {**asdict(OPTIONS), **changed}


def test_half_precision_needs_a_gpu() -> None:
    """As it does in the settings."""
    with pytest.raises(ServeError) as caught:
        OPTIONS.overridden({"precision": "fp16"})
    assert caught.value.code is Code.SETTING_INVALID


def test_settings_reach_the_replica(tmp_path: Path) -> None:
    """Whatever they say of models and images, as plain values and independent of any folder."""
    wanted = {"runtime": "torch", "device": "cuda", "precision": "fp16", "detector": "yunet",
              "image_bytes_max": 2**21, "image_pixels_max": 2**22}  # fmt: skip
    settings = Settings(
        models=Models(cache_dir=tmp_path / "packs"), pipeline=Pipeline.model_validate(wanted)
    )
    found = asdict(options_of(settings, 3))
    assert found.items() >= {**wanted, "cache_dir": str(tmp_path / "packs"), "slots": 3}.items()
    assert {type(value) for value in found.values()} == {str, int}
    relative = options_of(Settings(models=Models(cache_dir=Path("packs"))), 1)
    assert Path(relative.cache_dir).is_absolute()


def test_envelopes_to_somebody_else_s_cluster_fit_grpc_s_own_limit() -> None:
    """It may not have been told that messages are longer here; ours is."""
    joined = Settings(engine=EngineSection(ray_address="10.0.0.1:6379", queue_max=77))
    limits = limits_of(joined, OPTIONS)
    assert (limits.queue_max, limits.width) == (77, OPTIONS.envelopes)
    assert limits.envelope_bytes_max < 4 * 2**20 < limits_of(Settings(), OPTIONS).envelope_bytes_max


@pytest.mark.parametrize(
    ("slots", "batch_max", "envelopes"),
    [(1, 16, 2), (4, 16, 8), (1, 8, 2), (2, 64, 16), (1, 17, 4)],
)
def test_envelopes_fill_every_batch_twice(slots: int, batch_max: int, envelopes: int) -> None:
    """One batch for each slot is run, another waits in the replica."""
    made = OPTIONS.overridden({"slots": slots, "batch_max": batch_max})
    assert made.envelopes == envelopes
