"""A model's memory is predicted from its facts: each part grows with what it depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import QWEN_CODER_05B, TINY, Shape, make_gguf, tiny_embedder, tiny_qwen2

from codehearth.models.facts import Weights
from codehearth.models.memory import (
    CUDA_CONTEXT_BYTES,
    PROCESS_BYTES,
    Footprint,
    is_mapping_worth_it,
    predict,
)
from codehearth.models.weights import read_weights

MIB = 1 << 20


def qwen_7b(precision: str = "Q4_K", *, bits: float = 4.5) -> Weights:
    """Qwen2.5-Coder-7B's sizes, at one precision throughout."""
    total = int(7.6e9 * bits / 8)
    output = int(152064 * 3584 * bits / 8)
    return Weights(
        kind="gguf",
        architecture="qwen2",
        num_parameters=7_600_000_000,
        num_bytes=total,
        precision=precision,
        num_layers=28,
        embedding_size=3584,
        num_heads=28,
        num_kv_heads=4,
        key_size=128,
        value_size=128,
        feed_forward_size=18944,
        vocabulary_size=152064,
        num_merges=151387,
        context_tokens=32768,
        bytes_by_layer=((total - 2 * output) // 28,) * 28,
        kv_elements_by_layer=(1024,) * 28,
        sliding_layers=(False,) * 28,
        embedding_bytes=output,
        embedding_type=precision,
        output_bytes=output,
        bytes_by_type={precision: total},
    )


def test_a_footprint_adds_up() -> None:
    footprint = Footprint(5, 4, 3, 2, gpu_bytes=6)

    assert footprint.total_bytes == 14
    assert footprint.host_bytes == 8
    assert dict(footprint.parts) == {"weights": 5, "context": 4, "compute": 3, "process": 2}


def test_keys_and_values_take_what_the_shape_says() -> None:
    footprint = predict(qwen_7b(), context_tokens=8192, num_slots=2)

    # 28 layers × (4 heads × 128 × 2) numbers × 2 bytes × 8192 tokens × 2 slots
    assert footprint.kv_bytes == 28 * 1024 * 2 * 8192 * 2


def test_a_quantised_cache_takes_about_half() -> None:
    full = predict(qwen_7b(), context_tokens=8192, num_slots=1)
    half = predict(qwen_7b(), context_tokens=8192, num_slots=1, kv_type="q8_0")

    assert half.kv_bytes / full.kv_bytes == pytest.approx(34 / 64)


def test_a_context_is_rounded_up_as_the_engine_does() -> None:
    odd = predict(qwen_7b(), context_tokens=1000, num_slots=1)

    assert odd.kv_bytes == predict(qwen_7b(), context_tokens=1024, num_slots=1).kv_bytes


def test_layers_that_slide_keep_their_window_and_a_batch() -> None:
    weights = replace(qwen_7b(), sliding_layers=(True,) * 27 + (False,), sliding_window=1024)

    footprint = predict(weights, context_tokens=8192, num_slots=1)

    row = 1024 * 2
    checkpoints = 4 * 27 * row * 1024
    assert footprint.kv_bytes == 27 * row * (1024 + 512) + row * 8192 + checkpoints


def test_recurrent_states_are_kept_for_each_slot_and_its_checkpoints() -> None:
    weights = replace(qwen_7b(), kv_elements_by_layer=(0,) * 28, state_bytes=28 * 1000)

    footprint = predict(weights, context_tokens=8192, num_slots=3)

    assert footprint.kv_bytes == 3 * 28_000 * 5


def test_logits_are_computed_for_every_token_of_an_embedding_model(tmp_path: Path) -> None:
    """The buffers of a decoder with pooling grew to gigabytes that nobody had planned."""
    embedder = read_weights(tiny_embedder(tmp_path))
    decoder = replace(embedder, is_embedding_model=False, pooling=None)

    more = predict(embedder, context_tokens=4096, num_slots=1).compute_bytes
    less = predict(decoder, context_tokens=4096, num_slots=1).compute_bytes

    assert more - less > 4 * 4096 * embedder.vocabulary_size


def test_an_encoder_has_no_logits(tmp_path: Path) -> None:
    embedder = read_weights(tiny_embedder(tmp_path))
    encoder = replace(embedder, kv_elements_by_layer=(0, 0), vocabulary_size=10_000_000)

    footprint = predict(encoder, context_tokens=512, num_slots=1)

    assert footprint.compute_bytes < 50 * MIB


def test_a_mapped_file_stays_beside_what_a_cpu_lays_out_anew() -> None:
    weights = qwen_7b("Q4_K")

    mapped = predict(weights, context_tokens=512, num_slots=1, mapped=True)
    read = predict(weights, context_tokens=512, num_slots=1, mapped=False)

    assert read.weights_bytes == weights.num_bytes
    assert mapped.weights_bytes == 2 * weights.num_bytes - weights.embedding_bytes
    assert not is_mapping_worth_it(weights, "x86_64")


def test_weights_that_stay_as_they_are_are_best_mapped() -> None:
    weights = qwen_7b("Q8_0", bits=8.5)

    mapped = predict(weights, context_tokens=512, num_slots=1, mapped=True)

    assert mapped.weights_bytes == weights.num_bytes
    assert is_mapping_worth_it(weights, "x86_64")
    assert not is_mapping_worth_it(weights, "arm64")


def test_a_tied_output_is_laid_out_as_a_second_copy() -> None:
    tied = replace(qwen_7b("Q4_0"), output_bytes=0)

    read = predict(tied, context_tokens=512, num_slots=1, mapped=False)

    assert read.weights_bytes == tied.num_bytes + tied.embedding_bytes


def test_all_layers_on_a_gpu_leave_the_embedding_on_the_host() -> None:
    weights = qwen_7b()

    footprint = predict(weights, context_tokens=8192, num_slots=1, gpu_layers=29)

    assert footprint.gpu_bytes > sum(weights.bytes_by_layer) + footprint.kv_bytes
    assert footprint.host_bytes < weights.embedding_bytes + 300 * MIB


def test_the_first_layer_on_a_gpu_is_the_output() -> None:
    weights = qwen_7b("F16", bits=16)

    none = predict(weights, context_tokens=2048, num_slots=1)
    one = predict(weights, context_tokens=2048, num_slots=1, gpu_layers=1)

    on_gpu = one.gpu_bytes - CUDA_CONTEXT_BYTES
    assert none.gpu_bytes == 0
    assert weights.output_bytes < on_gpu < weights.output_bytes + 300 * MIB
    assert one.weights_bytes == none.weights_bytes


def test_a_tied_output_on_a_gpu_is_a_copy() -> None:
    tied = replace(qwen_7b("F16", bits=16), output_bytes=0)

    none = predict(tied, context_tokens=2048, num_slots=1)
    one = predict(tied, context_tokens=2048, num_slots=1, gpu_layers=1)

    assert one.weights_bytes == none.weights_bytes + tied.embedding_bytes


def test_a_tiny_models_child_is_mostly_the_process_itself(tmp_path: Path) -> None:
    weights = read_weights(tiny_qwen2(tmp_path))

    footprint = predict(weights, context_tokens=1024, num_slots=1)

    assert PROCESS_BYTES < footprint.total_bytes < PROCESS_BYTES + 15 * MIB


@given(
    context=st.integers(1, 1 << 20),
    slots=st.integers(1, 256),
    layers=st.integers(0, 40),
    mapped=st.booleans(),
)
def test_more_of_anything_never_needs_less(
    context: int, slots: int, layers: int, mapped: bool
) -> None:
    weights = qwen_7b()

    def total(context: int, slots: int, layers: int) -> Footprint:
        return predict(
            weights, context_tokens=context, num_slots=slots, gpu_layers=layers, mapped=mapped
        )

    here = total(context, slots, layers)
    assert here.total_bytes <= total(context + 256, slots, layers).total_bytes
    assert here.total_bytes <= total(context, slots + 1, layers).total_bytes
    assert here.gpu_bytes <= total(context, slots, layers + 1).gpu_bytes
    assert 0 <= here.gpu_bytes <= here.total_bytes


@pytest.mark.parametrize("shape", [TINY, Shape("qwen3moe", 2, 64, 4, 2, 16, 32, num_experts=4,
                                               num_experts_used=2)])  # fmt: skip
def test_shapes_of_every_kind_are_predicted(tmp_path: Path, shape: Shape) -> None:
    weights = read_weights(make_gguf(tmp_path / "m.gguf", shape))

    assert predict(weights, context_tokens=2048, num_slots=4).total_bytes > weights.num_bytes


def test_the_sizes_of_a_real_model_are_those_measured() -> None:
    """Measured on Linux with xllamacpp 2026.10.11549: 41.3 MiB of compute buffer, 96 MiB of KV."""
    shape = QWEN_CODER_05B
    weights = replace(
        qwen_7b("Q8_0", bits=8.5),
        num_layers=shape.num_layers,
        embedding_size=shape.embedding_size,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        key_size=shape.head_size,
        feed_forward_size=shape.feed_forward_size,
        kv_elements_by_layer=(256,) * 24,
        sliding_layers=(False,) * 24,
        bytes_by_layer=(1,) * 24,
    )

    footprint = predict(weights, context_tokens=4096, num_slots=2)

    assert footprint.kv_bytes == 96 * MIB
    assert 41.3 * MIB < footprint.compute_bytes < 50 * MIB
