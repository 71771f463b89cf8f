"""The catalogue of models: every number has a source, and every name finds its own row."""

from __future__ import annotations

import pytest

from stackctl.catalog import families, models


def test_there_are_enough_models_with_sourced_architectures_over_the_families_that_people_use() -> None:
    summed = [model for model in models.table() if model.arch is not None]
    assert len(summed) >= 25
    assert len({model.id.split("/")[0] for model in summed}) >= 10


@pytest.mark.parametrize("model", models.table(), ids=lambda model: model.id)
def test_a_row_holds_together(model: models.Model) -> None:
    assert model.variants
    assert bool(model.arch) != bool(model.no_arch)
    assert bool(model.arch) == bool(model.arch_source)
    assert model.source
    if model.licence is not None:
        assert model.licence.source
    if model.agent is not None:
        assert 0 < model.agent.score <= 100
        assert model.agent.source
    for variant in model.variants:
        if variant.minimum_gb is not None and variant.precision != "mxfp4":
            # recipes were made as 1.2 times the files, some from rounded parameters
            assert variant.weights_gb >= 0.97 * variant.minimum_gb / 1.2, variant.id
        if model.params is not None and variant.precision == "bf16":
            assert variant.weights_gb == pytest.approx(2 * model.params, rel=0.05), variant.id
    if model.params and model.kept:
        assert model.kept < model.params


@pytest.mark.parametrize("model", models.table(), ids=lambda model: model.id)
def test_an_architecture_holds_together(model: models.Model) -> None:
    arch = model.arch
    if arch is None:
        return
    windowed = arch.sliding.layers if arch.sliding else 0
    assert 0 < arch.full.layers + windowed <= arch.layers
    assert bool(arch.state_bytes) == (arch.full.layers + windowed < arch.layers)
    assert arch.full.values % arch.full.heads == 0
    assert arch.heads % arch.full.heads == 0


def test_every_id_finds_its_own_row_and_ids_are_told_apart() -> None:
    for name in models.names():
        found = models.find(name)
        assert found is not None
        assert found.variant.id == name
        assert models.find(name.upper()) == found
    ids = [variant.id for model in models.table() for variant in model.variants]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("name", "model", "precision"),
    [
        ("unsloth/Qwen3.6-27B", "Qwen/Qwen3.6-27B", "bf16"),
        ("someone/Qwen3.6-27B-AWQ", "Qwen/Qwen3.6-27B", "int4"),
        ("someone/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit", "Qwen/Qwen3-Coder-30B-A3B-Instruct", "int4"),
        ("someone/gpt-oss-20b", "openai/gpt-oss-20b", "mxfp4"),
        ("RedHatAI/Devstral-Small-2507-FP8-dynamic", "mistralai/Devstral-Small-2507", "fp8"),
        ("someone/Qwen3-8B-Base", None, None),
        ("someone/Qwen3-32B-Thinking-FP8", None, None),
        ("someone/Unheard-Of-7B", None, None),
    ],
)
def test_re_uploads_are_known_by_name_and_other_models_are_not(
    name: str, model: str | None, precision: str | None
) -> None:
    found = models.find(name)
    assert (found.model.id if found else None) == model
    assert (found.variant.precision if found else None) == precision


def test_every_model_belongs_to_a_family_with_a_tool_parser() -> None:
    for model in models.table():
        family = families.match(model.id)
        assert family is not None, model.id
        assert family.tool, model.id
