"""Recipes are read strictly, and every pin in them is complete."""

import pytest

from pipeline.errors import Code, PipelineError
from pipeline.models.catalog import Task, pack_names, read_recipe


def test_every_recipe_reads() -> None:
    """Every recipe that ships is valid, and the default pack comes first."""
    names = pack_names()
    assert names == ["default", "minifasnet", "yunet"]
    assert all(read_recipe(name).pack.name == name for name in names)


def test_default_pack_has_each_task_once() -> None:
    """The default pack embeds, detects, fits and estimates age with one model each."""
    tasks = [model.task for model in read_recipe("default").model]
    assert sorted(tasks) == sorted([Task.AGE, Task.DETECTION, Task.EMBEDDING, Task.MESH])


def test_every_registry_source_is_pinned() -> None:
    """A package source names its version; a URL names a commit, never a branch."""
    for name in pack_names():
        for source in read_recipe(name).source:
            if source.kind == "url":
                assert any(len(part) == 40 for part in str(source.url).split("/"))
            else:
                assert source.package
                assert source.version


def test_unknown_pack_is_refused() -> None:
    """A name that is no recipe, a path least of all, is `pack_unknown`."""
    for name in ("nosuch", "../default", "", "default.toml"):
        with pytest.raises(PipelineError) as refused:
            read_recipe(name)
        assert refused.value.code is Code.PACK_UNKNOWN
