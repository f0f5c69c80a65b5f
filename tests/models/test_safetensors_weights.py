"""Facts read from checkpoints: one file or many, packed or not, and nothing outside the folder."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import make_safetensors

from codehearth.errors import BadWeights
from codehearth.models.safetensors_header import MAX_HEADER_BYTES, read_safetensors_header
from codehearth.models.weights import Weights, read_weights

CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 300,
    "max_position_embeddings": 2048,
    "eos_token_id": 7,
}
TENSORS: dict[str, tuple[str, tuple[int, ...]]] = {
    "model.embed_tokens.weight": ("BF16", (300, 64)),
    "model.layers.0.mlp.up_proj.weight": ("BF16", (128, 64)),
    "model.layers.1.mlp.up_proj.weight": ("BF16", (128, 64)),
    "model.norm.weight": ("F32", (64,)),
    "lm_head.weight": ("BF16", (300, 64)),
}


def checkpoint(
    folder: Path,
    tensors: dict[str, tuple[str, tuple[int, ...]]] = TENSORS,
    **changes: object,
) -> Path:
    make_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    return folder


def sharded(folder: Path, weight_map: dict[str, object]) -> Path:
    checkpoint(folder)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def with_header(path: Path, header: bytes, *, claimed: int | None = None, data: int = 0) -> Path:
    length = len(header) if claimed is None else claimed
    path.write_bytes(struct.pack("<Q", length) + header + bytes(data))
    return path


def test_a_checkpoints_facts_are_read(tmp_path: Path) -> None:
    weights = read_weights(checkpoint(tmp_path))

    assert weights.kind == "safetensors"
    assert weights.architecture == "qwen2"
    assert weights.precision == "BF16"
    assert weights.num_parameters == 2 * 300 * 64 + 2 * 128 * 64 + 64
    assert weights.num_bytes == 2 * (weights.num_parameters - 64) + 4 * 64
    assert weights.bytes_by_layer == (2 * 128 * 64,) * 2
    assert weights.embedding_bytes == weights.output_bytes == 2 * 300 * 64
    assert weights.kv_elements_by_layer == (2 * 2 * 16,) * 2
    assert weights.context_tokens == 2048
    assert weights.token_ids == {"eos": 7}
    assert not weights.is_embedding_model


def test_a_single_file_is_read_with_the_config_beside_it(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)

    assert read_weights(folder / "model.safetensors") == read_weights(folder)


def test_a_file_without_a_config_is_refused(tmp_path: Path) -> None:
    path = make_safetensors(tmp_path / "adapter.safetensors", TENSORS)

    with pytest.raises(BadWeights, match=r"has no config\.json"):
        read_weights(path)


def test_shards_are_one_model(tmp_path: Path) -> None:
    names = list(TENSORS)
    first, second = {n: TENSORS[n] for n in names[:2]}, {n: TENSORS[n] for n in names[2:]}
    weight_map = dict.fromkeys(first, "a-1.safetensors") | dict.fromkeys(second, "a-2.safetensors")
    sharded(tmp_path, weight_map)
    make_safetensors(tmp_path / "a-1.safetensors", first)
    make_safetensors(tmp_path / "a-2.safetensors", second)

    weights = read_weights(tmp_path)

    assert weights.num_parameters == 2 * 300 * 64 + 2 * 128 * 64 + 64


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    make_safetensors(tmp_path / "kept.safetensors", TENSORS)
    sharded(tmp_path, {"a": "kept.safetensors", "b": "model-2.safetensors"})

    with pytest.raises(BadWeights, match=r"model-2\.safetensors' is missing"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../up.safetensors", "/etc/passwd", "sub/m.safetensors", "m.bin", "", "..", 7, None,
     "x" * 300 + ".safetensors", "a\n.safetensors"],
)  # fmt: skip
def test_an_index_cannot_name_files_outside_the_folder(tmp_path: Path, name: object) -> None:
    make_safetensors(tmp_path / "kept.safetensors", TENSORS)
    sharded(tmp_path, {"a": name})

    with pytest.raises(BadWeights):
        read_weights(tmp_path)


def test_packed_weights_count_what_they_stand_for(tmp_path: Path) -> None:
    tensors = {
        "model.layers.0.mlp.up_proj.qweight": ("I32", (8, 128)),
        "model.layers.0.mlp.up_proj.qzeros": ("I32", (1, 16)),
        "model.layers.0.mlp.up_proj.scales": ("F16", (1, 128)),
        "model.layers.0.mlp.up_proj.g_idx": ("I32", (64,)),
        "model.embed_tokens.weight": ("F16", (300, 64)),
    }
    packed = {"bits": 4, "quant_method": "gptq"}

    weights = read_weights(checkpoint(tmp_path, tensors, quantization_config=packed))

    assert weights.precision == "INT4 (GPTQ)"
    assert weights.num_parameters == 64 * 128 + 300 * 64


def test_old_spellings_are_understood(tmp_path: Path) -> None:
    config = {"model_type": "codegen", "n_layer": 2, "n_embd": 64, "n_head": 4,
              "n_positions": 2048, "vocab_size": 300}  # fmt: skip
    make_safetensors(tmp_path / "model.safetensors", {"transformer.h.1.ln_1.bias": ("F32", (64,))})
    (tmp_path / "config.json").write_text(json.dumps(config))

    weights = read_weights(tmp_path)

    assert (weights.num_layers, weights.num_kv_heads, weights.feed_forward_size) == (2, 4, 256)
    assert weights.bytes_by_layer == (0, 256)


def test_the_text_part_of_a_model_that_sees_is_read(tmp_path: Path) -> None:
    inner = CONFIG | {"num_hidden_layers": 5}
    make_safetensors(tmp_path / "model.safetensors", TENSORS)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "text_config": inner}))

    assert read_weights(tmp_path).num_layers == 5


def test_end_tokens_come_from_the_generation_config_first(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    generation = {"eos_token_id": [5, 6, 9999], "bos_token_id": 1}
    (tmp_path / "generation_config.json").write_text(json.dumps(generation))

    assert read_weights(tmp_path).token_ids == {"eos": 5, "eot": 6, "bos": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.jinja", "the template"),
        ("chat_template.json", '{"chat_template": "the template"}'),
        ("tokenizer_config.json", '{"chat_template": "the template"}'),
        (
            "tokenizer_config.json",
            '{"chat_template": [{"name": "tool_use", "template": "x"},'
            ' {"name": "default", "template": "the template"}]}',
        ),
    ],
)
def test_the_chat_template_is_found_wherever_it_is_kept(
    tmp_path: Path, name: str, content: str
) -> None:
    (checkpoint(tmp_path) / name).write_text(content)

    assert read_weights(tmp_path).chat_template == "the template"


def test_a_sentence_model_is_known_by_its_pooling(tmp_path: Path) -> None:
    (checkpoint(tmp_path) / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_lasttoken": true}')

    weights = read_weights(tmp_path)

    assert weights.is_embedding_model
    assert weights.pooling == "last"


def test_infilling_marks_are_found_in_the_tokenizer(tmp_path: Path) -> None:
    (checkpoint(tmp_path) / "tokenizer.json").write_text('{"content": "<|fim_prefix|>"}')

    assert read_weights(tmp_path).fim_marks == {"<|fim_prefix|>"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 0}, "has 0 layers"),
        ({"num_hidden_layers": 10**9}, "says '1000000000'"),
        ({"num_hidden_layers": True}, "says 'True'"),
        ({"hidden_size": "64"}, "says '64'"),
        ({"num_attention_heads": 0}, "0 heads"),
        ({"vocab_size": -1}, "says '-1'"),
        ({"max_position_embeddings": None}, "does not say 'max_position_embeddings'"),
    ],
)
def test_configs_that_no_model_has_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BadWeights) as caught:
        read_weights(checkpoint(tmp_path, **changes))

    assert words in caught.value.message


def entry(**changes: object) -> bytes:
    return json.dumps(
        {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}
    ).encode()


@pytest.mark.parametrize(
    ("header", "claimed", "words"),
    [
        (b"{}", 1 << 62, "cut off"),
        (b"{}", 100, "cut off"),
        (b" " * (MAX_HEADER_BYTES + 1), None, "has a header of 16777217 bytes"),
        (b"[]", None, "no JSON object"),
        (b"\xff\xfe", None, "JSON"),
        (b"NaN", None, "JSON"),
        (b'{"a": NaN}', None, "JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", None, "JSON"),
        (b"[" * 100_000 + b"]" * 100_000, None, "JSON"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, None, "JSON"),
        (b"[" + b"[]," * 1_100_000 + b"1]", None, "too many values"),
        (b'{"a": 1, "a": 1}', None, "JSON"),
        (b'{"t": 1}', None, "does not describe 't'"),
        (entry(dtype="F12"), None, "unknown type 'F12'"),
        (entry(dtype=["F32"]), None, "unknown type"),
        (entry(shape=[-2]), None, "no proper shape"),
        (entry(shape=[2.0]), None, "no proper shape"),
        (entry(shape=[1] * 17), None, "no proper shape"),
        (entry(shape=[1 << 61, 1 << 61]), None, "bytes for"),
        (entry(data_offsets=[8, 0]), None, "bytes for"),
        (entry(data_offsets=[0, 8, 8]), None, "no proper shape or place"),
        (entry(data_offsets=[8, 16]), None, "wrong place"),
        (entry(shape=[4], data_offsets=[0, 16]), None, "ends 8 bytes too early"),
        (entry(shape=[1], data_offsets=[0, 4]), None, "belong to no tensor"),
    ],
)
def test_what_is_no_good_header_is_refused_with_its_reason(
    tmp_path: Path, header: bytes, claimed: int | None, words: str
) -> None:
    path = with_header(tmp_path / "some.safetensors", header, claimed=claimed, data=8)

    with pytest.raises(BadWeights) as caught:
        read_safetensors_header(path)

    assert words in caught.value.message


def test_overlapping_tensors_are_refused(tmp_path: Path) -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    two = one | {"data_offsets": [4, 12]}
    header = json.dumps({"a": one, "b": two}).encode()

    with pytest.raises(BadWeights, match="wrong place"):
        read_safetensors_header(with_header(tmp_path / "some.safetensors", header, data=12))


def read_or_refused(folder: Path) -> None:
    try:
        assert isinstance(read_weights(folder), Weights)
    except BadWeights as error:
        assert error.message


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(header=st.binary(max_size=400), data=st.integers(0, 64))
def test_garbage_is_read_or_refused(tmp_path: Path, header: bytes, data: int) -> None:
    checkpoint(tmp_path)
    with_header(tmp_path / "model.safetensors", header, data=data)

    read_or_refused(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from([*sorted(CONFIG), "text_config", "quantization_config", "head_dim"]),
       value=JSON, place=st.sampled_from(["config.json", "generation_config.json",
                                          "tokenizer_config.json", "index"]))  # fmt: skip
def test_any_json_in_any_place_is_read_or_refused(
    tmp_path: Path, name: str, value: object, place: str
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    checkpoint(tmp_path)
    if place == "index":
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}))
    elif place == "config.json":
        (tmp_path / place).write_text(json.dumps(CONFIG | {name: value}))
    else:
        (tmp_path / place).write_text(json.dumps({name: value, "chat_template": value}))

    read_or_refused(tmp_path)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bits_and_truncations_are_read_or_refused(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = checkpoint(tmp_path) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, 600))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])

    read_or_refused(tmp_path)
