"""Context, slots and layers are chosen for a machine with reasons, or refused with numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_memory import qwen_7b

from codehearth.errors import DoesNotFit, InvalidRequest
from codehearth.models.choosing import choose_precision
from codehearth.models.estimate import at_precision, estimated_weights, tensor_type_of
from codehearth.models.hardware import Gpu, Hardware
from codehearth.models.memory import predict
from codehearth.models.planning import RESERVED_BYTES, plan
from codehearth.models.words import in_bytes

GIB = 1 << 30


def machine(
    free_gib: float, *gpus_gib: float, kind: str = "cuda", arch: str = "x86_64"
) -> Hardware:
    gpus = tuple(
        Gpu(number, "a GPU", kind, int(free * GIB) + GIB, int(free * GIB))  # type: ignore[arg-type]
        for number, free in enumerate(gpus_gib)
    )
    free = int(free_gib * GIB)
    return Hardware("Linux", arch, "a CPU", 8.0, 4, 2 * free, free, gpus)


def test_with_much_room_all_wishes_come_true() -> None:
    chosen = plan(qwen_7b(), machine(64))

    assert (chosen.context_tokens, chosen.num_slots, chosen.gpu_layers) == (32768, 4, 0)
    assert "context 32768: all that the model has" in chosen.why
    assert "4 slots: as many requests are answered at a time" in chosen.why


def test_a_model_with_a_huge_context_gets_a_part_of_it_unless_asked() -> None:
    weights = replace(qwen_7b(), context_tokens=131072)

    assert plan(weights, machine(64)).why[0] == (
        "context 32768: more of the model's 131072 only when asked for"
    )
    assert plan(weights, machine(64), context_tokens=131072).context_tokens == 131072


def test_less_room_means_less_context_and_the_reason_says_so() -> None:
    chosen = plan(qwen_7b(), machine(9.25))

    assert (chosen.context_tokens, chosen.num_slots) == (16384, 4)
    assert "context 16384: the largest that fits 9.0 GiB free" in chosen.why


def test_slots_are_given_up_before_a_comfortable_context_is() -> None:
    chosen = plan(qwen_7b(), machine(5.75))

    assert (chosen.context_tokens, chosen.num_slots) == (8192, 2)
    assert "2 slots: more do not fit 5.5 GiB free" in chosen.why


def test_at_last_the_context_shrinks_to_its_floor() -> None:
    chosen = plan(qwen_7b(), machine(4.7))

    assert (chosen.context_tokens, chosen.num_slots) == (2048, 1)


def test_a_model_with_a_small_context_keeps_all_of_it() -> None:
    chosen = plan(replace(qwen_7b(), context_tokens=1024), machine(64))

    assert chosen.context_tokens == 1024


def test_what_was_asked_for_is_done() -> None:
    chosen = plan(qwen_7b(), machine(64), context_tokens=5000, num_slots=7)

    assert (chosen.context_tokens, chosen.num_slots) == (5000, 7)
    assert not any("context" in reason or "slots" in reason for reason in chosen.why)


def test_an_asked_context_costs_slots_and_not_itself() -> None:
    chosen = plan(qwen_7b(), machine(6.6), context_tokens=32768)

    assert (chosen.context_tokens, chosen.num_slots) == (32768, 1)


def test_what_was_asked_for_and_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan(qwen_7b(), machine(8), context_tokens=32768, num_slots=4)

    error = caught.value
    assert error.needed_bytes > error.free_bytes == 8 * GIB - RESERVED_BYTES
    assert in_bytes(error.needed_bytes) in error.message
    assert "7.8 GiB are free" in error.message
    assert "a context of 32768 tokens in 4 slots" in error.message
    assert error.hint == "a context of 8192 tokens in 4 slots fits"


def test_a_model_that_is_too_large_is_refused_with_a_smaller_precision() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan(qwen_7b("F16", bits=16), machine(7))

    hint = caught.value.hint
    assert hint is not None
    assert hint.startswith("take a smaller precision: q6_k needs about 6.")


def test_a_model_that_fits_at_no_precision_is_refused_with_a_smaller_model() -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan(qwen_7b(), machine(1))

    assert "fewer parameters" in str(caught.value.hint)


def test_a_context_beyond_the_models_is_refused() -> None:
    for context in (0, -1, 32769):
        with pytest.raises(InvalidRequest, match="the model has 32768"):
            plan(qwen_7b(), machine(64), context_tokens=context)


def test_slots_beyond_the_engines_are_refused() -> None:
    for slots in (0, 257):
        with pytest.raises(InvalidRequest, match="1 to 256"):
            plan(qwen_7b(), machine(64), num_slots=slots)


def test_a_budget_is_used_to_its_last_byte() -> None:
    asked = {"context_tokens": 4096, "num_slots": 1}
    needed = predict(qwen_7b(), mapped=False, **asked).total_bytes

    assert (
        plan(qwen_7b(), machine(64), budget_bytes=needed, **asked).footprint.total_bytes == needed
    )
    with pytest.raises(DoesNotFit):
        plan(qwen_7b(), machine(64), budget_bytes=needed - 1, **asked)


def test_weights_that_the_cpu_lays_out_anew_are_read_and_the_reason_is_told() -> None:
    chosen = plan(qwen_7b("Q4_K"), machine(64))

    assert not chosen.mapped
    assert any(reason.startswith("weights read, not mapped") for reason in chosen.why)
    assert plan(qwen_7b("Q8_0", bits=8.5), machine(64)).mapped


def test_an_embedding_models_context_is_kept_small_unless_asked() -> None:
    weights = replace(qwen_7b(), is_embedding_model=True, pooling="last")

    assert plan(weights, machine(64)).context_tokens == 2048
    assert plan(weights, machine(64), context_tokens=4096).context_tokens == 4096


def test_a_gpu_that_holds_all_gets_all() -> None:
    chosen = plan(qwen_7b(), machine(64, 24))

    assert chosen.gpu_layers == 29
    assert chosen.why[0] == "all 29 layers on the GPU: they fit 23.8 GiB free on the GPU"
    assert chosen.footprint.gpu_bytes < 24 * GIB


def test_all_layers_on_the_gpu_are_worth_a_smaller_context() -> None:
    chosen = plan(qwen_7b(), machine(64, 7.5))

    assert chosen.gpu_layers == 29
    assert chosen.context_tokens == 8192
    assert "context 8192: the largest that fits 7.2 GiB free on the GPU" in chosen.why


def test_a_gpu_that_holds_a_part_gets_as_much_as_it_can() -> None:
    chosen = plan(qwen_7b(), machine(64, 4))

    assert 1 < chosen.gpu_layers < 29
    assert f"{chosen.gpu_layers} of 29 layers on the GPU: the most that fit" in chosen.why[0]
    more = predict(
        qwen_7b(),
        context_tokens=chosen.context_tokens,
        num_slots=chosen.num_slots,
        gpu_layers=chosen.gpu_layers + 1,
        mapped=chosen.mapped,
    )
    assert more.gpu_bytes > 4 * GIB - RESERVED_BYTES


def test_a_gpu_that_is_taken_by_others_is_left_alone() -> None:
    chosen = plan(qwen_7b(), machine(64, 0.3))

    assert chosen.gpu_layers == 0
    assert chosen.footprint.gpu_bytes == 0


def test_a_budget_of_the_gpu_may_count_what_others_could_give_back() -> None:
    """A full GPU whose models could leave: the pool says how much there could be."""
    full = machine(64, 0.5)

    assert plan(qwen_7b(), full).gpu_layers == 0
    assert plan(qwen_7b(), full, gpu_budget_bytes=23 * GIB).gpu_layers == 29


def test_several_gpus_are_used_together() -> None:
    assert plan(qwen_7b("F16", bits=16), machine(64, 10)).gpu_layers < 29
    assert plan(qwen_7b("F16", bits=16), machine(64, 10, 10)).gpu_layers == 29


def test_asked_layers_that_do_not_fit_are_refused_with_the_gpus_numbers() -> None:
    with pytest.raises(DoesNotFit, match="of GPU memory") as caught:
        plan(qwen_7b("F16", bits=16), machine(64, 8), gpu_layers=29)

    assert caught.value.free_bytes < 8 * GIB < caught.value.needed_bytes


def test_asked_layers_are_what_is_used() -> None:
    assert plan(qwen_7b(), machine(64, 24), gpu_layers=0).footprint.gpu_bytes == 0
    assert plan(qwen_7b(), machine(64, 24), gpu_layers=10).gpu_layers == 10


def test_asked_layers_are_passed_on_where_no_gpu_is_known() -> None:
    """A native engine may use a GPU whose maker's driver we cannot ask."""
    chosen = plan(qwen_7b(), machine(64), gpu_layers=99)

    assert chosen.gpu_layers == 99
    assert chosen.footprint.gpu_bytes == 0


def test_host_bytes_leave_out_what_is_on_a_gpu_of_its_own() -> None:
    apart = plan(qwen_7b(), machine(64, 24))
    shared = plan(qwen_7b(), machine(24, 20, kind="metal", arch="arm64"))

    assert apart.host_bytes == apart.footprint.host_bytes < GIB
    assert shared.host_bytes == shared.footprint.total_bytes > 4 * GIB


def test_unified_memory_is_counted_once() -> None:
    chosen = plan(qwen_7b(), machine(10, 10.67, kind="metal", arch="arm64"))

    assert chosen.gpu_layers == 29
    assert chosen.footprint.total_bytes <= 10 * GIB
    with pytest.raises(DoesNotFit):
        plan(qwen_7b("F16", bits=16), machine(10, 20, kind="metal", arch="arm64"))


@settings(deadline=None)
@given(
    free=st.floats(0.1, 80),
    gpu=st.none() | st.floats(0, 80),
    context=st.none() | st.integers(1, 32768),
    slots=st.none() | st.integers(1, 16),
    bits=st.sampled_from([4.5, 8.5, 16]),
)
def test_a_plan_always_fits_and_a_refusal_always_has_its_numbers(
    free: float, gpu: float | None, context: int | None, slots: int | None, bits: float
) -> None:
    here = machine(free) if gpu is None else machine(free, gpu)

    try:
        chosen = plan(qwen_7b(bits=bits), here, context_tokens=context, num_slots=slots)
    except DoesNotFit as error:
        assert error.needed_bytes > error.free_bytes
        assert error.hint
    else:
        assert chosen.footprint.host_bytes <= here.free_bytes
        assert chosen.footprint.gpu_bytes <= sum(one.free_bytes for one in here.gpus)
        assert context in (None, chosen.context_tokens)
        assert slots in (None, chosen.num_slots)


def precisions(*names: str, num_parameters: int = 7_600_000_000) -> list[object]:
    return [
        estimated_weights(num_parameters=num_parameters, precision=name, context_tokens=32768)
        for name in names
    ]


LADDER = ("q2_k", "q4_k_m", "q5_k_m", "q8_0", "f16")


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (machine(64), "q4_k_m"),
        (machine(8), "q4_k_m"),
        (machine(4.2), "q2_k"),
        (machine(64, 24), "q8_0"),
        (machine(64, 7.2), "q5_k_m"),
        (machine(64, 2), "q4_k_m"),
    ],
)
def test_the_precision_that_serves_best_is_chosen(hardware: Hardware, expected: str) -> None:
    choice = choose_precision(precisions(*LADDER), hardware)  # type: ignore[arg-type]

    assert choice.precision == expected
    assert choice.why[0].startswith(f"precision {expected}: ")
    assert choice.plan.footprint.host_bytes <= hardware.free_bytes


def test_a_small_model_keeps_eight_bits_on_a_cpu() -> None:
    options = precisions(*LADDER, num_parameters=500_000_000)

    assert choose_precision(options, machine(16)).precision == "q8_0"  # type: ignore[arg-type]


def test_the_only_precision_is_taken_where_it_fits() -> None:
    choice = choose_precision(precisions("f16"), machine(64))  # type: ignore[arg-type]

    assert choice.precision == "f16"
    assert choice.why[0] == "precision f16: the only one there is"


def test_where_no_precision_fits_the_smallest_ones_numbers_are_told() -> None:
    with pytest.raises(DoesNotFit) as caught:
        choose_precision(precisions(*LADDER), machine(2))  # type: ignore[arg-type]

    assert 2 * GIB < caught.value.needed_bytes < 5 * GIB


def test_an_estimate_says_that_it_is_one() -> None:
    weights = estimated_weights(
        num_parameters=7_600_000_000, precision="q4_k_m", context_tokens=32768
    )

    reasons = plan(weights, machine(64)).why

    assert any(reason.startswith("estimate: from 7.6 billion parameters") for reason in reasons)


def test_an_estimate_is_near_what_the_model_turns_out_to_need() -> None:
    estimate = estimated_weights(
        num_parameters=7_600_000_000, precision="q8_0", context_tokens=32768
    )
    real = qwen_7b("Q8_0", bits=8.5)

    guessed = predict(estimate, context_tokens=8192, num_slots=4).total_bytes
    exact = predict(real, context_tokens=8192, num_slots=4).total_bytes

    assert guessed == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("num_parameters", [1, 30_000_000, 1_300_000_000, 671_000_000_000])
def test_models_of_every_size_can_be_estimated(num_parameters: int) -> None:
    weights = estimated_weights(
        num_parameters=num_parameters, precision="int4", context_tokens=2048, num_bytes=None
    )

    assert predict(weights, context_tokens=2048, num_slots=1).total_bytes > 0


def test_another_precision_of_known_weights_is_scaled() -> None:
    lower = at_precision(qwen_7b("F16", bits=16), "q4_k_m")

    assert lower.is_estimate
    assert lower.num_bytes == pytest.approx(4.66e9, rel=0.02)
    assert sum(lower.bytes_by_layer) < lower.num_bytes


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("q4_k_m", "Q4_K"), ("Q5_K_S", "Q5_K"), ("q8_0", "Q8_0"), ("bf16", "BF16"), ("fp16", "F16"),
     ("iq4_nl", "IQ4_NL"), ("q6_k", "Q6_K"), ("q4_k_xl", "Q4_K")],
)  # fmt: skip
def test_a_precision_is_mostly_one_tensor_type(precision: str, expected: str) -> None:
    assert tensor_type_of(precision) == expected
