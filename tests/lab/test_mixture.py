"""Which tensor gets which type: tables worked out by hand from llama.cpp's rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codehearth.errors import InvalidRequest
from codehearth.lab.mixture import Model, Shape, num_bytes, recipe_of, tensor_types

LLAMA_7B = Model("llama", num_layers=32, num_heads=32, num_kv_heads=32)
QWEN_7B = Model("qwen2", num_layers=28, num_heads=28, num_kv_heads=4)
LLAMA_70B = Model("llama", num_layers=80, num_heads=64, num_kv_heads=8)
MIXTRAL = Model("llama", num_layers=32, num_heads=32, num_kv_heads=8, num_experts=8)

# The layers that get more bits: the first and last eighth, and every third between.
MORE_OF_32 = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31}


def network(model: Model, *, hidden: int = 4096, is_tied: bool = False) -> list[Shape]:
    return list(_network(model, hidden, is_tied))


def _network(model: Model, hidden: int, is_tied: bool) -> Iterator[Shape]:
    yield Shape("token_embd.weight", (hidden, 32000), "F16")
    for layer in range(model.num_layers):
        yield Shape(f"blk.{layer}.attn_norm.weight", (hidden,), "F32")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"):
            yield Shape(f"blk.{layer}.{name}.weight", (hidden, hidden), "F16")
        yield Shape(f"blk.{layer}.attn_q.bias", (hidden,), "F32")
        yield Shape(f"blk.{layer}.ffn_down.weight", (11008, hidden), "F16")
    yield Shape("output_norm.weight", (hidden,), "F32")
    if not is_tied:
        yield Shape("output.weight", (hidden, 32000), "F16")


def types_of(precision: str, model: Model, **options: int | bool) -> dict[str, str]:
    tensors = network(model, **options)  # type: ignore[arg-type]
    types = tensor_types(tensors, recipe_of(precision), model)
    return {tensor.name: kind for tensor, kind in zip(tensors, types, strict=True)}


@pytest.mark.parametrize(
    ("precision", "base", "embedding", "output"),
    [
        ("f32", "F32", "F32", "F32"),
        ("f16", "F16", "F16", "F16"),
        ("bf16", "BF16", "BF16", "BF16"),
        ("q8_0", "Q8_0", "Q8_0", "Q8_0"),
        ("q6_k", "Q6_K", "Q6_K", "Q6_K"),
        ("q5_k_s", "Q5_K", "Q5_K", "Q6_K"),
        ("q5_k_m", "Q5_K", "Q5_K", "Q6_K"),
        ("q4_k_s", "Q4_K", "Q4_K", "Q6_K"),
        ("q4_k_m", "Q4_K", "Q4_K", "Q6_K"),
        ("q4_0", "Q4_0", "Q4_0", "Q6_K"),
        ("q5_1", "Q5_1", "Q5_1", "Q6_K"),
        ("iq4_xs", "IQ4_XS", "IQ4_XS", "Q6_K"),
        ("q3_k_s", "Q3_K", "Q3_K", "Q6_K"),
        ("q2_k", "Q2_K", "Q2_K", "Q6_K"),
    ],
)
def test_most_matrices_have_the_recipes_type(
    precision: str, base: str, embedding: str, output: str
) -> None:
    types = types_of(precision, LLAMA_7B)

    assert types["blk.5.attn_q.weight"] == types["blk.5.ffn_up.weight"] == base
    assert types["token_embd.weight"] == embedding
    assert types["output.weight"] == output


@pytest.mark.parametrize("precision", ["q8_0", "q4_k_m", "q2_k", "f16"])
def test_norms_and_biases_are_kept(precision: str) -> None:
    types = types_of(precision, LLAMA_7B)

    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"
    assert types["blk.0.attn_q.bias"] == "F32"


@pytest.mark.parametrize(("precision", "base"), [("q4_k_m", "Q4_K"), ("q5_k_m", "Q5_K")])
def test_the_middle_recipes_give_half_of_the_delicate_tensors_six_bits(
    precision: str, base: str
) -> None:
    types = types_of(precision, LLAMA_7B)

    for layer in range(32):
        expected = "Q6_K" if layer in MORE_OF_32 else base
        assert types[f"blk.{layer}.attn_v.weight"] == expected
        assert types[f"blk.{layer}.ffn_down.weight"] == expected


def test_the_small_recipe_of_four_bits_lifts_the_first_layers() -> None:
    types = types_of("q4_k_s", LLAMA_7B)

    lifted = [layer for layer in range(32) if types[f"blk.{layer}.attn_v.weight"] == "Q5_K"]
    assert lifted == [0, 1, 2, 3]
    lifted = [layer for layer in range(32) if types[f"blk.{layer}.ffn_down.weight"] == "Q5_K"]
    assert lifted == [0, 1, 2, 3]


def test_three_bits() -> None:
    types = types_of("q3_k_m", LLAMA_7B)

    values = [types[f"blk.{layer}.attn_v.weight"] for layer in range(32)]
    assert values == ["Q5_K", "Q5_K", *["Q4_K"] * 30]
    downs = [types[f"blk.{layer}.ffn_down.weight"] for layer in range(32)]
    assert downs == ["Q5_K", "Q5_K", *["Q4_K"] * 30]
    assert types["blk.9.attn_output.weight"] == "Q4_K"
    large = types_of("q3_k_l", LLAMA_7B)
    assert {large[f"blk.9.{name}.weight"] for name in ("attn_v", "ffn_down", "attn_output")} == {
        "Q5_K"
    }


def test_two_bits_look_at_how_many_heads_share_values() -> None:
    alone, shared = types_of("q2_k", LLAMA_7B), types_of("q2_k", QWEN_7B)

    assert alone["blk.9.attn_v.weight"] == "Q3_K"
    assert shared["blk.9.attn_v.weight"] == "Q4_K"
    assert alone["blk.9.ffn_down.weight"] == alone["blk.9.attn_output.weight"] == "Q3_K"


def test_seventy_billion_parameters_get_five_bits_for_values() -> None:
    types = types_of("q4_k_m", LLAMA_70B)

    assert {types[f"blk.{layer}.attn_v.weight"] for layer in range(80)} == {"Q5_K", "Q6_K"}


def test_eight_experts_get_eight_bits_for_keys_and_values() -> None:
    types = types_of("q4_k_m", MIXTRAL)

    assert types["blk.9.attn_k.weight"] == types["blk.9.attn_v.weight"] == "Q8_0"
    assert types["blk.9.attn_output.weight"] == "Q5_K"


def test_a_tied_embedding_is_quantised_as_the_output_it_is() -> None:
    types = types_of("q4_k_m", QWEN_7B, is_tied=True)

    assert types["token_embd.weight"] == "Q6_K"


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("q6_k", "Q8_0"), ("q5_k_m", "Q5_1"), ("q4_k_m", "Q5_0"), ("q3_k_m", "Q4_0"),
     ("q2_k", "Q4_0"), ("iq4_xs", "IQ4_NL"), ("q8_0", "Q8_0")],
)  # fmt: skip
def test_rows_that_256_does_not_divide_fall_back(precision: str, expected: str) -> None:
    """Qwen2.5-0.5B is 896 wide: more than half of its matrices are stored so."""
    types = types_of(precision, QWEN_7B, hidden=896)

    assert types["blk.5.attn_q.weight"] == expected
    assert types["output.weight"] == "Q8_0"


def test_rows_that_nothing_divides_are_halves() -> None:
    types = types_of("q4_k_m", QWEN_7B, hidden=900)

    assert types["blk.5.attn_q.weight"] == "F16"


def test_bytes_of_a_tensor() -> None:
    assert num_bytes((256, 10), "Q4_K") == 10 * 144
    assert num_bytes((256, 10), "Q8_0") == 10 * 8 * 34
    assert num_bytes((7,), "F32") == 28


@pytest.mark.parametrize(
    ("spelling", "precision"),
    [("Q4_K_M", "q4_k_m"), ("q4_k", "q4_k_m"), ("fp16", "f16"), ("Q5_K", "q5_k_m")],
)
def test_precisions_may_be_spelt_as_others_do(spelling: str, precision: str) -> None:
    assert recipe_of(spelling).precision == precision


@pytest.mark.parametrize(
    ("precision", "said"),
    [("int4", "of a checkpoint"), ("gptq4", "of a checkpoint"), ("gptq8", "GPTQModel"),
     ("fp8", "vllm"), ("q9_k", "is not a precision")],
)  # fmt: skip
def test_what_cannot_be_made_says_what_could_make_it(precision: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as raised:
        recipe_of(precision)

    assert "q4_k_m" in (raised.value.hint or "")
