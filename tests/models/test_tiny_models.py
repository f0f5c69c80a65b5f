"""The models that tests make are models: llama.cpp loads them, generates and embeds with them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_models import (
    SLIDING,
    TINY,
    Shape,
    make_gguf,
    make_split_gguf,
    tiny_embedder,
    tiny_llama,
    tiny_qwen2,
    vocabulary,
)

from codehearth.engines.base import Launch
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.gateway.engine.link import ask
from codehearth.models.hardware import snapshot
from codehearth.models.planning import plan
from codehearth.models.weights import read_weights

CONTEXT, SLOTS = 2048, 2


async def with_engine(
    path: Path, *questions: tuple[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """The engine's answers, and the resident bytes of its child afterwards."""
    weights = read_weights(path)
    chosen = plan(weights, replace(snapshot(), gpus=()), context_tokens=CONTEXT, num_slots=SLOTS)
    launch = Launch(
        path=path,
        alias="tiny",
        context_tokens=chosen.context_tokens,
        num_slots=chosen.num_slots,
        num_threads=1,
        is_embedding=weights.is_embedding_model,
        mapped=chosen.mapped,
    )
    process = EngineProcess("tiny", partial(LlamaCpp(dict(os.environ)).command, launch))
    try:
        endpoint = await process.ensure_ready()
        answers = []
        for route, body in questions:
            async with ask(endpoint, "POST", route, json.dumps(body).encode()) as reply:
                content = await reply.whole()
                assert reply.status == 200, content
                answers.append(json.loads(content))
        return answers, int(psutil.Process(process.pid).memory_info().rss)
    finally:
        await process.stop()


def split(folder: Path) -> Path:
    return make_split_gguf(folder, num_parts=3)[0]


def of_shape(shape: Shape, precision: str) -> Callable[[Path], Path]:
    return lambda folder: make_gguf(folder / "m.gguf", shape, precision=precision)


WIDE = replace(TINY, embedding_size=256, num_heads=8)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(tiny_qwen2, id="qwen2"),
        pytest.param(tiny_llama, id="llama"),
        pytest.param(split, id="split"),
        pytest.param(of_shape(WIDE, "Q8_0"), id="Q8_0"),
        pytest.param(of_shape(WIDE, "Q4_K"), id="Q4_K"),
        pytest.param(of_shape(replace(SLIDING, vocabulary_size=None), "Q8_0"), id="sliding"),
        pytest.param(
            of_shape(Shape("qwen3moe", 2, 64, 4, 2, 16, 32, num_experts=4, num_experts_used=2),
                     "F16"),
            id="experts",
        ),
    ],
)  # fmt: skip
def test_a_model_chats_and_completes(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
    completion = {"prompt": "def hello():\n    return", "n_predict": 8, "ignore_eos": True}

    answers, _ = asyncio.run(
        with_engine(make(tmp_path), ("/v1/chat/completions", chat), ("/completion", completion))
    )

    assert answers[0]["choices"][0]["message"]["role"] == "assistant"
    assert answers[1]["tokens_predicted"] == 8


def test_the_tokenizer_gives_back_what_it_was_given(tmp_path: Path) -> None:
    text = "def hello world():\n    return  # 你好, naïve 🎉\n"
    path = tiny_qwen2(tmp_path)

    (tokens,), _ = asyncio.run(with_engine(path, ("/tokenize", {"content": text})))
    (answer,), _ = asyncio.run(with_engine(path, ("/detokenize", tokens)))

    assert answer["content"] == text
    assert len(tokens["tokens"]) < len(text.encode())


def test_special_tokens_are_one_token_each(tmp_path: Path) -> None:
    question = {"content": "<|im_end|><|fim_prefix|>", "parse_special": True}

    (answer,), _ = asyncio.run(with_engine(tiny_qwen2(tmp_path), ("/tokenize", question)))

    tokens, _ = vocabulary()
    assert [tokens[number] for number in answer["tokens"]] == ["<|im_end|>", "<|fim_prefix|>"]


def test_the_embedder_embeds(tmp_path: Path) -> None:
    question = {"input": ["hello", "def f(): return 1"]}

    (answer,), _ = asyncio.run(with_engine(tiny_embedder(tmp_path), ("/v1/embeddings", question)))

    assert [len(one["embedding"]) for one in answer["data"]] == [192, 192]


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    one, two = tiny_qwen2(tmp_path, "one.gguf"), tiny_qwen2(tmp_path, "two.gguf")
    other = tiny_qwen2(tmp_path, "other.gguf", seed=1)

    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
@pytest.mark.parametrize("precision", ["Q8_0", "Q4_K"])
def test_a_child_holds_about_as_much_as_was_predicted(tmp_path: Path, precision: str) -> None:
    """`benchmarks/memory.py` does this for models of real sizes and prints the errors."""
    shape = Shape("llama", 12, 1024, 16, 8, 64, 2816, None, 4096, True)
    path = make_gguf(tmp_path / "m.gguf", shape, precision=precision)
    prompt = {"prompt": [number % 300 for number in range(600)], "n_predict": 4}

    _, measured = asyncio.run(with_engine(path, ("/completion", prompt)))

    hardware = replace(snapshot(), gpus=())
    chosen = plan(read_weights(path), hardware, context_tokens=CONTEXT, num_slots=SLOTS)
    assert chosen.mapped is (precision == "Q8_0")
    assert measured == pytest.approx(chosen.footprint.total_bytes, rel=0.12)
