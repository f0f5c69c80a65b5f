"""Hostile bodies on every route of the document: a 4xx in the dialect's shape, never a 5xx."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.served import Served

VALID: dict[str, dict[str, Any]] = {
    "/v1/completions": {
        "prompt": "a\nb",
        "suffix": "c",
        "max_tokens": 4,
        "stop": ["x"],
        "options": {"num_predict": 4},
        "language": "python",
        "segments": None,
        "user": "u",
    },
    "/beta/completions": {"prompt": "a", "suffix": "b", "max_tokens": 4},
    "/v1/fim/completions": {"prompt": "a", "suffix": "b", "max_tokens": 4, "stop": ["x"]},
    "/infill": {
        "input_prefix": "a\n",
        "input_suffix": "b",
        "input_extra": [{"filename": "f", "text": "t"}],
        "prompt": "c",
        "n_predict": 4,
        "samplers": ["top_k"],
        "response_fields": ["content", "timings/prompt_n"],
        "n_cmpl": 2,
        "lora": [{"id": 0, "scale": 1.0}],
        "t_max_predict_ms": 5,
    },
    "/completion": {"prompt": "a", "n_predict": 4, "stream": True},
    "/completions": {"prompt": "<fim_prefix>a<fim_suffix>b<fim_middle>", "n_predict": 4},
    "/api/generate": {
        "prompt": "a",
        "suffix": "b",
        "options": {"num_predict": 4, "stop": ["x"], "seed": 1},
        "keep_alive": "5m",
        "format": "",
        "raw": False,
        "stream": False,
    },
    "/api/chat": {
        "messages": [{"role": "user", "content": "a", "tool_calls": [], "images": []}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "format": {"type": "object"},
        "options": {"num_predict": 4},
        "stream": False,
    },
    "/api/show": {"model": "fake"},
    "/api/embed": {"model": "fake", "input": ["a"]},
    "/v1/events": {"type": "view", "completion_id": "x", "choice_index": 0},
}
SEGMENTS = {
    "language": "python",
    "segments": {
        "prefix": "a",
        "suffix": "b",
        "filepath": "f.py",
        "git_url": "git@x:y/z.git",
        "declarations": [{"filepath": "g.py", "body": "x"}],
    },
}
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        2**31,
        2**63,
        -(2**63),
        1e308,
        -0.5,
        "",
        "x" * 5000,
        "\x00",
        "<|fim_prefix|>",
        "<fim_prefix><fim_suffix><fim_middle>",
        "[SUFFIX][PREFIX]",
        "+++++ \n[SUFFIX]",
        "<|repo_name|><|file_sep|>",
        "﷽\u2028🙂\r\n\r",
        [],
        [[]],
        [None],
        [{}],
        ["x"] * 300,
        {},
        {"a": {"b": []}},
        [1, "a", {}],
        {"type": "string", "minLength": 10**9},
        "../../etc/passwd",
        "-1",
        "5m",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """A valid body with one or two of its fields, at any depth, made odd."""
    body: dict[str, Any] = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 2))):
        node: Any = body
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
                node = node[key]
                continue
            node[key] = json.loads(json.dumps(draw(ODD | JSON)))  # the samples stay as they are
            break
    return body


@pytest.mark.parametrize("path", [*VALID, "segments"])
def test_odd_fields_are_refused_or_answered(server: Served, path: str) -> None:
    valid = VALID.get(path, SEGMENTS)
    route = path if path in VALID else "/v1/completions"

    @settings(
        max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(mutated(valid))
    def ask(body: dict[str, Any]) -> None:
        body.pop("model", None) if path not in ("/api/show", "/api/embed") else None
        status, _, data = server.request("POST", route, json.dumps(body).encode(), JSON_TYPE)
        assert status < 500, (status, body, data[:300])
        if status >= 400:
            assert b"error" in data
            assert b"Traceback" not in data

    ask()


JSON_TYPE = {"Content-Type": "application/json"}


def paths_of(server: Served) -> list[tuple[str, str]]:
    """All but those of our own page, which have tests of their own and need a real store."""
    document = json.loads(server.request("GET", "/openapi.json")[2])
    return [
        (method.upper(), re.sub("{.*?}", "fake", path))
        for path, methods in document["paths"].items()
        for method in methods
        if not path.startswith("/hearth/") or path in ("/hearth/load", "/hearth/unload")
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": NaN}',
        b'{"prompt": 1e999}',
        b'{"input_prefix": "\\udc00", "model": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b'{"segments": ' + b"[" * 90 + b"]" * 90 + b"}",
        b"\xff\xfe",
        b'{"prompt": "' + b"9" * 5000,
        b'{"n_predict": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_no_body_brings_a_route_down(server: Served, body: bytes) -> None:
    for method, path in paths_of(server):
        if method == "GET":
            continue
        status, _, data = server.request(method, path, body, JSON_TYPE)
        assert status < 500, (method, path, status, data[:300])


def test_ten_megabytes_are_refused_on_every_route(server: Served) -> None:
    """From the header, before a byte is read."""
    for method, path in paths_of(server):
        if method != "GET":
            headers = JSON_TYPE | {"Content-Length": str(10 * 2**20)}
            status, _, _ = server.request(method, path, b"{}", headers)
            assert status == 413, (method, path)


def test_a_long_list_of_snippets_is_bounded(server: Served) -> None:
    extra = [{"filename": "f", "text": "x"}] * 100_000

    status, answer = server.post("/infill", {"input_extra": extra})

    assert (status, answer["error"]["param"]) == (400, "input_extra")


def test_megabytes_around_the_cursor_are_cut_and_answered(server: Served) -> None:
    text = "some code = 1\n" * 150_000

    for path, body in (
        ("/v1/completions", {"prompt": text, "suffix": text, "max_tokens": 4}),
        ("/infill", {"input_prefix": text, "input_suffix": text, "n_predict": 4}),
        ("/api/generate", {"prompt": text, "suffix": text, "stream": False}),
        ("/v1/completions", {"segments": {"prefix": text.replace("\n", " "), "suffix": "x"}}),
    ):
        status, headers, _ = server.request("POST", path, body)
        assert status == 200
        assert "cursor" in headers["x-hearth-cut"]
