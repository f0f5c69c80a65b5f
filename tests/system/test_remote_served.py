"""Models of other servers: a second real server of ours is the other one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.system.conftest import Hearth, Server

ASK: Any = [{"role": "user", "content": "Write a function that reverses a string"}]


@pytest.fixture(scope="module")
def gpu_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """The other server, which wants a key."""
    hearth = Hearth(tmp_path_factory.mktemp("box"))
    key = hearth.run("keys", "create", "us").stdout.strip()
    with hearth.serving() as running:
        yield running, key


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def remotes(*addresses: str) -> str:
    return ",".join(f"coder={address}" for address in addresses)


def test_a_remote_model_is_used_like_any_other(hearth: Hearth, gpu_box: tuple[Server, str]) -> None:
    box, key = gpu_box
    named = remotes(f"{box.url}/v1#starter")
    body: Any = {"model": "coder", "messages": ASK, "temperature": 0, "max_tokens": 60}

    with (
        hearth.serving(HEARTH_REMOTES=named, HEARTH_REMOTE_KEY=key) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        listed = [model.id for model in client.models.list()]
        whole = client.chat.completions.create(**body)
        chunks = list(client.chat.completions.create(**body, stream=True))
        here = client.chat.completions.create(**body | {"model": "starter"})
        scored = client.completions.create(
            model="coder", prompt="def add(a, b):\n", max_tokens=4, logprobs=2, temperature=0
        )
        long = server.post("/v1/completions", {"model": "coder", "prompt": "a b c d " * 40_000})
        shown = hearth.run("ps", "--json").stdout
        (child,) = [one for one in server.engines() if "remote" in " ".join(one.cmdline())]
        words = " ".join(child.cmdline())

    assert "coder" in listed and "starter" in listed
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content == here.choices[0].message.content
    assert whole.usage is not None and whole.usage.prompt_tokens > 5
    assert scored.choices[0].logprobs is not None and scored.choices[0].logprobs.tokens
    assert long.status_code == 400
    assert long.json()["error"]["code"] == "context_length_exceeded"
    assert '"remote"' in shown and box.url in shown
    assert key not in words


def test_the_next_server_is_asked_where_one_does_not_answer(
    hearth: Hearth, gpu_box: tuple[Server, str]
) -> None:
    box, key = gpu_box
    named = remotes(f"{nobody()}#starter", f"{box.url}/v1#starter")

    with hearth.serving(HEARTH_REMOTES=named, HEARTH_REMOTE_KEY=key) as server:
        answers = [
            server.post("/v1/completions", {"model": "coder", "prompt": "def", "max_tokens": 2})
            for _ in range(4)
        ]

    assert [answer.status_code for answer in answers] == [200] * 4


@pytest.mark.parametrize("wrong", ["no-such-model", ""])
def test_a_server_without_the_model_is_passed_over(
    hearth: Hearth, gpu_box: tuple[Server, str], wrong: str
) -> None:
    """Its 404 was handed on, and a server that had named no model was asked for none."""
    box, key = gpu_box
    first = f"{box.url}/v1#{wrong}" if wrong else nobody()
    named = remotes(first, f"{box.url}/v1#starter")

    with hearth.serving(HEARTH_REMOTES=named, HEARTH_REMOTE_KEY=key) as server:
        answers = [
            server.post("/v1/completions", {"model": "coder", "prompt": "def", "max_tokens": 2})
            for _ in range(2)
        ]

    assert [answer.status_code for answer in answers] == [200] * 2


@pytest.mark.parametrize("has_key", [True, False])
def test_where_no_server_answers_the_cause_is_told(
    hearth: Hearth, gpu_box: tuple[Server, str], has_key: bool
) -> None:
    box, key = gpu_box
    named = remotes(nobody() if has_key else f"{box.url}/v1")

    with hearth.serving(HEARTH_REMOTES=named, HEARTH_REMOTE_KEY=key if has_key else "") as server:
        answer = server.post("/v1/completions", {"model": "coder", "prompt": "def"})

    assert answer.status_code == 503
    assert ("ConnectError" if has_key else "401") in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "entry",
    ["coder", "=http://a/v1", "coder=ftp://a/v1", "coder=http://me:secret@a/v1", "../x=http://a"],
)
def test_what_names_no_server_stops_the_start(hearth: Hearth, entry: str) -> None:
    refused = hearth.run("serve", "--remotes", entry)

    assert refused.returncode == 2
    assert "remotes holds" in refused.stderr


def test_a_project_file_may_not_name_a_server(hearth: Hearth) -> None:
    """It may come with a stranger's repository, and prompts would go there."""
    (Path(hearth.home) / "hearth.toml").write_text('remotes = ["starter=http://evil.example/v1"]\n')

    refused = hearth.run("serve")

    assert refused.returncode == 2
    assert "is not accepted" in refused.stderr


def test_a_remote_model_has_no_files_to_show_or_remove(hearth: Hearth) -> None:
    variables = {"HEARTH_REMOTES": remotes(nobody())}

    shown = [hearth.run(verb, "coder", **variables) for verb in ("show", "fit")]
    removed = hearth.run("rm", "coder", "--yes", **variables)
    listed = json.loads(hearth.run("ls", "--json", **variables).stdout)

    assert all("served by another server" in one.stderr for one in shown)
    assert removed.returncode == 2 and "was not downloaded" in removed.stderr
    assert any(model["name"] == "coder" for model in listed)
