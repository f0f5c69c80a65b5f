"""What every engine does in the same way, shown with real processes and tiny random models."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engines.children import is_gone, raw_exchange
from engines.contract.contenders import (
    CONTENDERS,
    NUM_SLOTS,
    Contender,
    Running,
    running,
)

from codehearth.engines.endpoint import Endpoint
from codehearth.errors import EngineFailed
from codehearth.gateway.engine.chunks import Piece, engine_error, piece_of
from codehearth.wire.sse import EventReader

PROMPTS = ("def reverse(text):\n", "# 打印 hello world 🙂\n", "import os\n\nclass A:\n    def ")
CHAT = [{"role": "user", "content": "Write a function."}]
GREEDY = {"temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module", params=CONTENDERS)
def contender(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Contender:
    return CONTENDERS[request.param](tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(contender: Contender) -> Iterator[Running]:
    with running(contender.process()) as started:
        yield started


def ask(endpoint: Endpoint, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    status, _, answer = raw_exchange(endpoint, "POST", path, json.dumps(body).encode())
    return status, json.loads(answer)


def pieces(endpoint: Endpoint, path: str, body: dict[str, Any]) -> list[Piece]:
    """The pieces that the gateway makes of a streamed answer."""
    asked = body | {"stream": True, "stream_options": {"include_usage": True}}
    status, _, answer = raw_exchange(endpoint, "POST", path, json.dumps(asked).encode())
    assert status == 200, answer
    events = [event.data for event in EventReader().feed(answer)]
    assert events[-1] == b"[DONE]"
    return [piece_of(json.loads(data)) for data in events[:-1]]


def text_of(answer: Sequence[Piece]) -> str:
    return "".join(str(p.delta.get("text") or p.delta.get("content") or "") for p in answer)


def completed(endpoint: Endpoint, **body: Any) -> dict[str, Any]:
    status, answer = ask(endpoint, "/v1/completions", body)
    assert status == 200, answer
    choice: dict[str, Any] = answer["choices"][0]
    return choice | {"usage": answer["usage"]}


def num_processing(endpoint: Endpoint) -> int:
    _, _, text = raw_exchange(endpoint, "GET", "/metrics")
    (line,) = (
        x for x in text.decode().splitlines() if ":requests_processing " in x and x[0] != "#"
    )
    return int(float(line.split()[1]))


def test_it_is_ready_and_alive(engine: Running) -> None:
    assert engine.process.state == "ready"
    assert engine.do(engine.process.is_alive(timeout_s=5))


def test_it_completes_and_chats(engine: Running) -> None:
    text = completed(engine.endpoint, prompt=PROMPTS[0], max_tokens=5, **GREEDY)
    body = {"messages": CHAT, "max_tokens": 5, **GREEDY}
    status, chat = ask(engine.endpoint, "/v1/chat/completions", body)

    assert text["text"] and text["finish_reason"] == "length"
    assert status == 200
    assert chat["choices"][0]["message"]["role"] == "assistant"
    assert chat["choices"][0]["finish_reason"] == "length"
    assert chat["usage"]["completion_tokens"] == 5
    assert chat["usage"]["prompt_tokens"] > len(CHAT[0]["content"].split())


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_stream_equals_the_whole(engine: Running, prompt: str) -> None:
    """Random models write half characters all the time."""
    body = {"prompt": prompt, "max_tokens": 60, **GREEDY}
    chat = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 60, **GREEDY}

    streamed = pieces(engine.endpoint, "/v1/completions", body)
    chunks = pieces(engine.endpoint, "/v1/chat/completions", chat)
    status, answer = ask(engine.endpoint, "/v1/chat/completions", chat)

    assert text_of(streamed) == completed(engine.endpoint, **body)["text"]
    assert status == 200
    assert text_of(chunks) == answer["choices"][0]["message"]["content"]
    assert [p.finish_reason for p in streamed if p.finish_reason] == ["length"]
    usage = [piece.usage for piece in streamed if piece.usage]
    assert usage and usage[-1]["completion_tokens"] == 60


def test_an_answer_ends_before_its_stop_text(engine: Running) -> None:
    body = {"prompt": PROMPTS[0], "max_tokens": 60, **GREEDY}
    whole = completed(engine.endpoint, **body)["text"]
    stop = whole[8:11]

    stopped = completed(engine.endpoint, **body, stop=["never written", stop])
    streamed = pieces(engine.endpoint, "/v1/completions", body | {"stop": [stop]})

    assert stopped["text"] == whole[: whole.index(stop)]
    assert stopped["finish_reason"] == "stop"
    assert text_of(streamed) == stopped["text"]


def test_a_seed_repeats_an_answer_and_another_one_does_not(
    contender: Contender, engine: Running
) -> None:
    if "seed" in contender.lacks:
        pytest.skip("its sampler takes no seed")
    body = {"prompt": PROMPTS[0], "max_tokens": 30, "temperature": 1.0, "ignore_eos": True}

    first, second, other = (
        completed(engine.endpoint, **body, seed=seed)["text"] for seed in (7, 7, 8)
    )

    assert first == second != other


def test_a_prompt_may_be_tokens(engine: Running) -> None:
    _, tokens = ask(engine.endpoint, "/tokenize", {"content": PROMPTS[0]})

    by_tokens = completed(engine.endpoint, prompt=tokens["tokens"], max_tokens=20, **GREEDY)
    by_text = completed(engine.endpoint, prompt=PROMPTS[0], max_tokens=20, **GREEDY)
    _, text = ask(engine.endpoint, "/detokenize", {"tokens": tokens["tokens"]})

    assert by_tokens["text"] == by_text["text"]
    assert text["content"] == PROMPTS[0]


def test_a_full_context_ends_with_length(contender: Contender, engine: Running) -> None:
    context_tokens = contender.launch.context_tokens
    prompt = [5] * (context_tokens - 8)

    answer = completed(engine.endpoint, prompt=prompt, max_tokens=100, **GREEDY)

    assert answer["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == context_tokens


@pytest.mark.parametrize("streams", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(
    contender: Contender, engine: Running, streams: bool
) -> None:
    context_tokens = contender.launch.context_tokens
    body = {"prompt": [5] * (context_tokens + 10), "stream": streams}

    status, answer = ask(engine.endpoint, "/v1/completions", body)
    told = engine_error(answer["error"])

    assert status == 400
    assert (told.num_prompt_tokens, told.num_context_tokens) == (  # type: ignore[attr-defined]
        context_tokens + 10,
        context_tokens,
    )


def test_log_probabilities_are_of_the_tokens_that_were_written(
    contender: Contender, engine: Running
) -> None:
    if "logprobs" in contender.lacks:
        body = {"prompt": "x", "max_tokens": 1, "logprobs": 2}
        status, refused = ask(engine.endpoint, "/v1/completions", body)
        assert status == 501 and "logprobs" in engine_error(refused["error"]).message
        return
    answer = completed(engine.endpoint, prompt=PROMPTS[0], max_tokens=6, logprobs=2, **GREEDY)

    tokens = answer["logprobs"]["content"]
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)
    # Greedy: each token is the likeliest one.
    assert all(t["logprob"] == pytest.approx(t["top_logprobs"][0]["logprob"]) for t in tokens)


def test_answers_do_not_depend_on_who_else_asks(engine: Running) -> None:
    """More requests than slots, of different lengths, some of which end early."""
    bodies = [
        {"prompt": prompt * repeats, "max_tokens": number, **GREEDY}
        for prompt in PROMPTS
        for repeats, number in ((1, 40), (30, 10), (4, 25))
    ]
    alone = [completed(engine.endpoint, **body)["text"] for body in bodies]

    with ThreadPoolExecutor(len(bodies)) as threads:
        together = list(
            threads.map(lambda body: completed(engine.endpoint, **body)["text"], bodies)
        )

    assert together == alone


def test_nothing_but_health_is_open_without_the_key(engine: Running) -> None:
    wrong = "Authorization: Bearer wrong\r\n"

    assert raw_exchange(engine.endpoint, "GET", "/health", headers=wrong)[0] == 200
    for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", "/v1/completions")):
        assert raw_exchange(engine.endpoint, method, path, b"{}", wrong)[0] == 401, path


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"prompt": {}}'])
def test_what_is_no_request_is_refused_and_harms_nobody(engine: Running, body: bytes) -> None:
    status, _, answer = raw_exchange(engine.endpoint, "POST", "/v1/completions", body)

    assert 400 <= status < 600
    assert engine_error(json.loads(answer)["error"]).message
    assert completed(engine.endpoint, prompt="x", max_tokens=1, **GREEDY)["usage"]


def test_whoever_leaves_frees_a_slot_within_a_second(contender: Contender, engine: Running) -> None:
    tokens = contender.launch.context_tokens - 96
    left = [begun(engine.endpoint, max_tokens=tokens) for _ in range(NUM_SLOTS)]
    assert num_processing(engine.endpoint) == NUM_SLOTS

    for connection in left:
        connection.close()
    closed_at = time.monotonic()
    while num_processing(engine.endpoint):
        assert time.monotonic() - closed_at < 1.0


def begun(endpoint: Endpoint, *, max_tokens: int) -> socket.socket:
    """A connection over which an answer comes that does not end soon."""
    body: dict[str, Any] = {"prompt": "x", "max_tokens": max_tokens, "stream": True, **GREEDY}
    body["return_progress"] = True
    data = json.dumps(body).encode()
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(30)
    link.connect(str(endpoint.socket_path))
    link.sendall(
        b"POST /v1/completions HTTP/1.1\r\nHost: engine\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (endpoint.api_key.encode(), len(data), data)
    )
    received = b""
    while b'"text"' not in received:
        received += link.recv(1 << 16)
    return link


def test_memory_comes_back_after_a_stop_and_a_kill_is_noticed_and_healed(
    contender: Contender,
) -> None:
    with running(contender.process()) as first:
        pid = first.process.pid
        assert pid is not None and first.process.resident_bytes() > 1 << 20

        first.do(first.process.stop())
        assert is_gone(pid) and first.process.resident_bytes() == 0

    with running(contender.process()) as second:
        assert second.process.pid is not None
        os.kill(second.process.pid, signal.SIGKILL)
        second.do(second.process.wait_dead())
        assert second.process.death is not None
        assert second.process.death.manner == "was killed by SIGKILL"


def test_weights_that_are_none_give_a_clear_error(contender: Contender, tmp_path: Path) -> None:
    """The cause is told in one line, without the folder's path."""
    source = contender.launch.path
    path = tmp_path / source.name
    if source.is_dir():
        path.mkdir()
        for file in source.iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        damaged = path / "model.safetensors"
    else:
        path.write_bytes(source.read_bytes())
        damaged = path
    damaged.write_bytes(damaged.read_bytes()[:100_000])

    with pytest.raises(EngineFailed) as told, running(contender.process(path=path)):
        pass

    message = told.value.message.lower()
    assert any(word in message for word in ("incomplete", "corrupt", "not fully covered"))
    assert str(tmp_path) not in told.value.message
