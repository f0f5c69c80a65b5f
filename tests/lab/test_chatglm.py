"""CodeGeeX2 (ChatGLM2): the route that works is a GGUF made here, served by llama.cpp.

Its own code does not run in today's transformers. A tiny random one is converted, served, and held
against its computation in numpy.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from codehearth.engines.base import Launch
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.lab.checkpoint_source import checkpoint_source
from codehearth.models.weights import read_weights
from tests.cli.command_line import Hearth, served
from tests.engines.children import raw_exchange
from tests.engines.contract.contenders import Contender, Running, running
from tests.lab.chatglm import CONTROLS, END, PREFIX, TinyChatGlm, tiny_chatglm
from tests.lab.test_quantize import quantised
from tests.lab.test_vocabularies import PIECES

IDS = [*PREFIX, 259, 261, 265, 262, 264]  # "[gMASK]sop" and some pieces


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyChatGlm:
    return tiny_chatglm(tmp_path_factory.mktemp("home") / "codegeex2")


@pytest.fixture(scope="module")
def gguf_path(tiny: TinyChatGlm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = checkpoint_source(tiny.folder, name="codegeex2")
    return quantised(source, "f32", tmp_path_factory.mktemp("made"))


def post(engine: Running, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, _, answer = raw_exchange(engine.endpoint, "POST", path, json.dumps(body).encode())
    assert status == 200, answer
    whole: dict[str, Any] = json.loads(answer)
    return whole


def test_llama_cpp_computes_what_the_published_code_computes(
    tiny: TinyChatGlm, gguf_path: Path
) -> None:
    expected = tiny.logprobs(IDS)[-1]
    launch = Launch(gguf_path, "tiny", 2048, num_slots=1, num_threads=1)
    engine = LlamaCpp({"PATH": os.environ["PATH"]})

    with running(Contender(engine, launch).process()) as started:
        body = {"prompt": IDS, "max_tokens": 1, "temperature": 0, "logprobs": 20}
        answer = post(started, "/v1/completions", body | {"ignore_eos": True})
        text = {"content": "[gMASK]sopthe", "add_special": True, "parse_special": True}
        tokens = post(started, "/tokenize", text)["tokens"]

    entries = answer["choices"][0]["logprobs"]["content"]
    found = {one["id"]: one["logprob"] for one in entries[0]["top_logprobs"]}
    assert list(found)[:8] == list(np.argsort(-expected)[:8])
    for token, logprob in found.items():
        # Spread over 4.8 nats; llama.cpp keeps keys and values in 16 bits.
        assert logprob == pytest.approx(expected[token], abs=0.02)
    assert tokens == [*PREFIX, 261]  # as its tokenizer's code: the prefix once, then "▁the"


def test_the_file_holds_what_only_the_checkpoints_code_knew(gguf_path: Path) -> None:
    weights = read_weights(gguf_path)

    assert weights.architecture == "chatglm"
    assert (weights.num_heads, weights.num_kv_heads, weights.context_tokens) == (4, 2, 2048)
    assert weights.text_prefix == "[gMASK]sop"
    assert weights.token_ids["eos"] == END
    assert weights.vocabulary_size == 320 > len(PIECES) + len(CONTROLS)


def test_it_is_refused_with_the_route_and_the_route_serves_it(
    tiny: TinyChatGlm, tmp_path: Path
) -> None:
    """None of its code runs; a text is completed behind the prefix that its code would set."""
    hearth = Hearth(tmp_path)

    refused = hearth("serve", "-m", str(tiny.folder), "--port", "0", "--no-page")
    made = hearth("quantize", str(tiny.folder), "--to", "q8_0")
    with served(hearth, "-m", "codegeex2:q8_0") as url:
        body = {"model": "codegeex2:q8_0", "prompt": "the", "max_tokens": 4, "temperature": 0}
        answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=60).json()

    assert refused.code != 0 and "hearth quantize" in refused.err
    assert made.code == 0, made.err
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["completion_tokens"] >= 1
