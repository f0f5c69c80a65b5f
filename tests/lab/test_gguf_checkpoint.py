"""A GGUF as a checkpoint: the same numbers, the same tokenizer, and nothing of it guessed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codehearth.errors import BadWeights, HearthError, Unsupported
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.lab.gguf_checkpoint import write_checkpoint
from codehearth.lab.scoring import tokenize
from codehearth.lab.source import gguf_source
from codehearth.models.weights import read_weights
from tests.cli.command_line import STARTER
from tests.engine_environments import installed
from tests.starter_files import starter_checkpoint
from tests.tiny_models import TINY, TINY_LLAMA, make_gguf

TEXTS = (
    "def add(first, second):\n\treturn first + second  # the sum\n\n\n",
    "写一个函数，把列表倒过来。你是谁？ 全角：１２３，emoji 🙂🇨🇳 é ñ \u200b\ufeff",
    "class A:\n    def __init__(self, *args, **kwargs):\n        super().__init__()\r\n\r\n",
    "I'LL don't WE've   1234567890  3.14e-10\n \n  x\t\ty    ",
    'if (a != b && c <= d) { return `x${y}`; } // \\n "quoted"',
)
SPECIAL = (
    "<|im_start|>user\nhi<|im_end|>\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|><|endoftext|>"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's."""
    return starter_checkpoint(tmp_path_factory.mktemp("data"))


def numbers(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a file in bf16, in 32 bits."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    assert header.pop("__metadata__") == {"format": "pt"}
    found = {}
    for name, entry in header.items():
        assert entry["dtype"] == "BF16"
        begin, end = entry["data_offsets"]
        halves = np.frombuffer(content[start + begin : start + end], "<u2")
        values = (halves.astype(np.uint32) << 16).view(np.float32)
        found[name] = values.reshape(entry["shape"])
    return found


def test_the_starters_numbers_are_those_of_the_gguf_to_the_nearest_bf16(checkpoint: Path) -> None:
    found = numbers(checkpoint / "model.safetensors")

    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(STARTER).tensors}
    assert len(found) == len(stored)
    for mine, its in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("lm_head.weight", "output.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias"),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
    ):
        tensor = stored[its]
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert found[mine].shape == expected.shape
        assert np.all(np.abs(found[mine] - expected) <= np.abs(expected) * 2.0**-8)


def test_made_a_gguf_again_it_says_what_the_first_one_said(checkpoint: Path) -> None:
    """Vocabulary, merges, special tokens, template and sizes, through the lab's own converter."""
    told = {fact.key: fact.value for fact in checkpoint_source(checkpoint, name="x").facts}
    first = {fact.key: fact.value for fact in gguf_source(STARTER).facts}

    model = {key for key in first if key.startswith(("tokenizer.", "qwen2."))}
    unsaid = {"tokenizer.ggml.add_bos_token"}  # nothing is set before a text unless one says so
    assert {key for key in model - unsaid if told.get(key) != first[key]} == set()


def test_the_tokenizer_cuts_text_as_llama_cpp_does(checkpoint: Path) -> None:
    """With the library `tokenizers`, in the environment of transformers."""
    python = installed("transformers").python
    code = (
        "import json, sys; from tokenizers import Tokenizer;"
        "tokenizer = Tokenizer.from_file(sys.argv[1]);"
        "texts = json.load(sys.stdin);"
        "print(json.dumps([tokenizer.encode(one, add_special_tokens=False).ids for one in texts]))"
    )
    library = Path(subprocess.__file__).read_text("utf-8")
    texts = [*TEXTS, *(text * 3 for text in TEXTS), "".join(TEXTS), library]
    done = subprocess.run(
        [python, "-c", code, str(checkpoint / "tokenizer.json")],
        input=json.dumps([*texts, SPECIAL]),
        capture_output=True,
        text=True,
        check=True,
    )

    *plain, special = json.loads(done.stdout)
    assert plain == [tokenize(STARTER, text)[0] for text in texts]
    tokens = gguf.GGUFReader(STARTER).get_field("tokenizer.ggml.tokens").contents()
    marks = [token for token in tokens if token in SPECIAL and token.startswith("<|")]
    assert len(marks) == 6 and {tokens.index(mark) for mark in marks} <= set(special)


@pytest.mark.parametrize("precision", ["F32", "F16", "BF16", "Q8_0"])
def test_every_type_that_is_read_gives_its_numbers(precision: str, tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", TINY, precision=precision)
    folder = tmp_path / "made"
    folder.mkdir()

    write_checkpoint(path, folder)

    found = numbers(folder / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    tensor = tensors["blk.0.attn_q.weight"]
    expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    made = found["model.layers.0.self_attn.q_proj.weight"]
    assert np.all(np.abs(made - expected) <= np.abs(expected) * 2.0**-8)
    assert ("lm_head.weight" in found) == ("output.weight" in tensors)
    weights, its = read_weights(folder), read_weights(path)
    assert (weights.num_parameters, weights.context_tokens, weights.chat_template) == (
        its.num_parameters, its.context_tokens, its.chat_template,
    )  # fmt: skip


def _damaged(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[-400:] = b"\xff" * 400
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda path: make_gguf(path, TINY_LLAMA), Unsupported, "not of 'llama'"),
        (lambda path: make_gguf(path, TINY, precision="Q4_0"), Unsupported, "stored as Q4_0"),
        (lambda path: make_gguf(path, TINY, adds_bos=True), Unsupported, "tokenizer"),
        (lambda path: _damaged(make_gguf(path, TINY, precision="F32")), BadWeights, "are none"),
    ],
)
def test_what_cannot_be_written_is_said(
    make: Callable[[Path], Path], kind: type[HearthError], said: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "tiny.gguf")
    folder = tmp_path / "made"
    folder.mkdir()

    with pytest.raises(kind, match=said):
        write_checkpoint(path, folder)
