"""Makes model files for tests: real architectures, real tokenizers, random numbers.

llama.cpp loads them and generates (nonsense) with them at thousands of tokens a second, so that
whatever needs an engine can be tested with a real one. `tiny_qwen2` is everybody's default;
`make_gguf` makes any shape and precision, also those of real models for measuring memory.
"""

from __future__ import annotations

import functools
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
)

# Words whose letters are merged one after the other, so that prompts of code tokenize to more
# than bytes. A leading Ġ is the byte-level spelling of a space, Ċ of a line's end.
_WORDS = (
    "def", "return", "self", "import", "class", "print", "Ġfor", "Ġin", "Ġrange", "Ġif",
    "Ġelse", "Ġthe", "Ġand", "Ġnot", "ĠNone", "hello", "Ġworld", "ĠĠĠĠ", "ĊĠĠĠĠ", "():",
    "user", "assistant", "system", "function", "Ġ=", "Ġ+", "async", "await", "while", "True",
)  # fmt: skip

POOLINGS = {"none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}


@dataclass(frozen=True)
class Shape:
    """A model's sizes. `vocabulary_size` None: as many tokens as the small tokenizer has.

    With experts (architecture "qwen3moe"), `feed_forward_size` is one expert's.
    """

    architecture: str = "qwen2"
    num_layers: int = 2
    embedding_size: int = 192
    num_heads: int = 6
    num_kv_heads: int = 2
    head_size: int = 32
    feed_forward_size: int = 768
    vocabulary_size: int | None = None
    context_tokens: int = 4096
    tied: bool = True
    sliding_window: int | None = None
    num_experts: int = 0
    num_experts_used: int = 0


TINY = Shape()
TINY_LLAMA = Shape(architecture="llama", tied=False)
# Real models' sizes, for measuring memory.
QWEN_CODER_05B = Shape("qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, True)
LLAMA_1B = Shape("llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, True)
# Others that need memory in their own ways.
SLIDING = Shape("gemma3", 12, 640, 4, 1, 256, 2048, 32000, 32768, True, 512)
SMALL_EXPERTS = Shape("qwen3moe", 4, 2048, 32, 4, 128, 768, 32000, 8192, True, None, 16, 8)
DEEP_NARROW = Shape("llama", 64, 512, 8, 8, 64, 1408, 32000, 8192, False)


def tiny_qwen2(folder: Path, name: str = "tiny.gguf", *, seed: int = 0) -> Path:
    """About 3 MB, two layers, ChatML, fill-in-the-middle tokens, a context of 4096."""
    return make_gguf(folder / name, TINY, seed=seed)


def tiny_llama(folder: Path, name: str = "tiny-llama.gguf", *, seed: int = 0) -> Path:
    return make_gguf(folder / name, TINY_LLAMA, seed=seed)


def tiny_embedder(folder: Path, name: str = "tiny-embedder.gguf", *, seed: int = 0) -> Path:
    """A decoder with mean pooling: `/v1/embeddings` answers vectors of 192 numbers."""
    return make_gguf(folder / name, TINY, seed=seed, pooling="mean", chat_template=None)


def make_gguf(
    path: Path,
    shape: Shape = TINY,
    *,
    precision: str = "F16",
    seed: int = 0,
    pooling: str | None = None,
    chat_template: str | None = CHATML,
    adds_bos: bool = False,
    name: str = "tiny",
) -> Path:
    """Writes a model of `shape` with random weights to `path`; returns `path`.

    `precision` is any type that `gguf` can quantise (F32, F16, BF16, Q8_0, Q4_0 …) or Q4_K or
    Q6_K, whose blocks are made up; norms and biases stay F32, as everywhere. Numbers repeat
    after a million, so gigabytes take seconds.
    """
    tokens, merges = vocabulary(shape.vocabulary_size)
    shape = replace(shape, vocabulary_size=len(tokens))
    writer = gguf.GGUFWriter(str(path), shape.architecture)
    _add_facts(writer, shape, precision=precision, name=name, pooling=pooling)
    _add_tokenizer(writer, tokens, merges, chat_template=chat_template, adds_bos=adds_bos)
    tensors = tuple(_tensors(shape))
    for tensor_name, sizes in tensors:
        kind = _kind(tensor_name, sizes, precision)
        writer.add_tensor_info(
            tensor_name,
            list(_stored_sizes(sizes, kind)),
            np.dtype(np.uint8 if kind.name not in ("F32", "F16") else _FLOATS[kind.name]),
            _num_bytes(sizes, kind),
            raw_dtype=kind,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pools = _Pools(seed)
    for tensor_name, sizes in tensors:
        kind = _kind(tensor_name, sizes, precision)
        writer.write_tensor_data(pools.numbers(_num_bytes(sizes, kind), kind, tensor_name))
    writer.close()
    return path


def make_huge_gguf(path: Path) -> Path:
    """A model of hundreds of gigabytes that takes no room: its numbers are a hole in the file."""
    shape = Shape("qwen2", 150, 8192, 64, 8, 128, 49152, None, 4096, True)
    tokens, merges = vocabulary(shape.vocabulary_size)
    shape = replace(shape, vocabulary_size=len(tokens))
    writer = gguf.GGUFWriter(str(path), shape.architecture)
    _add_facts(writer, shape, precision="F16", name="huge", pooling=None)
    _add_tokenizer(writer, tokens, merges, chat_template=CHATML)
    total = 0
    for name, sizes in _tensors(shape):
        kind = _kind(name, sizes, "F16")
        num_bytes = _num_bytes(sizes, kind)
        writer.add_tensor_info(name, list(sizes), np.dtype(_FLOATS[kind.name]), num_bytes, kind)
        total += -(-num_bytes // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 32 + total)
    return path


def make_split_gguf(folder: Path, shape: Shape = TINY, *, num_parts: int = 3) -> tuple[Path, ...]:
    """The same model in several files, as llama.cpp's `gguf-split` names and marks them."""
    tokens, merges = vocabulary(shape.vocabulary_size)
    shape = replace(shape, vocabulary_size=len(tokens))
    tensors = tuple(_tensors(shape))
    pools = _Pools(0)
    paths = []
    for part in range(num_parts):
        path = folder / f"tiny-{part + 1:05}-of-{num_parts:05}.gguf"
        writer = gguf.GGUFWriter(str(path), shape.architecture)
        if part == 0:
            _add_facts(writer, shape, precision="F32", name="tiny", pooling=None)
            _add_tokenizer(writer, tokens, merges, chat_template=CHATML)
        writer.add_uint16("split.no", part)
        writer.add_uint16("split.count", num_parts)
        writer.add_int32("split.tensors.count", len(tensors))
        for tensor_name, sizes in tensors[part::num_parts]:
            kind = gguf.GGMLQuantizationType.F32
            raw = pools.numbers(_num_bytes(sizes, kind), kind, tensor_name)
            writer.add_tensor(tensor_name, raw.view(np.float32).reshape(sizes))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return tuple(paths)


@functools.cache
def vocabulary(size: int | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A byte-level BPE vocabulary and its merges.

    With `size`, it is filled up with made-up merges of about six letters, as many and as long as
    real vocabularies have: they are a good part of what a running model needs besides weights.
    """
    tokens = list(byte_letters())
    merges: list[str] = []
    for word in _WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append(f"{word[: end - 1]} {word[end - 1]}")
    known = set(tokens)
    generator = random.Random(size)
    num_ordinary = (size or len(tokens) + len(SPECIAL_TOKENS)) - len(SPECIAL_TOKENS)
    while len(tokens) < num_ordinary:
        left, right = generator.choice(tokens), generator.choice(tokens)
        if len(left + right) <= 8 and left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")
    return (*tokens, *SPECIAL_TOKENS), tuple(merges)


def byte_letters() -> Iterator[str]:
    """The 256 letters that stand for bytes in every byte-level BPE since GPT-2."""
    spare = 0
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            yield chr(byte)
        else:
            yield chr(256 + spare)
            spare += 1


def _add_facts(
    writer: gguf.GGUFWriter, shape: Shape, *, precision: str, name: str, pooling: str | None
) -> None:
    writer.add_name(name)
    writer.add_block_count(shape.num_layers)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.embedding_size)
    writer.add_feed_forward_length(shape.feed_forward_size)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(shape.vocabulary_size)
    writer.add_license("mit")
    if shape.sliding_window is not None:
        writer.add_sliding_window(shape.sliding_window)
    if shape.num_experts:
        writer.add_expert_count(shape.num_experts)
        writer.add_expert_used_count(shape.num_experts_used)
        writer.add_expert_feed_forward_length(shape.feed_forward_size)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(POOLINGS[pooling]))
    file_types = {"F32": 0, "F16": 1, "Q4_K": 15, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q4_0": 2}
    if precision in file_types:
        writer.add_file_type(file_types[precision])


def _add_tokenizer(
    writer: gguf.GGUFWriter,
    tokens: tuple[str, ...],
    merges: tuple[str, ...],
    *,
    chat_template: str | None,
    adds_bos: bool = False,
) -> None:
    ids = {token: number for number, token in enumerate(tokens)}
    control = len(tokens) - len(SPECIAL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * control + [3] * len(SPECIAL_TOKENS))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_eot_token_id(ids["<|im_end|>"])
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", ids["<|fim_prefix|>"])
    writer.add_uint32("tokenizer.ggml.fim_suf_token_id", ids["<|fim_suffix|>"])
    writer.add_uint32("tokenizer.ggml.fim_mid_token_id", ids["<|fim_middle|>"])
    writer.add_uint32("tokenizer.ggml.fim_pad_token_id", ids["<|fim_pad|>"])
    writer.add_add_bos_token(adds_bos)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and sizes, outermost first, in the order of the file."""
    embedding, forward = shape.embedding_size, shape.feed_forward_size
    queries, keys = shape.num_heads * shape.head_size, shape.num_kv_heads * shape.head_size
    assert shape.vocabulary_size is not None
    yield "token_embd.weight", (shape.vocabulary_size, embedding)
    for layer in range(shape.num_layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (embedding,)
        for letter, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield f"{block}.attn_{letter}.weight", (rows, embedding)
            if shape.architecture == "qwen2":
                yield f"{block}.attn_{letter}.bias", (rows,)
        yield f"{block}.attn_output.weight", (embedding, queries)
        if shape.architecture in ("qwen3", "qwen3moe", "gemma3"):
            yield f"{block}.attn_q_norm.weight", (shape.head_size,)
            yield f"{block}.attn_k_norm.weight", (shape.head_size,)
        yield f"{block}.ffn_norm.weight", (embedding,)
        if shape.architecture == "gemma3":
            yield f"{block}.post_attention_norm.weight", (embedding,)
            yield f"{block}.post_ffw_norm.weight", (embedding,)
        if shape.num_experts:
            yield f"{block}.ffn_gate_inp.weight", (shape.num_experts, embedding)
            yield f"{block}.ffn_gate_exps.weight", (shape.num_experts, forward, embedding)
            yield f"{block}.ffn_up_exps.weight", (shape.num_experts, forward, embedding)
            yield f"{block}.ffn_down_exps.weight", (shape.num_experts, embedding, forward)
        else:
            yield f"{block}.ffn_gate.weight", (forward, embedding)
            yield f"{block}.ffn_up.weight", (forward, embedding)
            yield f"{block}.ffn_down.weight", (embedding, forward)
    yield "output_norm.weight", (embedding,)
    if not shape.tied:
        yield "output.weight", (shape.vocabulary_size, embedding)


_FLOATS = {"F32": np.float32, "F16": np.float16}


def _kind(name: str, sizes: tuple[int, ...], precision: str) -> gguf.GGMLQuantizationType:
    kind = gguf.GGMLQuantizationType[precision]
    if len(sizes) == 1:
        return gguf.GGMLQuantizationType.F32
    block_size, _ = gguf.GGML_QUANT_SIZES[kind]
    # What llama.cpp's own quantiser does with rows that a block does not divide.
    return kind if sizes[-1] % block_size == 0 else gguf.GGMLQuantizationType.Q8_0


def _num_bytes(sizes: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> int:
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(sizes)) // block_size * block_bytes


def _stored_sizes(sizes: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    if kind.name in _FLOATS:
        return sizes
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    return (*sizes[:-1], sizes[-1] // block_size * block_bytes)


class _Pools:
    """A million random numbers in each type, repeated as often as a tensor needs."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.by_kind: dict[gguf.GGMLQuantizationType, np.ndarray] = {}

    def numbers(
        self, num_bytes: int, kind: gguf.GGMLQuantizationType, tensor_name: str
    ) -> np.ndarray:
        if tensor_name.endswith("norm.weight"):
            return np.ones(num_bytes // 4, dtype=np.float32).view(np.uint8)
        pool = self.by_kind.get(kind)
        if pool is None:
            pool = self.by_kind[kind] = self._pool(kind)
        block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
        start = int(self.generator.integers(pool.size // block_bytes)) * block_bytes
        times = -(-(start + num_bytes) // pool.size)
        return np.tile(pool, times)[start : start + num_bytes]

    def _pool(self, kind: gguf.GGMLQuantizationType) -> np.ndarray:
        block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
        if kind.name in ("Q4_K", "Q6_K"):
            blocks = self.generator.integers(0, 256, size=(4096, block_bytes), dtype=np.uint8)
            scale = np.frombuffer(np.float16(1e-4).tobytes(), dtype=np.uint8)
            if kind.name == "Q4_K":
                blocks[:, 0:2] = blocks[:, 2:4] = scale
            else:
                blocks[:, -2:] = scale
            return blocks.reshape(-1)
        numbers = self.generator.standard_normal(1 << 20, dtype=np.float32) * np.float32(0.05)
        return np.ascontiguousarray(gguf.quants.quantize(numbers, kind)).view(np.uint8).reshape(-1)


def make_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> Path:
    """A file whose tensors are zeros: name -> (dtype, shape). Sparse, so large ones are free."""
    sizes = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + int(np.prod(shape)) * sizes[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    content = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        file.truncate(8 + len(content) + end)
    return path
