"""Editors' requests, as the editors' own sources send them, and what those clients read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codehearth.models.facts import Weights
from tests.gateway.served import QWEN_MARKS, WEIGHTS, FakeModel, Served, served

QWEN_FILES = frozenset({"<|repo_name|>", "<|file_sep|>"})

PREFIX = "import os\n\ndef f(a):\n    ret"
SUFFIX = "\n\nf(1)\n"
TEXT = "urn alpha beta"


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model whose answer is one line of three words."""
    flags = ("--tokens", "3", "--text", TEXT)
    models = {
        "fake": FakeModel(flags=flags, weights=_marked(QWEN_MARKS | QWEN_FILES)),
        "plain": FakeModel(flags=flags, weights=_marked(frozenset())),
    }
    with served(tmp_path_factory.mktemp("house"), models) as running:
        yield running


def _marked(marks: frozenset[str]) -> Weights:
    return replace(WEIGHTS, fim_marks=marks)


def sent(server: Served, model: str = "fake") -> dict[str, Any]:
    body: dict[str, Any] = server.models[model].control("/fake/last")["body"]
    return body


def lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines() if line]


def events(data: bytes) -> list[Any]:
    said = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(event) for event in said if event != b"[DONE]"]


# --- llama.vim and llama.vscode ---


def llama_vim(**changes: Any) -> dict[str, Any]:
    """The body of `llama#fim`."""
    return {
        "id_slot": 0,
        "input_prefix": "import os\n\ndef f(a):\n",
        "input_suffix": SUFFIX,
        "input_extra": [{"filename": "b.py", "text": "def g(): pass\n", "time": [1, 2]}],
        "prompt": "    ret",
        "n_predict": 128,
        "stop": [],
        "n_indent": 4,
        "top_k": 40,
        "top_p": 0.90,
        "samplers": ["top_k", "top_p", "infill"],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000,
        "response_fields": [
            "content",
            "timings/prompt_n",
            "timings/prompt_ms",
            "timings/prompt_per_token_ms",
            "timings/prompt_per_second",
            "timings/predicted_n",
            "timings/predicted_ms",
            "timings/predicted_per_token_ms",
            "timings/predicted_per_second",
            "truncated",
            "tokens_cached",
        ],
        **changes,
    }


def test_llama_vim_gets_the_flat_keys_that_it_reads(editor: Served) -> None:
    status, answer = editor.post("/infill", llama_vim())

    assert status == 200
    assert answer["content"].split() == TEXT.split()
    assert set(answer) == set(llama_vim()["response_fields"])
    assert isinstance(answer["timings/predicted_ms"], float)
    assert answer["truncated"] is False


def test_infill_reaches_the_engine_as_the_family_lays_it_out(editor: Served) -> None:
    """The repository's layout for other files; the last lines stand behind the mark of the middle,
    so that their typing leaves prefix and suffix in the cache; the last word is forced."""
    above = "".join(f"line_{number} = {number}\n" for number in range(5))
    changed = llama_vim(prompt="    x = o", input_prefix=above + "\n\n\ndef f(a):\n    y = 1\n")
    editor.post("/infill", changed)

    body = sent(editor)
    assert body["prompt"].endswith(
        f"<|file_sep|>untitled\n<|fim_prefix|><|fim_suffix|>\n\nf(1)\n<|fim_middle|>{above}\n\n\n"
        "def f(a):\n    y = 1\n    x ="
    )
    assert "<|file_sep|>b.py\ndef g(): pass\n" in body["prompt"]
    assert body["grammar"].startswith('root ::= " o" ')
    assert body["samplers"] == ["top_k", "top_p", "infill", "temperature"]
    assert body["t_max_predict_ms"] == 1000
    assert not {"id_slot", "lora", "n_indent", "t_max_prompt_ms", "n_predict"} & set(body)


def test_a_warm_up_answers_nothing(editor: Served) -> None:
    status, answer = editor.post(
        "/infill",
        llama_vim(prompt="", input_prefix="", input_suffix="", n_predict=0, samplers=[])
        | {"temperature": 0.0, "t_max_predict_ms": 1, "response_fields": [""]},
    )

    assert (status, answer) == (200, {})
    assert sent(editor)["max_tokens"] == 1


def llama_vscode(**changes: Any) -> dict[str, Any]:
    """The body of `createRequestPayload`."""
    return {
        "id_slot": 0,
        "input_prefix": "import os\n\ndef f(b):\n",
        "input_suffix": SUFFIX,
        "input_extra": [{"text": "def g(): pass\n", "time": 1_700_000_000_123, "filename": "b.py"}],
        "prompt": "    ret",
        "n_predict": 128,
        "n_cmpl": 3,
        "top_k": 40,
        "top_p": 0.99,
        "stream": False,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        "n_indent": 4,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 2500,
        "lora": [{"id": 0, "scale": 0.5}],
        "model": "fake",
        **changes,
    }


def test_llama_vscode_gets_a_list_with_all_that_it_shows(editor: Served) -> None:
    status, answers = editor.post("/infill", llama_vscode())

    assert status == 200
    assert len(answers) == 3
    for answer in answers:
        assert answer["content"].split() == TEXT.split()
        assert answer["generation_settings"]["n_ctx"] == 4096
        assert answer["tokens_cached"] > 0
        assert answer["timings"]["predicted_n"] > 0
        assert isinstance(answer["timings"]["prompt_ms"], float)


def test_one_choice_is_no_list(editor: Served) -> None:
    _, answer = editor.post("/infill", llama_vscode(n_cmpl=1))

    assert answer["stop"] is True


def test_infill_of_a_model_that_cannot_continues_the_prefix_and_says_so(editor: Served) -> None:
    status, headers, data = editor.request("POST", "/infill", llama_vim(model="plain"))

    assert status == 200
    assert json.loads(data)["content"]
    assert "left out" in headers["x-hearth-suffix"]
    assert "fim" not in sent(editor, "plain")["prompt"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input_extra": "x"}, "input_extra"),
        ({"input_extra": [5]}, "input_extra[0]"),
        ({"input_extra": [{"filename": "x"}]}, "input_extra[0].text"),
        ({"input_extra": [{"text": "x"}] * 257}, "input_extra"),
        ({"n_predict": "5"}, "n_predict"),
        ({"n_cmpl": 0}, "n_cmpl"),
        ({"n_cmpl": 9}, "n_cmpl"),
        ({"samplers": ["nonsense"]}, "samplers[0]"),
        ({"input_prefix": None, "input_suffix": 5}, "input_suffix"),
        ({"temperature": -1}, "temperature"),
        ({"response_fields": "content"}, "response_fields"),
        ({"lora": [{"id": -1, "scale": 1}]}, "lora[0].id"),
    ],
    ids=str,
)
def test_a_wrong_field_of_infill_is_named_in_llama_cpps_shape(
    editor: Served, change: dict[str, Any], param: str
) -> None:
    status, answer = editor.post("/infill", llama_vim(**change))

    assert status == 400
    assert answer["error"]["code"] == 400
    assert answer["error"]["param"].startswith(param)


# --- Continue's llama.cpp and twinny's: /completion ---


def test_a_templated_prompt_on_completion_is_streamed_without_done(editor: Served) -> None:
    status, _, data = editor.request(
        "POST",
        "/completion",
        {
            "prompt": f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>",
            "stream": True,
            "n_predict": 100,
            "temperature": 0.2,
            "stop": ["<fim_prefix>", "\n\n"],
        },
    )

    said = events(data)
    assert status == 200
    assert b"[DONE]" not in data
    assert "".join(event["content"] for event in said).split() == TEXT.split()
    assert [event["stop"] for event in said][-1] is True
    assert sent(editor)["prompt"].startswith("<|fim_prefix|><|fim_suffix|>\n\nf(1)\n<|fim_middle|>")


def test_a_plain_prompt_on_completion_is_continued_as_the_model_likes(editor: Served) -> None:
    editor.post("/completion", {"prompt": "once upon", "n_predict": 5})

    assert sent(editor)["prompt"] == "once upon"
    assert "grammar" not in sent(editor)


# --- /v1/completions: Zed, Continue, llm-ls, minuet, twinny, Tabby ---


@pytest.mark.parametrize(
    "template",
    [
        "<|fim_prefix|>{}<|fim_suffix|>{}<|fim_middle|>",
        "<fim_prefix>{}<fim_suffix>{}<fim_middle>",
        "<｜fim▁begin｜>{}<｜fim▁hole｜>{}<｜fim▁end｜>",
        "<PRE> {} <SUF>{} <MID>",
    ],
)
def test_a_template_of_any_family_is_laid_out_anew(editor: Served, template: str) -> None:
    """Zed's body: the template is guessed from the model's name, which may be wrong."""
    status, answer = editor.post(
        "/v1/completions",
        {
            "model": "fake",
            "prompt": template.format(PREFIX, SUFFIX + template[:3]),
            "max_tokens": 64,
            "temperature": None,
            "stop": ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"],
            "environment": None,
        },
    )

    assert status == 200
    assert answer["id"]
    assert answer["choices"][0]["text"].split() == TEXT.split()
    assert sent(editor)["prompt"].startswith("<|fim_prefix|><|fim_suffix|>\n\nf(1)\n")
    assert sent(editor)["prompt"].endswith("<|fim_middle|>import os\n\ndef f(a):\n")


def test_minuet_reads_a_stream_of_texts(editor: Served) -> None:
    status, _, data = editor.request(
        "POST",
        "/v1/completions",
        {"model": "fake", "stream": True, "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 256},
    )

    texts = [choice["text"] for event in events(data) for choice in event["choices"]]
    assert status == 200
    assert "".join(texts).split() == TEXT.split()
    assert data.endswith(b"data: [DONE]\n\n")


def test_twinnys_options_are_honoured(editor: Served) -> None:
    editor.request(
        "POST",
        "/v1/completions",
        {
            "model": "fake",
            "prompt": f"<PRE> {PREFIX} <SUF> {SUFFIX} <MID>",
            "stream": True,
            "keep_alive": "5m",
            "options": {"temperature": 0.25, "num_predict": 77, "stop": ["<EOT>"]},
        },
    )

    body = sent(editor)
    assert body["temperature"] == 0.25
    assert body["max_tokens"] == 77 + len("    ret")
    assert "<EOT>" in body["stop"]


def test_twinnys_endless_length_is_bounded(editor: Served) -> None:
    status, _ = editor.post(
        "/v1/completions", {"prompt": "x", "suffix": "y", "options": {"num_predict": -1}}
    )

    assert status == 200
    assert 0 < sent(editor)["max_tokens"] <= 4096


def tabby(**changes: Any) -> dict[str, Any]:
    """What Tabby's agent sends."""
    return {
        "language": "python",
        "segments": {
            "prefix": PREFIX,
            "suffix": SUFFIX,
            "filepath": "src/app.py",
            "git_url": "git@github.com:org/project.git",
            "declarations": [{"filepath": "file:///usr/x.py", "body": "def declared(): ..."}],
            "relevant_snippets_from_changed_files": [
                {"filepath": "src/changed.py", "body": "changed = 1", "score": 1.5}
            ],
            "relevant_snippets_from_recently_opened_files": [
                {"filepath": "src/opened.py", "body": "opened = 2", "score": 1}
            ],
            "clipboard": "clip",
        },
        "user": "ada",
        "temperature": 0.1,
        "mode": "standard",
        **changes,
    }


def test_tabbys_segments_are_completed_with_their_snippets(editor: Served) -> None:
    status, answer = editor.post("/v1/completions", tabby())

    assert status == 200
    assert set(answer) == {"id", "choices"}
    assert answer["choices"][0]["index"] == 0
    assert answer["choices"][0]["text"].split() == TEXT.split()
    prompt = sent(editor)["prompt"]
    assert prompt.startswith("<|repo_name|>project\n<|file_sep|>src/opened.py\nopened = 2\n")
    assert prompt.index("changed = 1") < prompt.index("def declared")
    assert "<|file_sep|>src/app.py\n<|fim_prefix|>" in prompt


def test_a_file_type_that_tabby_names_and_nobody_knows_is_completed(editor: Served) -> None:
    segments = {"prefix": "a", "suffix": "b"}

    assert editor.post("/v1/completions", {"language": "zz", "segments": segments})[0] == 200


def test_tabbys_other_mode_is_refused_by_name(editor: Served) -> None:
    status, answer = editor.post("/v1/completions", tabby(mode="next_edit_suggestion"))

    assert (status, answer["error"]["param"]) == (400, "mode")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"segments": 5}, "segments"),
        ({"segments": {}}, "segments.prefix"),
        ({"segments": {"prefix": "x", "declarations": [{}]}}, "segments.declarations[0].body"),
        ({"prompt": "x", "suffix": 5}, "suffix"),
        ({"prompt": "x", "suffix": "y", "language": "klingonish"}, "language"),
        ({"prompt": "x", "options": {"num_predict": "many"}}, "options.num_predict"),
        ({"prompt": "x", "ending": "sometimes"}, "ending"),
        ({"prompt": ["x"], "suffix": "y", "model": "plain"}, "suffix"),
    ],
    ids=str,
)
def test_a_wrong_field_of_a_completion_is_named(
    editor: Served, body: dict[str, Any], param: str
) -> None:
    status, answer = editor.post("/v1/completions", body)

    assert status == 400
    assert answer["error"]["param"] == param


@pytest.mark.parametrize("path", ["/v1/completions", "/beta/completions"])
def test_a_model_that_cannot_infill_refuses_a_suffix_with_a_hint(editor: Served, path: str) -> None:
    status, answer = editor.post(path, {"model": "plain", "prompt": "a", "suffix": "b"})

    assert status == 400
    assert answer["error"]["param"] == "suffix"
    assert "Hint" in answer["error"]["message"]


def test_a_plain_completion_stays_openais(editor: Served) -> None:
    """No infilling, no forced word, no cut: the model's own continuation of 16 tokens."""
    _, answer = editor.post("/v1/completions", {"model": "fake", "prompt": PREFIX})

    body = sent(editor)
    assert body["prompt"] == PREFIX
    assert body["max_tokens"] == 16
    assert not {"grammar", "samplers", "timings_per_token"} & set(body)
    assert answer["choices"][0]["text"] == "urn alpha beta "


def test_ending_none_leaves_a_middle_as_the_model_made_it(editor: Served) -> None:
    _, answer = editor.post(
        "/v1/completions", {"prompt": PREFIX, "suffix": SUFFIX, "ending": "none"}
    )

    assert answer["choices"][0]["text"] == "urn alpha beta "
    assert "grammar" not in sent(editor)


def test_line_ends_come_back_as_the_editor_has_them(tmp_path: Path) -> None:
    model = FakeModel(flags=("--tokens", "2", "--text", "pass\u2424x"))
    with served(tmp_path, {"fake": model}) as server:
        _, answer = server.post("/v1/completions", {"prompt": "if x:\r\n  ", "suffix": "\r\nend"})

        assert "\r" not in sent(server)["prompt"]
    assert answer["choices"][0]["text"]


# --- Mistral ---


def test_mistrals_whole_answer_has_a_message(editor: Served) -> None:
    status, answer = editor.post(
        "/v1/fim/completions",
        {"model": "fake", "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64, "random_seed": 3},
    )

    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].split() == TEXT.split()
    assert sent(editor)["seed"] == 3


def test_mistrals_stream_has_deltas(editor: Served) -> None:
    _, _, data = editor.request(
        "POST", "/v1/fim/completions", {"prompt": PREFIX, "suffix": SUFFIX, "stream": True}
    )

    deltas = [event["choices"][0]["delta"] for event in events(data)]
    assert "".join(delta["content"] for delta in deltas).split() == TEXT.split()
    assert events(data)[-1]["usage"]["total_tokens"] >= 0
    assert data.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "prompt"), ({"prompt": 5}, "prompt"), ({"prompt": "", "stop": 1}, "stop")],
)
def test_mistrals_errors_are_flat(editor: Served, body: dict[str, Any], param: str) -> None:
    status, answer = editor.post("/v1/fim/completions", body)

    assert status == 400
    assert answer["object"] == "error"
    assert answer["param"] == param


# --- Ollama ---


def test_continues_request_to_ollama_is_streamed_line_by_line(editor: Served) -> None:
    status, headers, data = editor.request(
        "POST",
        "/api/generate",
        {
            "model": "fake",
            "prompt": PREFIX,
            "suffix": SUFFIX,
            "raw": False,
            "options": {"temperature": 0.01, "num_predict": 80, "stop": ["\n\n\n"], "num_ctx": 99},
            "keep_alive": 1800,
        },
    )

    said = lines(data)
    assert status == 200
    assert headers["content-type"] == "application/x-ndjson"
    assert "".join(line["response"] for line in said).split() == TEXT.split()
    assert [line["done"] for line in said][-1] is True
    assert said[-1]["done_reason"] in ("stop", "length")
    assert said[-1]["eval_count"] > 0
    assert isinstance(said[-1]["total_duration"], int)


def test_zeds_raw_template_for_ollama_is_laid_out_anew(editor: Served) -> None:
    editor.post(
        "/api/generate",
        {
            "model": "fake:latest",
            "prompt": f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>",
            "raw": True,
            "stream": False,
            "options": {"num_predict": 64, "temperature": 0.2, "stop": ["<fim_middle>"]},
        },
    )

    assert sent(editor)["prompt"].startswith("<|fim_prefix|><|fim_suffix|>\n\nf(1)\n")


def test_raw_without_a_template_is_continued(editor: Served) -> None:
    _, answer = editor.post("/api/generate", {"prompt": "once upon", "raw": True, "stream": False})

    assert sent(editor)["prompt"] == "once upon"
    assert answer["response"]


def test_a_plain_prompt_to_ollama_is_a_chat(editor: Served) -> None:
    editor.post("/api/generate", {"prompt": "hello", "system": "be brief", "stream": False})

    roles = [message["role"] for message in sent(editor)["messages"]]
    assert roles == ["system", "user"]


def test_ollamas_chat_takes_tools_schemas_and_answers_of_tools(editor: Served) -> None:
    status, answer = editor.post(
        "/api/chat",
        {
            "model": "fake",
            "stream": False,
            "messages": [
                {"role": "user", "content": "weather?"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"city": "x"}}}],
                },
                {"role": "tool", "content": "rain", "tool_name": "f"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
            "format": {"type": "object", "properties": {}},
            "options": {"num_predict": 5, "seed": 4},
        },
    )

    body = sent(editor)
    assert status == 200
    assert answer["message"]["role"] == "assistant"
    assert body["messages"][2]["tool_call_id"] == body["messages"][1]["tool_calls"][0]["id"]
    assert body["response_format"]["type"] == "json_schema"
    assert body["seed"] == 4


def test_an_empty_request_loads_and_a_keep_alive_of_nothing_unloads(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        _, loaded = server.post("/api/generate", {"model": "fake", "stream": False})
        _, _, before = server.request("GET", "/api/ps")
        _, gone = server.post("/api/generate", {"keep_alive": 0, "stream": False})

        assert (loaded["done_reason"], gone["done_reason"]) == ("load", "unload")
        assert [model["name"] for model in json.loads(before)["models"]] == ["fake"]


def test_a_model_that_was_deleted_while_it_serves_does_not_take_the_list_along(
    tmp_path: Path,
) -> None:
    """One name that was no longer found made the whole list a 404."""
    with served(tmp_path, {"fake": FakeModel(), "gone": FakeModel()}) as server:
        for name in ("fake", "gone"):
            server.post("/api/generate", {"model": name, "stream": False})
        del server.models["gone"]

        status, _, data = server.request("GET", "/api/ps")

    assert status == 200
    assert [model["name"] for model in json.loads(data)["models"]] == ["fake"]


def test_ollamas_lists_have_what_its_clients_read(editor: Served) -> None:
    _, _, data = editor.request("GET", "/api/tags")

    models = json.loads(data)["models"]
    assert {model["name"] for model in models} == {"fake", "plain"}
    assert {"name", "model", "modified_at", "size", "digest", "details"} <= set(models[0])
    assert editor.request("GET", "/api/version")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:0"),
        ("GET", "/api/nothing"),
    ],
)
def test_what_ollama_does_beyond_answers_is_refused_in_its_shape(
    editor: Served, method: str, path: str
) -> None:
    status, _, data = editor.request(method, path, {"model": "fake"})

    assert 400 <= status < 500
    assert isinstance(json.loads(data)["error"], str)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/api/generate", {"prompt": "x", "template": "{{ x }}"}, "template"),
        ("/api/generate", {"prompt": "x", "context": [1]}, "context"),
        ("/api/generate", {"prompt": "x", "images": ["aGk="]}, "images"),
        ("/api/generate", {"prompt": "x", "options": {"num_predict": "y"}}, "options.num_predict"),
        ("/api/generate", {"prompt": "x", "raw": True, "format": "json"}, "format"),
        ("/api/generate", {"prompt": "x", "format": {"minLength": 10**8}}, "response_format"),
        ("/api/generate", {"prompt": "x", "keep_alive": "soon"}, "keep_alive"),
        ("/api/generate", {"model": "plain", "prompt": "x", "suffix": "y"}, "suffix"),
        ("/api/chat", {"messages": [{"role": "wizard"}]}, "messages[0].role"),
        ("/api/chat", {"messages": [{"role": "user", "images": ["x"]}]}, "text only"),
        ("/api/chat", {"messages": "hello"}, "messages"),
        ("/api/embed", {"model": "fake", "input": 5}, "input"),
        ("/api/embed", {"model": "fake", "input": "x"}, "embeddings"),
        ("/api/show", {}, "model"),
        ("/api/show", {"model": "nobody"}, "nobody"),
    ],
    ids=str,
)
def test_ollamas_errors_name_the_field(
    editor: Served, path: str, body: dict[str, Any], named: str
) -> None:
    status, answer = editor.post(path, {"stream": False} | body)

    assert 400 <= status < 500
    assert named in answer["error"]


# --- Probes ---


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_tabbys_health_tells_the_model(editor: Served, method: str) -> None:
    status, _, data = editor.request(method, "/v1/health")

    assert status == 200
    assert json.loads(data)["model"] == "fake"
    assert json.loads(data)["version"]["git_describe"].startswith("v")


def test_tabbys_telemetry_is_off(editor: Served) -> None:
    _, _, data = editor.request("GET", "/v1beta/server_setting")

    assert json.loads(data) == {"disable_client_side_telemetry": True}


def test_props_tell_the_context_of_a_model_in_memory(editor: Served) -> None:
    editor.post("/infill", llama_vim())

    _, _, data = editor.request("GET", "/props")

    assert json.loads(data)["default_generation_settings"]["n_ctx"] == 4096


# --- What became of a suggestion ---


def test_tabbys_events_are_counted_by_model_and_language(editor: Served) -> None:
    _, answer = editor.post("/v1/completions", tabby(language="rust"))

    for kind in ("view", "select", "select"):
        event = {"type": kind, "completion_id": answer["id"], "choice_index": 0, "elapsed": 12}
        assert editor.request("POST", "/v1/events", event | {"select_kind": "line"})[0] == 200

    _, _, metrics = editor.request("GET", "/metrics")
    for fate in ("shown", "accepted"):
        row = f'hearth_suggestions_total{{fate="{fate}",language="Rust",model="fake"}} 1.0'
        assert row in metrics.decode()
    _, _, live = editor.request("GET", "/hearth/ps")
    told = {row["name"]: row["suggestions"] for row in json.loads(live)["models"]}
    assert told["fake"]["shown"] >= 1


def test_an_event_of_a_suggestion_that_is_not_known_is_no_error(editor: Served) -> None:
    event = {"type": "dismiss", "completion_id": "cmpl-gone", "choice_index": 0}

    assert editor.post("/v1/events", event)[0] == 200


def test_an_event_of_no_known_kind_is_named(editor: Served) -> None:
    status, answer = editor.post("/v1/events", {"type": "hug", "completion_id": "x"})

    assert (status, answer["error"]["param"]) == (400, "type")


def test_any_editor_can_tell_what_became_of_its_suggestion(editor: Served) -> None:
    _, answer = editor.post("/v1/completions", {"prompt": "a", "suffix": "b"})

    taken = editor.post(f"/v1/completions/{answer['id']}/accepted", {})
    unknown = editor.post("/v1/completions/cmpl-nothing/accepted", {})
    wrong = editor.post(f"/v1/completions/{answer['id']}/eaten", {})

    assert [status for status, _ in (taken, unknown, wrong)] == [200, 404, 404]
