"""Names of models: what people write is understood, what attackers write is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import InvalidRequest
from codehearth.models.names import (
    MAX_NAME_CHARACTERS,
    CatalogueName,
    HubName,
    PathName,
    is_safe_file_path,
    is_safe_repository,
    parse_name,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qwen2.5-coder-1.5b", CatalogueName("qwen2.5-coder-1.5b")),
        ("qwen2.5-coder-1.5b:int4", CatalogueName("qwen2.5-coder-1.5b", "int4")),
        ("qwen2.5-coder:7b", CatalogueName("qwen2.5-coder", "7b")),
        ("starcoder2-3b:q8_0@main", CatalogueName("starcoder2-3b", "q8_0", "main")),
        ("Qwen/Qwen2.5-Coder-7B", CatalogueName("Qwen/Qwen2.5-Coder-7B")),
        ("hf:org/repo", HubName("huggingface", "org/repo")),
        ("HF:org/repo", HubName("huggingface", "org/repo")),
        ("hf.co/org/repo:Q4_K_M", HubName("huggingface", "org/repo", "Q4_K_M")),
        ("https://huggingface.co/org/repo/", HubName("huggingface", "org/repo")),
        ("hf:org/repo:sub/a.gguf", HubName("huggingface", "org/repo", "sub/a.gguf")),
        ("hf:org/repo:q4_k_m@v1.0", HubName("huggingface", "org/repo", "q4_k_m", "v1.0")),
        ("hf:org/repo@refs/pr/3", HubName("huggingface", "org/repo", None, "refs/pr/3")),
        ("ms:org/repo:a.gguf", HubName("modelscope", "org/repo", "a.gguf")),
        ("https://modelscope.cn/models/org/repo", HubName("modelscope", "org/repo")),
        ("ms:组/repo", None),
        ("ms:org/repo:模型-q4_k_m.gguf", HubName("modelscope", "org/repo", "模型-q4_k_m.gguf")),
    ],
)
def test_a_name_is_read_as_it_is_meant(text: str, expected: object) -> None:
    if expected is None:
        with pytest.raises(InvalidRequest):
            parse_name(text)
    else:
        assert parse_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "qwen2.5-coder-1.5b:int4",
        "hf:org/repo:sub/a.gguf@main",
        "ms:org/repo",
        "starcoder2-3b@0123abcd",
    ],
)
def test_a_name_that_is_written_again_reads_the_same(text: str) -> None:
    name = parse_name(text)

    assert str(name) == text
    assert parse_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "/etc/passwd",
        "./model.gguf",
        "../model.gguf",
        "~/model.gguf",
        "file:/etc/passwd",
        "C:\\models\\x.gguf",
        "hf:",
        "hf:repo",
        "hf:/etc/passwd",
        "hf:../../etc/passwd",
        "hf:org/..",
        "hf:org/repo/../../x",
        "hf:org/re--po",
        "hf:-org/repo",
        "hf:org/repo.git",
        "hf:org/repo:../secret",
        "hf:org/repo:/etc/passwd",
        "hf:org/repo:a//b",
        "hf:org/repo:a/./b",
        "hf:org/repo:a\\b",
        "hf:org/repo:a:b",
        "hf:org/repo@../x",
        "hf:org/repo@a/../b",
        "hf:org/repo@/x",
        "hf:org/repo@x.lock",
        "hf:org/repo@",
        "hf:https://evil.example/org/repo",
        "name\0hidden",
        "name\nX-Header: 1",
        "name\x1b[31m",
        "na\u202eme",
        "\ud800",
        "qwen\udcff",
        "a..b",
        "a//b",
        "name:prec/ision",
        "name:..",
        "name@a b",
        "x" * (MAX_NAME_CHARACTERS + 1),
    ],
)
def test_a_hostile_name_is_refused_and_names_the_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_name(text)

    assert caught.value.param == "model"


def test_a_path_is_read_only_where_it_is_allowed() -> None:
    for text in ("/models/a.gguf", "./a.gguf", "../a", "a.gguf", "file:/models/a.gguf"):
        assert isinstance(parse_name(text, allow_path=True), PathName)
    assert parse_name("file:/models/a.gguf", allow_path=True) == PathName(Path("/models/a.gguf"))
    assert parse_name("~/a.gguf", allow_path=True) == PathName(Path.home() / "a.gguf")


def test_where_paths_are_allowed_names_are_still_names() -> None:
    assert parse_name("qwen2-7b", allow_path=True) == CatalogueName("qwen2-7b")
    name = parse_name("hf:org/repo:a.gguf", allow_path=True)
    assert name == HubName("huggingface", "org/repo", "a.gguf")


@given(st.text(max_size=600))
def test_no_text_is_read_as_a_path_or_leads_out_of_a_folder(text: str) -> None:
    try:
        name = parse_name(text)
    except InvalidRequest:
        return

    assert not isinstance(name, PathName)
    if isinstance(name, HubName):
        assert is_safe_repository(name.repo)
        assert name.selector is None or is_safe_file_path(name.selector)
        folder = Path("/cache")
        parts = [name.repo, name.selector or "", name.revision or ""]
        assert all((folder / part).resolve().is_relative_to(folder) for part in parts)


@given(st.text(alphabet="ab./\\:@~-_ \0\ud800", min_size=1, max_size=40))
def test_a_safe_file_path_stays_in_its_folder(path: str) -> None:
    if is_safe_file_path(path):
        assert Path("/cache", path).resolve().is_relative_to("/cache")
        assert Path("/cache", path).resolve() != Path("/cache")
