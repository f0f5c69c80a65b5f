"""The translator before other engines' servers: a fake engine behind it, and its pure parts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from typing import Any

import psutil
import pytest
from engines.children import FAKE, post, raw_exchange

from codehearth.engines.base import Command
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineFailed
from codehearth.workers.dialects import (
    DIALECTS,
    Complaints,
    counted,
    is_mark,
    token_id_of,
    tokenize_body,
)
from codehearth.workers.transformers.listener import Refused
from codehearth.workers.translation import model_of


def front(*flags: str, dialect: str = "vllm") -> EngineProcess:
    """The translator before a fake engine with these flags."""

    def command(endpoint: Endpoint) -> Command:
        argv = (
            sys.executable, "-P", "-u", "-m", "codehearth.workers.front",
            "--dialect", dialect, "--alias", "m", "--socket", str(endpoint.socket_path),
            "--", sys.executable, str(FAKE), "--socket", "{socket}", *flags,
        )  # fmt: skip
        keys = dict.fromkeys(("HEARTH_ENGINE_KEY", "FAKE_ENGINE_KEY"), endpoint.api_key)
        return Command(argv, {"PATH": os.environ["PATH"]} | keys)

    return EngineProcess("m", command)


def behind_of(process: EngineProcess) -> psutil.Process:
    """The engine, and not the guard."""
    children = psutil.Process(process.pid).children()
    (engine,) = (child for child in children if str(FAKE) in child.cmdline())
    return engine


def test_it_serves_what_is_behind_it_and_ends_with_it() -> None:
    async def story() -> None:
        process = front("--tokens", "5")
        endpoint = await process.ensure_ready()
        behind = behind_of(process)

        status, answer = await post(endpoint, "/v1/completions", {"prompt": "x"})
        assert status == 200 and answer["choices"][0]["text"]
        status, refused = await post(endpoint, "/v1/completions", {"prompt": "x", "grammar": "g"})
        assert status == 501 and "grammar" in refused["error"]["message"]

        behind.send_signal(signal.SIGKILL)
        await process.wait_dead()
        assert process.state == "dead"

    asyncio.run(story())


def test_a_killed_translator_leaves_nothing_behind() -> None:
    async def story() -> None:
        process = front()
        await process.ensure_ready()
        behind = behind_of(process)

        os.kill(process.pid or 0, signal.SIGKILL)
        await process.wait_dead()

        assert await asyncio.to_thread(lambda: not psutil.wait_procs([behind], timeout=10)[1])

    asyncio.run(story())


def test_an_engine_that_dies_at_its_start_is_told_with_its_cause() -> None:
    words = (
        "(EngineCore pid=7) ERROR 11-26 04:15:51 [core.py:1510] OSError: incomplete metadata\n"
        "RuntimeError: Engine core initialization failed. See root cause above."
    )

    async def story() -> None:
        with pytest.raises(EngineFailed, match="incomplete metadata"):
            await front("--do", "die-at-start", "--last-words", words).ensure_ready()

    asyncio.run(story())


def test_a_hanging_engine_is_not_called_alive() -> None:
    async def story() -> None:
        process = front("--do", "hang", "--after", "0")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.ensure_ready(), 3)
        assert not await process.is_alive(timeout_s=0.5)
        await process.stop(grace_s=0)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ValueError: heads of 16 are not supported", "ValueError: heads of 16 are not supported"),
        (
            "(EngineCore pid=1) ERROR 11-26 04:15:51 [core.py:1] a.b.SafetensorError: incomplete",
            "a.b.SafetensorError: incomplete",
        ),
        ("(APIServer pid=2758) WARNING 11-26 [x.py:2] limits like `OSError: [Errno 24] …`", None),
        ("RuntimeError: Engine core initialization failed. See root cause above.", None),
        ("    raise RuntimeError(", None),
        ("INFO: all is well", None),
    ],
)
def test_the_cause_is_the_first_exception_that_is_no_consequence(
    line: str, cause: str | None
) -> None:
    complaints = Complaints()

    complaints.hear(line)

    assert complaints.cause == cause


def test_a_gauge_is_summed_over_its_labels() -> None:
    metrics = (
        "# HELP vllm:num_requests_running requests\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 1.0\n'
        'vllm:num_requests_running_total{engine="0"} 9.0\n'
    )

    assert counted(metrics, "vllm:num_requests_running") == 3


def test_each_engine_gets_the_fields_that_it_knows() -> None:
    asked = {"ignore_eos": True, "cache_prompt": True}

    assert DIALECTS["vllm"].translated({"prompt": "x"}, asked) == {
        "prompt": "x",
        "ignore_eos": True,
    }
    assert tokenize_body({"content": "x"}) == {"prompt": "x", "add_special_tokens": False}


@pytest.mark.parametrize(
    ("lora", "model"),
    [(None, "m"), ([], "m"), ([{"id": 0, "scale": 1}], "a"), ([{"id": 1, "scale": 1.0}], "b")],
)
def test_an_adapter_is_a_model_of_its_own_there(lora: Any, model: str) -> None:
    assert model_of({"model": "b", "lora": lora}, "m", ("a", "b")) == model
    assert model_of({}, "m", ("a",)) == "a"
    assert model_of({}, "m", ()) == "m"


@pytest.mark.parametrize(
    "lora",
    [
        [{"id": 2, "scale": 1}],
        [{"id": -1, "scale": 1}],
        [{"id": "0", "scale": 1}],
        [{"id": 0, "scale": 0.5}],
        [{"id": 0}],
        [{"id": 0, "scale": 1}, {"id": 1, "scale": 1}],
        "a",
        7,
    ],
)
def test_what_names_no_adapter_is_refused_and_not_answered_by_the_base(lora: Any) -> None:
    with pytest.raises(Refused, match="lora"):
        model_of({"lora": lora}, "m", ("a", "b"))


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("<|fim_pad|>", True),
        ("<｜fim▁end｜>", True),
        ("▁<EOT>", True),
        ("[SUFFIX]", True),
        ("<[PAD▁TOKEN]>", True),
        ("\n+++++ ", False),
        ("###REFERENCE:", False),
        ("def", False),
        ("[]", False),
    ],
)
def test_marks_are_told_from_texts_that_an_answer_may_hold(stop: str, expected: bool) -> None:
    assert is_mark(stop) is expected


def test_tokens_are_asked_for_by_their_ids_and_told_from_texts() -> None:
    translated = DIALECTS["vllm"].translated({"prompt": "x", "logprobs": 2}, {})

    assert translated["return_tokens_as_token_ids"] is True
    assert (token_id_of("token_id:17"), token_id_of("def"), token_id_of("17")) == (17, None, None)


@pytest.mark.parametrize("misbehaviour", ["bad-json", "error-event", "cut", "no-done"])
def test_nonsense_from_behind_is_an_error_and_the_next_request_is_answered(
    misbehaviour: str,
) -> None:
    """The client is told in the house's words; nothing that was sent becomes an answer."""
    body = {"prompt": "x", "max_tokens": 6, "stream": True}

    async def story() -> None:
        process = front("--tokens", "6", "--do", misbehaviour)
        endpoint = await process.ensure_ready()

        _, _, answer = await asyncio.to_thread(
            raw_exchange, endpoint, "POST", "/v1/completions", json.dumps(body).encode()
        )

        assert b'"error"' in answer and b"[DONE]" not in answer
        assert b"HTTP/1.1" not in answer and b"The body" not in answer
        assert await process.is_alive(timeout_s=5)
        await process.stop(grace_s=0)

    asyncio.run(story())


def test_what_an_engine_started_ends_when_the_house_is_killed() -> None:
    """vLLM's engine core lived on with all its memory: only its parent was tied to the house."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        argv = [
            sys.executable, "-P", "-u", "-m", "codehearth.workers.front",
            "--dialect", "vllm", "--alias", "m", "--socket", f"{folder}/e.sock",
            "--", sys.executable, "-u", str(FAKE), "--socket", "{socket}", "--do", "spawn",
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "HEARTH_ENGINE_KEY": "k"}
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        ) as leader:
            assert leader.stdout is not None
            spawned = psutil.Process(int(re.findall(r"\d+", leader.stdout.readline())[0]))

            leader.kill()

            assert psutil.wait_procs([spawned], timeout=10)[1] == []
