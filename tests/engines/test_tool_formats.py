"""By a chat template, how a model writes calls of tools: with the marks of the families' own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines.asking import value_of
from engines.test_vllm import LAUNCH

from codehearth.engines import lmdeploy, vllm
from codehearth.engines.tool_formats import tool_format_of

QWEN25 = """Write calls so: <tool_call>{"name": …, "arguments": …}</tool_call>"""
QWEN3_CODER = """<tool_call><function=NAME><parameter=KEY>…</parameter></function></tool_call>"""
LLAMA31 = """{{ "<|python_tag|>" + call.name }}"""
MISTRAL = """{{ "[TOOL_CALLS]" }}"""
DEEPSEEK_V3 = """{{ '<｜tool▁calls▁begin｜>' + '```json' + call.arguments }}"""
DEEPSEEK_V31 = """{{ '<｜tool▁calls▁begin｜>' + call.name + call.arguments }}"""
GLM45 = """<tool_call>NAME<arg_key>…</arg_key><arg_value>…</arg_value></tool_call>"""
GPT_OSS = """{{ "<|start|>assistant<|channel|>commentary" + call.arguments + "<|call|>" }}"""
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "for_vllm", "for_lmdeploy"),
    [
        (QWEN25, "hermes", "qwen3"),
        (QWEN3_CODER, "qwen3_coder", "qwen3coder"),
        (LLAMA31, "llama3_json", "llama3"),
        (MISTRAL, "mistral", ""),
        (DEEPSEEK_V3, "deepseek_v3", ""),
        (DEEPSEEK_V31, "deepseek_v31", ""),
        (GLM45, "glm47", "glm47"),
        (GPT_OSS, "openai", ""),
    ],
)
def test_the_template_tells_the_parser(template: str, for_vllm: str, for_lmdeploy: str) -> None:
    found = tool_format_of(template)

    assert found is not None
    assert (found.vllm, found.lmdeploy) == (for_vllm, for_lmdeploy)
    launch = replace(LAUNCH, own_template=template)
    words, why = vllm.arguments(launch, on_gpu=True)
    assert "--enable-auto-tool-choice" in words
    assert value_of(words, "--tool-call-parser") == for_vllm
    assert any(for_vllm in reason for reason in why)
    others, _ = lmdeploy.arguments(launch)
    assert ("--tool-call-parser" in others) == bool(for_lmdeploy)


@pytest.mark.parametrize("template", [CHATML, "", None])
def test_a_template_without_calls_names_no_parser(template: str | None) -> None:
    assert tool_format_of(template) is None
    words, _ = vllm.arguments(replace(LAUNCH, own_template=template or ""), on_gpu=True)
    assert "--tool-call-parser" not in words
