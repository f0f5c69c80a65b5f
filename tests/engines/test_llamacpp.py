"""The embedded llama.cpp, with real (tiny, random) models."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engines.children import ask, post, raw_exchange
from tiny_models import tiny_embedder, tiny_qwen2

from codehearth.engines.base import Available, Launch
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.llamacpp import LlamaCpp
from codehearth.engines.process import EngineProcess
from codehearth.errors import EngineFailed

OURS = {"PATH": os.environ["PATH"], "HF_TOKEN": "hf_secret"}
CONTEXT_TOKENS = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return tiny_qwen2(folder)


@contextlib.asynccontextmanager
async def serving(path: Path, **more: Any) -> AsyncIterator[EngineProcess]:
    launch = Launch(path, "tiny", CONTEXT_TOKENS, num_slots=2, num_threads=1, **more)
    process = EngineProcess("tiny", partial(LlamaCpp(OURS).command, launch))
    try:
        yield process
    finally:
        await process.stop()


def test_the_wheel_is_there() -> None:
    availability = LlamaCpp().availability()

    assert isinstance(availability, Available)
    assert availability.detail.startswith("xllamacpp ")


def test_a_model_completes_and_chats_under_its_alias(model: Path) -> None:
    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()
            chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}

            text = await post(endpoint, "/v1/completions", {"prompt": "def", "max_tokens": 3})
            answer = await post(endpoint, "/v1/chat/completions", chat)

            assert text[0] == answer[0] == 200
            assert text[1]["model"] == "tiny"
            assert answer[1]["usage"]["completion_tokens"] <= 3

    asyncio.run(story())


def test_each_slot_has_its_whole_context_and_a_full_one_ends_with_length(model: Path) -> None:
    """Two at once, each to the brim: unified slots would take from one another."""
    body = {"prompt": [5] * 400, "max_tokens": 300, "ignore_eos": True, "cache_prompt": False}

    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()

            answers = await asyncio.gather(
                post(endpoint, "/v1/completions", body), post(endpoint, "/v1/completions", body)
            )

            for status, answer in answers:
                assert status == 200
                assert answer["choices"][0]["finish_reason"] == "length"
                assert answer["usage"]["total_tokens"] == CONTEXT_TOKENS

    asyncio.run(story())


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(model: Path) -> None:
    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()

            status, answer = await post(endpoint, "/v1/completions", {"prompt": [5] * 600})

            assert status == 400
            assert answer["error"]["type"] == "exceed_context_size_error"
            assert answer["error"]["n_prompt_tokens"] == 600
            assert answer["error"]["n_ctx"] == CONTEXT_TOKENS

    asyncio.run(story())


def test_nothing_but_health_is_open_and_no_page_is_served(model: Path) -> None:
    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()
            wrong = "Authorization: Bearer wrong\r\n"

            for path in ("/v1/models", "/metrics", "/slots", "/props", "/lora-adapters", "/tools"):
                assert (await ask(endpoint, path, headers=wrong))[0] == 401, path
            assert (await ask(endpoint, "/"))[0] == 404
            assert (await ask(endpoint, "/slots"))[0] == 501
            assert (await ask(endpoint, "/metrics"))[0] == 200

    asyncio.run(story())


def test_no_foreign_origin_is_allowed(model: Path) -> None:
    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()
            origin = "Origin: http://evil.example\r\n"

            for method in ("GET", "OPTIONS"):
                _, head, _ = await asyncio.to_thread(
                    raw_exchange, endpoint, method, "/health", b"", origin
                )

                assert b"evil" not in head
                assert b"Allow-Origin: *" not in head

    asyncio.run(story())


def test_a_closed_stream_frees_its_slot(model: Path) -> None:
    async def running(endpoint: Endpoint) -> int:
        _, text = await ask(endpoint, "/metrics")
        lines = text.decode().splitlines()
        return int(next(x for x in lines if x.startswith("llamacpp:requests_proc")).split()[1])

    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()
            body = json.dumps({"prompt": "x", "stream": True, "ignore_eos": True}).encode()
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(endpoint.socket_path))
                link.sendall(
                    b"POST /v1/completions HTTP/1.1\r\nHost: engine\r\n"
                    b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
                    % (endpoint.api_key.encode(), len(body), body)
                )
                link.recv(100)

            async with asyncio.timeout(60):
                while await running(endpoint):
                    pass

    asyncio.run(story())


def test_an_embedding_model_embeds_an_input_as_long_as_its_context(folder: Path) -> None:
    path = tiny_embedder(folder)

    async def story() -> None:
        async with serving(path, is_embedding=True) as process:
            endpoint = await process.ensure_ready()

            answer = await post(endpoint, "/v1/embeddings", {"input": [[5] * 500, [6]]})

            assert answer[0] == 200
            assert [len(row["embedding"]) for row in answer[1]["data"]] == [192, 192]
            assert answer[1]["usage"]["prompt_tokens"] == 501

    asyncio.run(story())


def test_a_model_that_generates_does_not_embed(model: Path) -> None:
    async def story() -> None:
        async with serving(model) as process:
            endpoint = await process.ensure_ready()

            status, answer = await post(endpoint, "/v1/embeddings", {"input": "x"})

            assert status == 501
            assert answer["error"]["type"] == "not_supported_error"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda data: data[:100_000], "corrupted or incomplete"),
        (lambda data: data.replace(b"qwen2", b"qwenX"), "unknown model architecture: 'qwenX'"),
        (lambda _: b"<html>not found</html>", "invalid magic"),
        (lambda _: b"", "GGUF|gguf|magic|empty|read"),
    ],
)
def test_damaged_weights_fail_with_their_cause(
    change: Any, cause: str, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(change(model.read_bytes()))

    async def story() -> None:
        async with serving(path) as process:
            with pytest.raises(EngineFailed, match=cause) as told:
                await process.ensure_ready()

            assert str(tmp_path) not in told.value.message
            assert "hf_secret" not in told.value.log_tail

    asyncio.run(story())


def test_a_relative_path_means_the_folder_of_the_server(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)

    async def story() -> None:
        async with serving(Path(model.name)) as process:
            await process.ensure_ready()

    asyncio.run(story())


def test_the_command_names_no_key_and_inherits_no_token(model: Path) -> None:
    endpoint = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")
    launch = Launch(model, "tiny", 512, 2, 3, gpu_layers=7, prompt_cache_bytes=64 << 20)

    command = LlamaCpp(OURS).command(launch, endpoint)

    assert "the-key" not in command.argv
    assert "hf_secret" not in command.environment.values()
    assert command.environment["GOMP_SPINCOUNT"] == "1000"
    assert command.argv[command.argv.index("--prompt-cache-mib") + 1] == "64"
