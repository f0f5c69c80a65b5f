"""Facts read from GGUF models: whole, split, in folders, of architectures of many kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf_bytes as g
import pytest
from tiny_models import (
    CHATML,
    TINY,
    Shape,
    make_gguf,
    make_split_gguf,
    tiny_embedder,
    tiny_llama,
    tiny_qwen2,
    vocabulary,
)

from codehearth.errors import BadWeights
from codehearth.models.weights import Weights, read_weights


def written(folder: Path, facts: list[bytes], name: str = "some.gguf") -> Path:
    path = folder / name
    path.write_bytes(g.header(facts, [g.tensor("token_embd.weight", (32, 8), 0, 0)]))
    return path


def facts_of(folder: Path, *more: bytes, **changes: object) -> Weights:
    return read_weights(written(folder, [*g.llama_facts(**changes), *more]))


def of_architecture(name: str, *more: bytes, num_layers: int = 12) -> list[bytes]:
    return [
        g.pair("general.architecture", "str", name),
        g.pair(f"{name}.block_count", "u32", num_layers),
        g.pair(f"{name}.context_length", "u32", 4096),
        g.pair(f"{name}.embedding_length", "u32", 64),
        g.pair(f"{name}.attention.head_count", "u32", 4),
        *more,
    ]


def test_a_models_facts_are_read(tmp_path: Path) -> None:
    path = tiny_qwen2(tmp_path)

    weights = read_weights(path)

    tokens, merges = vocabulary()
    assert weights.kind == "gguf"
    assert weights.architecture == "qwen2"
    assert weights.precision == "F16"
    assert weights.num_parameters == 1_154_176
    assert path.stat().st_size - 20_000 < weights.num_bytes < path.stat().st_size
    assert (weights.num_layers, weights.embedding_size, weights.feed_forward_size) == (2, 192, 768)
    assert (weights.num_heads, weights.num_kv_heads, weights.key_size) == (6, 2, 32)
    assert (weights.vocabulary_size, weights.num_merges) == (len(tokens), len(merges))
    assert weights.context_tokens == 4096
    assert weights.kv_elements_by_layer == (128, 128)
    assert sum(weights.bytes_by_layer) + weights.embedding_bytes < weights.num_bytes
    assert weights.output_bytes == 0
    assert weights.chat_template == CHATML
    assert weights.token_ids["eos"] == tokens.index("<|im_end|>")
    assert weights.token_ids["fim_pre"] == tokens.index("<|fim_prefix|>")
    assert weights.add_bos is False
    assert weights.fim_marks == {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}
    assert weights.licence == "mit"
    assert not weights.is_embedding_model


@pytest.mark.parametrize("num_others", [0, 5000])
def test_a_mark_counts_only_if_an_engine_takes_it_for_one_token(
    tmp_path: Path, num_others: int
) -> None:
    """`[SUFFIX]` as a usual token would be read letter by letter; some marks llama.cpp mends."""
    marks = ["[SUFFIX]", "[PREFIX]", "<fim_prefix>", "<|mask:0|>", "<|mask:1|>"]
    types = [1, 4, 1, 3, 6]
    tokens = [str(number) for number in range(num_others)] + marks
    facts = of_architecture(
        "llama",
        g.string_array("tokenizer.ggml.tokens", tokens),
        g.number_array("tokenizer.ggml.token_type", "i32", [1] * num_others + types),
    )

    weights = read_weights(written(tmp_path, facts))

    assert weights.fim_marks == {"[PREFIX]", "<fim_prefix>", "<|mask:0|>"}
    assert weights.fim_ids == {mark: num_others + at for at, mark in enumerate(marks)}


def test_an_output_of_its_own_is_counted(tmp_path: Path) -> None:
    weights = read_weights(tiny_llama(tmp_path))

    assert weights.output_bytes == weights.embedding_bytes > 0


@pytest.mark.parametrize(
    ("precision", "bits"), [("F32", 32), ("BF16", 16), ("Q8_0", 8.5), ("Q4_0", 4.5), ("Q6_K", 6.6)]
)
def test_bits_per_weight_are_what_the_file_really_has(
    tmp_path: Path, precision: str, bits: float
) -> None:
    shape = replace(TINY, embedding_size=256, num_heads=8)

    weights = read_weights(make_gguf(tmp_path / "m.gguf", shape, precision=precision))

    assert weights.precision == precision
    assert weights.bits_per_weight == pytest.approx(bits, abs=0.1)


def test_an_embedding_model_is_known_by_its_pooling(tmp_path: Path) -> None:
    weights = read_weights(tiny_embedder(tmp_path))

    assert weights.is_embedding_model
    assert weights.pooling == "mean"


def test_a_reranker_is_no_embedding_model(tmp_path: Path) -> None:
    weights = read_weights(make_gguf(tmp_path / "m.gguf", TINY, pooling="rank"))

    assert weights.pooling == "rank"
    assert not weights.is_embedding_model


def test_an_encoder_without_pooling_is_an_embedding_model_without_a_cache(tmp_path: Path) -> None:
    facts = of_architecture("bert", g.pair("bert.attention.causal", "bool", False))

    weights = read_weights(written(tmp_path, facts))

    assert weights.is_embedding_model
    assert weights.kv_elements_by_layer == (0,) * 12


def test_any_part_of_a_split_model_is_the_whole_model(tmp_path: Path) -> None:
    parts = make_split_gguf(tmp_path, num_parts=3)

    read = [read_weights(part) for part in parts]

    assert read[0] == read[1] == read[2]
    assert read[0].num_parameters == 1_154_176


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    parts = make_split_gguf(tmp_path, num_parts=3)
    parts[1].unlink()

    with pytest.raises(BadWeights, match=r"00002-of-00003\.gguf' is missing"):
        read_weights(parts[0])


def test_parts_that_were_renamed_are_refused(tmp_path: Path) -> None:
    parts = make_split_gguf(tmp_path, num_parts=3)
    moved = parts[1].read_bytes()
    parts[1].write_bytes(parts[2].read_bytes())
    parts[2].write_bytes(moved)

    with pytest.raises(BadWeights, match="says that it is part 3 of 3"):
        read_weights(parts[0])


def test_a_part_alone_under_another_name_is_refused(tmp_path: Path) -> None:
    part = make_split_gguf(tmp_path, num_parts=3)[0].rename(tmp_path / "whole.gguf")

    with pytest.raises(BadWeights, match="part 1 of 3"):
        read_weights(part)


def test_a_folder_with_one_model_is_that_model(tmp_path: Path) -> None:
    make_split_gguf(tmp_path, num_parts=2)
    (tmp_path / "mmproj-f16.gguf").write_bytes(b"passed over")

    assert read_weights(tmp_path).num_layers == 2


def test_a_folder_with_two_models_asks_for_one(tmp_path: Path) -> None:
    tiny_qwen2(tmp_path)
    tiny_llama(tmp_path)

    with pytest.raises(BadWeights, match="holds 2 GGUF models") as caught:
        read_weights(tmp_path)

    assert caught.value.hint == "name one of them: tiny-llama.gguf, tiny.gguf"


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")

    with pytest.raises(BadWeights, match="neither safetensors nor a GGUF") as caught:
        read_weights(tmp_path)

    assert "can hold code" in str(caught.value.hint)


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights):
        read_weights(tmp_path / "nul\0character")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": None}, "does not name its architecture"),
        ({"block_count": None}, "does not say 'llama.block_count'"),
        ({"block_count": 0}, "has 0 layers"),
        ({"block_count": 513}, "says '513' for 'llama.block_count'"),
        ({"context_length": 0}, "a context of 0 tokens"),
        ({"context_length": None}, "does not say 'llama.context_length'"),
        ({"embedding_length": 2**31}, "says '2147483648'"),
        ({"architecture": "x" * 65}, "does not name its architecture"),
    ],
)
def test_facts_that_no_model_has_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadWeights) as caught:
        facts_of(tmp_path, **changes)

    assert words in caught.value.message


def test_facts_of_the_wrong_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"no text in 'general\.name'"):
        facts_of(tmp_path, g.pair("general.name", "u32", 1))
    with pytest.raises(BadWeights, match="says 'True'"):
        facts_of(tmp_path, g.pair("llama.expert_count", "bool", True))
    with pytest.raises(BadWeights, match="says '-1'"):
        facts_of(tmp_path, g.pair("llama.expert_count", "i32", -1))


@pytest.mark.parametrize(
    ("kind", "words"), [("adapter", "a LoRA adapter"), ("mmproj", "an image projector")]
)
def test_files_that_are_no_models_are_refused_by_what_they_are(
    tmp_path: Path, kind: str, words: str
) -> None:
    with pytest.raises(BadWeights, match=f"is {words}, not a model"):
        facts_of(tmp_path, g.pair("general.type", "str", kind))


def test_a_vocabulary_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    path.write_bytes(g.header(g.llama_facts()))

    with pytest.raises(BadWeights, match="a vocabulary and no weights"):
        read_weights(path)


def test_a_monstrous_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="a chat template of 2097152 bytes"):
        facts_of(tmp_path, g.pair("tokenizer.chat_template", "str", "x" * (2 << 20)))


def test_token_ids_outside_the_vocabulary_are_passed_over(tmp_path: Path) -> None:
    weights = facts_of(
        tmp_path,
        g.string_array("tokenizer.ggml.tokens", ["a", "b"]),
        g.pair("tokenizer.ggml.eos_token_id", "u32", 1),
        g.pair("tokenizer.ggml.bos_token_id", "u32", 2),
        g.pair("tokenizer.ggml.prefix_token_id", "u32", 0),
    )

    assert weights.token_ids == {"eos": 1, "fim_pre": 0}


def test_head_counts_may_differ_between_layers(tmp_path: Path) -> None:
    weights = facts_of(
        tmp_path,
        g.number_array("llama.attention.head_count_kv", "u32", [1, 4, 2]),
        block_count=3,
    )

    assert weights.num_kv_heads == 4
    assert weights.kv_elements_by_layer == (16, 64, 32)


def test_fewer_head_counts_than_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"1 numbers in .* for 3 layers"):
        facts_of(
            tmp_path,
            g.number_array("llama.attention.head_count_kv", "u32", [1]),
            block_count=3,
        )


def test_gemma_3_slides_in_five_of_six_layers(tmp_path: Path) -> None:
    facts = of_architecture("gemma3", g.pair("gemma3.attention.sliding_window", "u32", 512))

    weights = read_weights(written(tmp_path, facts))

    assert weights.sliding_layers == ((True,) * 5 + (False,)) * 2
    assert weights.sliding_window == 512


def test_a_pattern_in_the_file_wins(tmp_path: Path) -> None:
    facts = of_architecture(
        "gemma3",
        g.pair("gemma3.attention.sliding_window", "u32", 512),
        g.number_array("gemma3.attention.sliding_window_pattern", "bool", [True, False] * 3),
    )

    weights = read_weights(written(tmp_path, facts))

    assert weights.sliding_layers == (True, False) * 3 + (False,) * 6


def test_qwen2_has_full_attention_whatever_window_its_file_names(tmp_path: Path) -> None:
    """llama.cpp passes over the window of Qwen2; a plan with it would be far too small."""
    facts = of_architecture("qwen2", g.pair("qwen2.attention.sliding_window", "u32", 512))

    assert not any(read_weights(written(tmp_path, facts)).sliding_layers)


def test_latent_attention_keeps_one_row_and_no_values(tmp_path: Path) -> None:
    facts = of_architecture(
        "deepseek2",
        g.pair("deepseek2.attention.head_count_kv", "u32", 1),
        g.pair("deepseek2.attention.key_length", "u32", 576),
        g.pair("deepseek2.attention.value_length", "u32", 512),
        g.pair("deepseek2.attention.key_length_mla", "u32", 192),
        g.pair("deepseek2.attention.value_length_mla", "u32", 128),
    )

    assert read_weights(written(tmp_path, facts)).kv_elements_by_layer == (576,) * 12


def test_recurrent_layers_keep_a_state_instead_of_a_cache(tmp_path: Path) -> None:
    facts = of_architecture(
        "qwen3next",
        g.pair("qwen3next.ssm.inner_size", "u32", 128),
        g.pair("qwen3next.ssm.state_size", "u32", 16),
        g.pair("qwen3next.ssm.group_count", "u32", 2),
        g.pair("qwen3next.ssm.conv_kernel", "u32", 4),
    )

    weights = read_weights(written(tmp_path, facts))

    assert weights.kv_elements_by_layer == (0, 0, 0, 128) * 3
    assert weights.state_bytes == 9 * 4 * (3 * (128 + 2 * 2 * 16) + 16 * 128)


def test_experts_that_work_together_are_as_wide_as_all_of_them(tmp_path: Path) -> None:
    shape = Shape("qwen3moe", 2, 64, 4, 2, 16, 32, num_experts=8, num_experts_used=4)

    weights = read_weights(make_gguf(tmp_path / "m.gguf", shape))

    assert (weights.experts, weights.experts_used) == (8, 4)
    assert weights.feed_forward_size == 128
