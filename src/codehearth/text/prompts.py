"""Prompts that are not about infilling, and a way in for who knows prefix and suffix only."""

from __future__ import annotations

from codehearth.text.fim import Fim, fim_format_of, render
from codehearth.text.fim_formats import FIM_FORMATS

__all__ = ["FIM_FORMATS", "fim_format_of", "language_prompt", "render_fim"]


def render_fim(format_name: str | None, *, prefix: str, suffix: str) -> str:
    """The prompt that asks for what stands between `prefix` and `suffix`; see `fim.render`."""
    return render(format_name, Fim(prefix, suffix))


def language_prompt(tag_line: str, prompt: str) -> str:
    """A prompt under its language's tag line, as CodeGeeX2 was trained: `# language: Python`."""
    return f"{tag_line}\n{prompt}" if tag_line else prompt
