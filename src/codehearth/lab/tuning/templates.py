"""A chat template that brings a system prompt where a conversation has none; pure.

So a tuned model is asked as it was taught, whoever asks: the system prompt of its training is in
its own template, and no setting anywhere has to know it.
"""

from __future__ import annotations

import json

_MARK = "{#- the system prompt that this model was tuned with -#}"


def with_default_system(template: str, system: str) -> str:
    """`template` with `system` put before conversations that begin with something else.

    A default that was put there before is replaced. Jinja's literals are written as JSON's, which
    both Python's Jinja and llama.cpp's read.
    """
    if template.startswith(_MARK):
        template = template.split(_MARK, 2)[2]
    message = f"{{'role': 'system', 'content': {json.dumps(system, ensure_ascii=False)}}}"
    return (
        f"{_MARK}{{%- if not messages or messages[0]['role'] != 'system' -%}}"
        f"{{%- set messages = [{message}] + messages -%}}{{%- endif -%}}{_MARK}{template}"
    )
