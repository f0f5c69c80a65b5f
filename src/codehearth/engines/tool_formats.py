"""How a model writes calls of tools, seen in its chat template, in the words of other servers.

vLLM and LMDeploy read calls out of an answer with a parser that has to be named. A template shows
the model how its calls look, so the marks in it tell. Pure. Sources: the parsers of vLLM 0.32 and
LMDeploy 0.18, and the templates of the families.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToolFormat:
    """`marks` must all stand in the template; a parser is "" where that server has none."""

    marks: tuple[str, ...]
    vllm: str
    lmdeploy: str = ""


# The first that fits counts: those of more marks come before those whose marks they hold too.
TOOL_FORMATS = (
    ToolFormat(("<function=", "<parameter="), "qwen3_coder", "qwen3coder"),
    ToolFormat(("<arg_key>", "<arg_value>"), "glm47", "glm47"),
    ToolFormat(("<|tool_calls_section_begin|>",), "kimi_k2", "kimi_k2"),
    ToolFormat(("<minimax:tool_call>",), "minimax_m2"),
    ToolFormat(("<seed:tool_call>",), "seed_oss"),
    ToolFormat(("<｜tool▁calls▁begin｜>", "```json"), "deepseek_v3"),
    ToolFormat(("<｜tool▁calls▁begin｜>",), "deepseek_v31"),
    ToolFormat(("[TOOL_CALLS]",), "mistral"),
    ToolFormat(("<|python_tag|>",), "llama3_json", "llama3"),
    ToolFormat(("<|action_start|>",), "internlm", "internlm"),
    ToolFormat(("<|channel|>", "<|call|>"), "openai"),
    ToolFormat(("<|tool_call|>",), "granite"),
    ToolFormat(("<tool_call>", "arguments"), "hermes", "qwen3"),
)


def tool_format_of(template: str | None) -> ToolFormat | None:
    """None where the template shows no calls, or in a form that is not known here."""
    for one in TOOL_FORMATS:
        if all(mark in (template or "") for mark in one.marks):
            return one
    return None
