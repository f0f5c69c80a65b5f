"""The worker on transformers with checkpoints of old and new families, as real processes."""

from __future__ import annotations

import json
import random
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines.children import raw_exchange
from engines.contract.contenders import Running, running, transformers
from tiny_checkpoints import FAMILIES, WIDTH, tiny_checkpoint, write_safetensors
from tiny_gptq import tiny_gptq

from codehearth.engines.worker import WORKERS
from codehearth.errors import EngineFailed
from codehearth.models.weights import read_weights

GREEDY = {"temperature": 0, "ignore_eos": True}
ASK = [{"role": "user", "content": "hello"}]


def post(engine: Running, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    status, _, answer = raw_exchange(engine.endpoint, "POST", path, json.dumps(body).encode())
    return status, json.loads(answer)


def completed(engine: Running, **body: Any) -> dict[str, Any]:
    status, answer = post(engine, "/v1/completions", body)
    assert status == 200, answer
    whole: dict[str, Any] = answer
    return whole


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(transformers(tmp_path_factory.mktemp("model")).process()) as started:
        yield started


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_loads_and_answers_many_as_it_answers_one(family: str, tmp_path: Path) -> None:
    contender = transformers(tmp_path)
    path = tiny_checkpoint(tmp_path / family, family)
    assert contender.engine.can_load(read_weights(path)) is None
    prompts = [
        "def",
        "def add(a, b):\n    return a",
        "x = [1, 2, 3]\nfor i in x:\n    print(i)\n" * 6,
    ]

    with running(contender.process(path=path)) as started:
        alone = [
            completed(started, prompt=prompt, max_tokens=20, **GREEDY)["choices"][0]["text"]
            for prompt in prompts
        ]
        together = completed(started, prompt=prompts, max_tokens=20, **GREEDY)

    assert [choice["text"] for choice in together["choices"]] == alone
    assert together["usage"]["completion_tokens"] == 60
    assert len(set(alone)) == 3


def test_codefuse_chats_by_its_own_template_and_pads_with_what_ends_it(tmp_path: Path) -> None:
    """Turns are `<s>human` and `<s>bot`; the end of a sentence ends a bot's turn and is the padding
    too: shorter prompts of a batch are padded on the left and must not end with it."""
    contender = transformers(tmp_path)
    sentence_end = "<｜end▁of▁sentence｜>"
    template = (
        "{% for m in messages %}"
        "{% if m['role'] == 'user' %}{{ '<s>human\\n' + m['content'] + '\\n' }}"
        "{% else %}{{ '<s>bot\\n' + m['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<s>bot\\n' }}{% endif %}"
    )
    path = tiny_checkpoint(
        tmp_path / "codefuse",
        "llama",
        chat_template=template,
        end=sentence_end,
        pad=sentence_end,
        specials=(sentence_end,),
    )
    turns = [*ASK, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "More"}]
    prompts = ["def", "def add(a, b):\n    return a"]

    with running(contender.process(path=path)) as started:
        _, rendered = post(started, "/apply-template", {"messages": turns})
        _, end = post(started, "/tokenize", {"content": sentence_end})
        alone = [
            completed(started, prompt=one, max_tokens=20, **GREEDY)["choices"][0] for one in prompts
        ]
        together = completed(started, prompt=prompts, max_tokens=20, **GREEDY)["choices"]
        body = {"messages": turns, "logit_bias": [[end["tokens"][0], 1000]]}
        ended = post(started, "/v1/chat/completions", body)[1]["choices"][0]

    assert rendered["prompt"] == (
        f"<s>human\nhello\n<s>bot\nHi.{sentence_end}\n<s>human\nMore\n<s>bot\n"
    )
    assert len(end["tokens"]) == 1
    assert [one["text"] for one in together] == [one["text"] for one in alone]
    assert (ended["message"]["content"], ended["finish_reason"]) == ("", "stop")


def test_infilling_by_mask_tokens_ends_at_the_end_of_the_mask(tmp_path: Path) -> None:
    """InCoder's end mark is a special token: no text is ever written of it."""
    contender = transformers(tmp_path)
    path = tiny_checkpoint(tmp_path / "incoder", "xglm")
    prompt = "def add(a, b):\n<|mask:0|>\n    return c<|mask:1|><|mask:0|>"

    with running(contender.process(path=path)) as started:
        _, mark = post(started, "/tokenize", {"content": "<|endofmask|>"})
        body = {
            "prompt": prompt,
            "logit_bias": [[mark["tokens"][0], 1000]],
            "stop": ["<|endofmask|>"],
            **GREEDY,
        }
        answer = completed(started, **body)["choices"][0]

    assert read_weights(path).fim_marks >= {"<|mask:0|>", "<|mask:1|>"}
    assert len(mark["tokens"]) == 1
    assert (answer["text"], answer["finish_reason"]) == ("", "stop")


def test_a_prompt_is_scored_as_its_tokens_would_be_written(engine: Running) -> None:
    """What an evaluation harness asks: how likely is this text after that one?"""
    written = completed(engine, prompt="def add", max_tokens=8, logprobs=1, **GREEDY)["choices"][0]
    ids = [token["id"] for token in written["logprobs"]["content"]]
    _, prompt = post(engine, "/tokenize", {"content": "def add"})

    scored = completed(engine, prompt=prompt["tokens"] + ids, max_tokens=0, logprobs=1, echo=True)[
        "choices"
    ][0]

    tokens = scored["logprobs"]["content"]
    assert tokens[0]["logprob"] is None
    assert [token["id"] for token in tokens[-8:]] == ids
    for now, then in zip(tokens[-8:], written["logprobs"]["content"], strict=True):
        assert now["logprob"] == pytest.approx(then["logprob"], abs=1e-4)


def test_a_long_prompt_is_scored_across_its_portions(engine: Running) -> None:
    """The last token of a portion predicts the first one of the next."""
    body = {"prompt": "def add(a, b): " * 60, "max_tokens": 1, "logprobs": 0, "echo": True}

    answer = completed(engine, **body)

    tokens = answer["choices"][0]["logprobs"]["content"]
    assert len(tokens) == answer["usage"]["total_tokens"]
    assert [token["logprob"] is None for token in tokens].count(True) == 1


def test_several_answers_to_one_prompt_have_seeds_of_their_own(engine: Running) -> None:
    body = {"prompt": "def", "max_tokens": 12, "n": 3, "seed": 5, "ignore_eos": True}

    first, second = (completed(engine, **body)["choices"] for _ in range(2))

    assert [choice["text"] for choice in first] == [choice["text"] for choice in second]
    assert len({choice["text"] for choice in first}) == 3
    assert [choice["index"] for choice in first] == [0, 1, 2]


@pytest.mark.parametrize(
    "sampling",
    [
        {"top_k": 1},
        {"top_p": 0.000001},
        {"min_p": 1.0},
        {"temperature": 0.0},
        {"top_k": 50, "top_p": 0.00001, "min_p": 0.1, "temperature": 2.0},
    ],
)
def test_the_narrowest_choice_is_the_likeliest_token(
    engine: Running, sampling: dict[str, float]
) -> None:
    greedy = completed(engine, prompt="import", max_tokens=15, **GREEDY)["choices"][0]["text"]

    body = {"prompt": "import", "max_tokens": 15, "ignore_eos": True, **sampling}

    assert completed(engine, **body)["choices"][0]["text"] == greedy


def test_a_crowd_that_comes_and_goes_gets_the_answers_of_the_lonely(engine: Running) -> None:
    """Prompts of one to some hundred tokens, some scored, and a third of the clients leaves."""
    chance = random.Random(4)
    bodies = [
        {
            "prompt": [chance.randrange(350) for _ in range(chance.choice((1, 5, 60, 150, 300)))],
            "max_tokens": chance.choice((1, 7, 30)),
            **({"logprobs": 1, "echo": True} if chance.random() < 0.2 else {}),
            **GREEDY,
        }
        for _ in range(24)
    ]
    alone = [completed(engine, **body)["choices"][0]["text"] for body in bodies]

    def ask(number: int) -> str | None:
        if number % 3 == 2:
            leave_early(engine, bodies[number])
            return None
        return str(completed(engine, **bodies[number])["choices"][0]["text"])

    with ThreadPoolExecutor(len(bodies)) as threads:
        together = list(threads.map(ask, range(len(bodies))))

    for then, now in zip(alone, together, strict=True):
        assert now in (None, then)


def leave_early(engine: Running, body: dict[str, Any]) -> None:
    """Ask, and be gone before the answer can be there."""
    data = json.dumps(body | {"max_tokens": 3000, "stream": True}).encode()
    key = engine.endpoint.api_key.encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(engine.endpoint.socket_path))
        link.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (key, len(data), data)
        )
        link.recv(1)


def test_penalties_and_bias_change_what_is_written(engine: Running) -> None:
    plain = completed(engine, prompt="x", max_tokens=30, logprobs=0, **GREEDY)["choices"][0]
    first = plain["logprobs"]["content"][0]["id"]
    body = {"prompt": "x", "max_tokens": 30, "logprobs": 0, **GREEDY}

    forbidden = completed(engine, **body, logit_bias=[[first, False]])["choices"][0]
    penalised = completed(engine, **body, frequency_penalty=2.0)["choices"][0]

    assert first not in [token["id"] for token in forbidden["logprobs"]["content"]]
    repeats = [len({t["id"] for t in c["logprobs"]["content"]}) for c in (plain, penalised)]
    assert repeats[1] >= repeats[0]


def test_what_goes_wrong_with_one_answer_ends_no_other(engine: Running) -> None:
    """An error of one request was told to all that were under way."""
    body = {"prompt": "x = 1\n", "max_tokens": 200, **GREEDY}
    alone = completed(engine, **body)["choices"][0]["text"]

    with ThreadPoolExecutor(8) as threads:
        well = [threads.submit(completed, engine, **body) for _ in range(4)]
        ill = [
            threads.submit(post, engine, "/v1/completions", body | {"logprobs": -1})
            for _ in range(4)
        ]

    assert [one.result()["choices"][0]["text"] for one in well] == [alone] * 4
    assert [one.result()[0] for one in ill] == [400] * 4
    assert completed(engine, **body)["choices"][0]["text"] == alone


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/v1/completions", {"prompt": "x", "logit_bias": [[10**6, 1]]}, 400, "vocabulary"),
        ("/v1/completions", {"prompt": "x", "logit_bias": {"-1": 1}}, 400, "vocabulary"),
        ("/v1/chat/completions", {"messages": ASK, "tools": [{}]}, 501, "llama.cpp does it"),
        ("/v1/completions", {"prompt": "x", "grammar": "root"}, 501, "grammar"),
        ("/v1/completions", {"prompt": [10**6]}, 400, "vocabulary"),
        ("/v1/completions", {"prompt": "x", "temperature": "hot"}, 400, "temperature"),
        ("/v1/completions", {"prompt": "x", "stop": 5}, 400, "stop"),
        ("/v1/completions", {"prompt": []}, 400, "prompt"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user"}]}, 400, "chat template"),
        ("/v1/embeddings", {"input": "x"}, 501, "embeddings"),
        ("/v1/chat/completions/input_tokens", {"messages": ASK}, 501, "llama.cpp does it"),
        ("/nowhere", {}, 404, "nothing"),
    ],
)
def test_what_it_does_not_do_is_said(
    engine: Running, path: str, body: dict[str, Any], status: int, told: str
) -> None:
    answer = post(engine, path, body)

    assert answer[0] == status
    assert told in answer[1]["error"]["message"]


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    """transformers would make up the missing ones, and the model would answer nonsense."""
    import numpy as np

    contender = transformers(tmp_path)
    tensors = {"model.norm.weight": np.ones(WIDTH, dtype=np.float32)}
    write_safetensors(contender.launch.path / "model.safetensors", tensors, dtype="float32")

    with pytest.raises(EngineFailed, match="tensors are missing"), running(contender.process()):
        pass


def test_pickled_weights_and_code_are_not_touched(tmp_path: Path) -> None:
    contender = transformers(tmp_path)
    folder = contender.launch.path
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(EngineFailed) as told, running(contender.process()):
        pass

    assert str(tmp_path) not in told.value.message


def test_a_checkpoint_in_half_precision_and_quantised_answers(tmp_path: Path) -> None:
    contender = transformers(tmp_path)
    path = tiny_checkpoint(tmp_path / "half", "llama", dtype="bfloat16")
    launch = replace(contender.launch, path=path, stored_precision="BF16")

    for precision in ("auto", "int8", "int4"):
        process = replace(contender, launch=replace(launch, precision=precision)).process()
        with running(process) as started:
            answer = completed(started, prompt="def", max_tokens=5, **GREEDY)

        assert answer["usage"]["completion_tokens"] == 5, precision


@pytest.mark.parametrize("is_autogptqs", [False, True])
def test_weights_packed_by_gptq_answer_as_what_they_are_packed_of(
    is_autogptqs: bool, tmp_path: Path
) -> None:
    """Also in AutoGPTQ's layout, which CodeFuse's 4-bit checkpoints have."""
    contender = transformers(tmp_path)
    packed, plain = tiny_gptq(tmp_path / "gptq", is_autogptqs=is_autogptqs)
    weights = read_weights(packed)
    if reason := contender.engine.can_load(weights):
        pytest.skip(reason)

    found = []
    for path in (plain, packed):
        launch = replace(contender.launch, path=path, stored_precision="F16", precision="fp32")
        with running(replace(contender, launch=launch).process()) as started:
            body = {"prompt": "def add", "max_tokens": 8, "logprobs": 1, **GREEDY}
            content = completed(started, **body)["choices"][0]["logprobs"]["content"]
            found.append([(token["id"], token["logprob"]) for token in content])

    assert weights.precision == "INT4 (GPTQ)"
    assert weights.num_parameters == read_weights(plain).num_parameters
    for (one, expected), (two, logprob) in zip(*found, strict=True):
        assert one == two
        assert logprob == pytest.approx(expected, abs=0.02)


def test_a_newcomer_is_answered_while_a_long_answer_is_written(engine: Running) -> None:
    """Requests join between two tokens: nobody waits for the longest answer."""
    body = {"prompt": "def", "max_tokens": 4000, "stream": True, **GREEDY}
    data = json.dumps(body).encode()
    key = engine.endpoint.api_key.encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(engine.endpoint.socket_path))
        link.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (key, len(data), data)
        )
        received = b""
        while b'"text"' not in received:
            received += link.recv(1 << 16)

        short = completed(engine, prompt="import", max_tokens=5, **GREEDY)
        _, _, metrics = raw_exchange(engine.endpoint, "GET", "/metrics")

    assert short["usage"]["completion_tokens"] == 5
    assert b"requests_processing 1" in metrics


_WITHIN = """
import importlib.util, json, sys
from pathlib import Path

folder = Path(sys.argv[1])
spec = importlib.util.spec_from_file_location(
    "hearth_workers", folder / "__init__.py", submodule_search_locations=[str(folder)]
)
sys.modules["hearth_workers"] = importlib.util.module_from_spec(spec)
import torch
from hearth_workers.transformers import batch, warming
from hearth_workers.transformers.loading import load
from hearth_workers.transformers.program import parse_arguments

loaded = load(parse_arguments(["--model", sys.argv[2]]), say=lambda _: None)
warming.answer(loaded)
seen = []
loaded.model.register_forward_pre_hook(
    lambda _, __, given: seen.append(given["attention_mask"]), with_kwargs=True
)
with torch.inference_mode():
    for prompts in ([[3, 4]], [[3, 4], [5]]):
        made = batch.read(loaded, prompts)
        batch.step(loaded, made, [1] * len(prompts))
masks = [mask if mask is None else mask.tolist() for mask in seen]
print(json.dumps({"plans": torch.backends.cuda.cudnn_sdp_enabled(), "masks": masks}))
"""


def test_a_token_needs_neither_a_plan_nor_a_mask_where_nothing_is_padded(tmp_path: Path) -> None:
    """On an H200 cuDNN made a plan for every length, and transformers read every mask back."""
    contender = transformers(tmp_path)
    state = contender.engine.state  # type: ignore[attr-defined]
    path = tiny_checkpoint(tmp_path / "tiny")

    said = subprocess.run(
        [state.python, "-P", "-c", _WITHIN, WORKERS, path],
        check=True,
        capture_output=True,
        text=True,
    )

    found = json.loads(said.stdout.splitlines()[-1])
    assert found["plans"] is False
    assert found["masks"] == [None, None, [[1, 1], [0, 1]], [[1, 1, 1], [0, 1, 1]]]
