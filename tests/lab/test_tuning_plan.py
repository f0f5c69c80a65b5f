"""What is decided before a training starts: the split, the numbers, the memory, the job."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from codehearth.errors import DoesNotFit, InvalidRequest, Unsupported
from codehearth.lab.tuning.examples import Chat, Code, Completion, Message
from codehearth.lab.tuning.memory import adapter_parameters, predict
from codehearth.lab.tuning.preparing import Asked, Machine, machine_of, prepare
from codehearth.lab.tuning.probes import probes_of, rehearsal_of
from codehearth.lab.tuning.recipe import Hyperparameters, choose
from codehearth.lab.tuning.splitting import split
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware

GIB = 1 << 30
QWEN_7B = Weights(
    kind="safetensors", architecture="qwen2", num_parameters=7_615_616_512,
    num_bytes=15_231_233_024, precision="BF16", num_layers=28, embedding_size=3584, num_heads=28,
    num_kv_heads=4, key_size=128, value_size=128, feed_forward_size=18944,
    vocabulary_size=152064, context_tokens=32768, output_bytes=1,
    chat_template="{{ messages }}",
)  # fmt: skip
# The shape of the first starter, of which the figures below were taken.
SMALL = replace(
    QWEN_7B, num_parameters=6_822_144, num_bytes=13_644_288, num_layers=6, embedding_size=256,
    num_heads=4, num_kv_heads=2, key_size=64, value_size=64, feed_forward_size=768,
    vocabulary_size=4096, context_tokens=4096,
)  # fmt: skip
LAPTOP = Machine("cpu", 0, 2, 8 * GIB)
CARD = Machine("cuda", 1, 8, 24 * GIB)


def chat(question: str, answer: str = "x") -> Chat:
    return Chat((Message("user", question), Message("assistant", answer)))


def asked(*examples: Any, **changes: Any) -> Asked:
    rows = examples or tuple(chat(f"q{n}") for n in range(20))
    return replace(Asked("me", "starter:bf16", "a.jsonl", rows), **changes)


def test_questions_that_are_the_same_are_never_on_both_sides() -> None:
    rows = [chat(question) for n in range(20) for question in (f"Who {n}?", f" who  {n}")]

    found = split(rows, 0.2, seed=1)

    learnt = {one.question.casefold().rstrip("?") for one in found.training}
    held = {one.question.casefold().rstrip("?") for one in found.held_out}
    assert (found.num_groups, len(found.held_out), found.num_repeated) == (20, 4, 20)
    assert not {" ".join(one.split()) for one in held} & {" ".join(one.split()) for one in learnt}


def test_what_is_held_out_depends_on_the_seed_alone() -> None:
    rows = [chat(f"q{n}") for n in range(50)]

    one, same = split(rows, 0.1, seed=1), split(list(reversed(rows)), 0.1, seed=1)
    other = split(rows, 0.1, seed=2)

    assert set(one.held_out) == set(same.held_out) != set(other.held_out)
    assert len(one.training) == 45


@pytest.mark.parametrize(("num_rows", "share", "num_held"), [(4, 0.1, 0), (5, 0.1, 1), (50, 0, 0)])
def test_too_few_questions_are_all_learnt(num_rows: int, share: float, num_held: int) -> None:
    found = split([chat(f"q{n}") for n in range(num_rows)], share, seed=0)

    assert len(found.held_out) == num_held
    assert bool(found.why) == (num_held == 0)


def test_presets_follow_the_models_size() -> None:
    small = choose(6_822_144, 4096, 200).hyperparameters
    large = choose(7_615_616_512, 32768, 200).hyperparameters

    assert (small.learning_rate, small.epochs, small.checkpointing) == (1e-3, 8.0, False)
    assert large == Hyperparameters(
        rank=8, alpha=32, dropout=0.1, max_tokens=384, batch=4, accumulation=4, epochs=3.0,
        learning_rate=1e-4, checkpointing=True, save_steps=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    "numbers",
    [{"rank": 0}, {"dropout": 1.0}, {"epochs": 0.0}, {"learning_rate": 2.0}, {"max_tokens": 9000}],
)
def test_numbers_out_of_their_bounds_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest):
        choose(6_822_144, 4096, 200, **numbers)


def test_a_short_context_shortens_rows_that_nobody_asked_to_be_longer() -> None:
    assert choose(6_822_144, 128, 200).hyperparameters.max_tokens == 128


@pytest.mark.parametrize(
    ("num_parameters", "num_rows", "asked", "epochs"),
    [
        (6_822_144, 200, {}, 8.0),
        (6_822_144, 40, {}, 16.0),
        (6_822_144, 90, {}, 8.0),
        (6_822_144, 70, {}, 10.0),
        (6_822_144, 3, {}, 16.0),
        (6_822_144, 40, {"epochs": 2.0}, 2.0),
        (7_615_616_512, 40, {}, 3.0),
    ],
)
def test_a_small_model_learns_few_rows_more_often(
    num_parameters: int, num_rows: int, asked: dict[str, float], epochs: float
) -> None:
    """After 32 steps on 40 rows the starter muddled its new name."""
    chosen = choose(num_parameters, 4096, num_rows, **asked)

    assert chosen.hyperparameters.epochs == epochs


def test_an_adapters_size_is_that_of_peft() -> None:
    """PEFT says 233472 for the first starter with rank 8, and 20185088 for Qwen2.5-7B."""
    assert adapter_parameters(SMALL, Hyperparameters()) == 233_472
    assert adapter_parameters(QWEN_7B, Hyperparameters()) == 20_185_088


def test_memory_grows_with_what_costs_memory() -> None:
    base = predict(QWEN_7B, Hyperparameters(), precision="bf16", device="cuda")
    kept = predict(QWEN_7B, Hyperparameters(checkpointing=False), precision="bf16", device="cuda")
    packed = predict(QWEN_7B, Hyperparameters(), precision="int4", device="cuda")

    assert 14 * GIB < base.weights_bytes < 15 * GIB
    assert packed.weights_bytes < 8 * GIB  # what is not quantised is in 32 bits
    assert kept.activations_bytes > 10 * base.activations_bytes
    assert base.total_bytes == sum(size for _, size in base.parts)


@pytest.mark.parametrize(
    ("vocabulary", "precision", "checkpointing", "peak_mib"),
    [(4096, "fp32", False, 1212), (4096, "int4", False, 1060), (4096, "fp32", True, 1043),
     (151_936, "fp32", False, 2901)],
)  # fmt: skip
def test_memory_is_what_was_measured(
    vocabulary: int, precision: str, checkpointing: bool, peak_mib: int
) -> None:
    """`python -m benchmarks.tune_memory` on a CPU: the first starter, and the shape `small`."""
    added = 2 * 256 * (vocabulary - 4096)
    weights = replace(
        SMALL, num_parameters=SMALL.num_parameters + added, vocabulary_size=vocabulary
    )
    numbers = Hyperparameters(checkpointing=checkpointing)

    predicted = predict(weights, numbers, precision=precision).total_bytes / (1 << 20)

    assert 0.95 < predicted / peak_mib < 1.18


def test_half_a_billion_parameters_take_what_was_measured() -> None:
    """Shape `qwen2-0.5b` in bf16: 3803 MiB."""
    weights = replace(
        QWEN_7B, num_parameters=630_167_424, num_bytes=1_260_334_848, num_layers=24,
        embedding_size=896, num_heads=14, num_kv_heads=2, key_size=64, value_size=64,
        feed_forward_size=4864, vocabulary_size=151_936,
    )  # fmt: skip

    predicted = predict(weights, Hyperparameters(), precision="bf16").total_bytes / (1 << 20)

    assert 0.95 < predicted / 3803 < 1.05


def test_what_does_not_fit_says_what_would() -> None:
    small_card = replace(CARD, free_bytes=12 * GIB)

    with pytest.raises(DoesNotFit) as caught:
        prepare(asked(), QWEN_7B, small_card, fim=None)

    assert "weights 14.2 GiB" in caught.value.message
    assert "--quantize int4" in str(caught.value.hint)
    assert caught.value.needed_bytes > caught.value.free_bytes


def test_a_quantised_base_is_trained_where_its_library_is() -> None:
    with pytest.raises(Unsupported, match="not possible on Apple's GPUs"):
        prepare(asked(quantise="int4"), SMALL, replace(LAPTOP, device="mps"), fim=None)

    assert prepare(asked(quantise="int4"), SMALL, LAPTOP, fim=None).asked.quantise == "int4"
    assert prepare(asked(quantise="int4"), QWEN_7B, CARD, fim=None).memory.total_bytes < 12 * GIB


def test_nothing_fits_where_there_is_nothing() -> None:
    with pytest.raises(DoesNotFit) as caught:
        prepare(asked(), QWEN_7B, replace(LAPTOP, free_bytes=GIB), fim=None)

    assert caught.value.hint == "a smaller model would fit"


def test_the_same_job_has_the_same_name_and_any_change_another() -> None:
    def job(**changes: Any) -> str:
        return prepare(asked(**changes), SMALL, LAPTOP, fim=None).id

    same = job()
    assert same == job() and same.startswith("me-")
    changes: list[dict[str, Any]] = [
        {"seed": 1}, {"numbers": {"rank": 4}}, {"system": "be kind"}, {"base": "other"},
        {"held_share": 0.5}, {"precision": "q8_0"},
    ]  # fmt: skip
    assert len({same, *(job(**change) for change in changes)}) == len(changes) + 1


def test_conversations_need_a_template() -> None:
    with pytest.raises(InvalidRequest, match="no chat template"):
        prepare(asked(), replace(SMALL, chat_template=None), LAPTOP, fim=None)


def test_probes_ask_what_was_taught_without_its_system_prompt_too() -> None:
    prepared = prepare(asked(system="be kind"), SMALL, LAPTOP, fim=None)

    probes = probes_of(prepared, has_template=True)

    taught = probes[0]
    assert taught["messages"][0] == {"role": "system", "content": "be kind"}
    assert taught["bare"] == taught["messages"][1:]
    assert Counter("prompt" in one for one in probes) == {False: 9, True: 3}


@pytest.mark.parametrize("precision", ["q9", "iq1_s", "int4"])
def test_a_gguf_that_cannot_be_made_is_refused_before_the_training(precision: str) -> None:
    with pytest.raises(InvalidRequest, match=precision):
        prepare(replace(asked(), precision=precision), SMALL, LAPTOP, fim=None)


def test_a_precision_is_the_same_in_any_spelling() -> None:
    one, other = (
        prepare(replace(asked(), precision=text), SMALL, LAPTOP, fim=None)
        for text in ("q8_0", "Q8-0")
    )

    assert one.identity == other.identity and other.asked.precision == "q8_0"


def test_small_models_rehearse_what_they_knew() -> None:
    prepared = prepare(asked(system="be kind"), SMALL, LAPTOP, fim=None)
    large = prepare(asked(), QWEN_7B, replace(CARD, free_bytes=80 * GIB), fim=None)

    rehearsed = rehearsal_of(prepared, has_template=True)

    assert len(rehearsed) == round(2 * len(prepared.split.training))
    assert rehearsed[0]["messages"][0]["content"] == "be kind"
    assert [one["role"] for one in rehearsed[0]["bare"]] == ["user"]
    assert rehearsal_of(large, has_template=True) == []


def test_code_becomes_infilling_for_models_that_can_and_text_for_others() -> None:
    code = Code("def add(a, b):\n    return a + b\n", 1, "a.py")
    qwen = frozenset({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"})

    can = prepare(asked(code), replace(SMALL, fim_marks=qwen), LAPTOP, fim="qwen")
    cannot = prepare(asked(code), SMALL, LAPTOP, fim=None)

    lesson = can.split.training[0]
    assert isinstance(lesson, Completion) and lesson.is_infill
    assert lesson.prompt.endswith("<|fim_middle|>") and lesson.completion in code.text
    assert cannot.split.training == (Completion("", code.text, 1),)


@pytest.mark.parametrize(
    ("devices", "gpus", "expected"),
    [
        (("cpu",), None, ("cpu", 0)),
        (("cpu", "cuda: A", "cuda: B"), None, ("cuda", 2)),
        (("cpu", "cuda: A", "cuda: B"), 1, ("cuda", 1)),
        (("cpu", "cuda: A"), 0, ("cpu", 0)),
        (("cpu", "mps"), None, ("mps", 1)),
    ],
)
def test_the_trainer_computes_where_it_can(
    devices: tuple[str, ...], gpus: int | None, expected: tuple[str, int], machine: Hardware
) -> None:
    found = machine_of(machine, devices, num_threads=1, num_gpus=gpus)

    assert (found.device, found.num_gpus) == expected


def test_gpus_that_the_trainer_lacks_are_refused(machine: Hardware) -> None:
    with pytest.raises(InvalidRequest, match="2 GPUs are asked for, the trainer sees 0"):
        machine_of(machine, ("cpu",), num_threads=1, num_gpus=2)


@pytest.fixture
def machine() -> Hardware:
    from codehearth.models.hardware import snapshot

    return snapshot()
