"""Tools: what a model writes as a call reaches every agent as one, whatever computes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.engine_environments import ENVIRONMENTS, installed
from tests.reciting import reciting_checkpoint
from tests.system.conftest import Hearth

ASK: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
# As Qwen's: what a call looks like is shown to the model.
WITH_TOOLS = (
    '{% if tools %}{{ \'<|im_start|>system\\nCall a tool so: <tool_call>{"name": …, '
    "\"arguments\": …}</tool_call>\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') }}"
    "{% for call in message.tool_calls or [] %}"
    '{{ \'\\n<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' '
    "+ (call.function.arguments | tojson) + '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "weather", "description": "the weather of a city", "parameters": CITY}


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm"])
def test_a_call_that_a_model_writes_reaches_every_agent(
    hearth: Hearth, tmp_path: Path, engine: str
) -> None:
    """vLLM refused each request with tools, as no parser was named."""
    path = reciting_checkpoint(
        tmp_path / "caller",
        "<tool_call>",
        '\n{"name": "weather", ',
        '"arguments": {"city": "Paris"}}',
        "\n</tool_call>",
        chat_template=WITH_TOOLS,
    )
    if engine == "vllm":
        installed("vllm")
        hearth.data.mkdir(parents=True, exist_ok=True)
        (hearth.data / "engines").symlink_to(ENVIRONMENTS)
        model, name, flags = str(path), "caller", ("--engine", "vllm", "--load-timeout", "300")
    else:
        assert hearth.run("quantize", str(path), "--to", "f16").returncode == 0
        model, name, flags = "caller:f16", "caller:f16", ()
    openais: Any = [{"type": "function", "function": WEATHER}]
    flat: Any = [{"type": "function", **WEATHER}]
    anthropics: Any = [{"name": "weather", "input_schema": CITY}]

    with (
        hearth.serving("-m", model, *flags, "--context", "1024", "--slots", "2") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as agent,
    ):
        chat = client.chat.completions.create(
            model=name, messages=ASK, tools=openais, temperature=0, max_tokens=40
        )
        response = client.responses.create(
            model=name, input=ASK, tools=flat, temperature=0, max_output_tokens=40
        )
        with agent.messages.stream(
            model=name, messages=ASK, tools=anthropics, max_tokens=40
        ) as stream:
            message = stream.get_final_message()
        used: Any = message.content[-1]
        result: Any = {"type": "tool_result", "tool_use_id": used.id, "content": "rain"}
        again = agent.messages.create(
            model=name,
            messages=[
                *ASK,
                {"role": "assistant", "content": [block.model_dump() for block in message.content]},
                {"role": "user", "content": [result]},
            ],
            tools=anthropics,
            max_tokens=40,
        )
        plain = client.chat.completions.create(model=name, messages=ASK, max_tokens=40)

    calls: Any = chat.choices[0].message.tool_calls
    assert calls is not None, chat
    assert chat.choices[0].finish_reason == "tool_calls"
    called = calls[0].function
    assert (called.name, json.loads(called.arguments)) == ("weather", {"city": "Paris"})
    made: Any = response.output[-1]
    assert made.type == "function_call"
    assert (made.name, json.loads(made.arguments)) == ("weather", {"city": "Paris"})
    assert (used.type, used.name, used.input) == ("tool_use", "weather", {"city": "Paris"})
    assert message.stop_reason == "tool_use"
    assert again.usage.input_tokens + (again.usage.cache_read_input_tokens or 0) > (
        message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    )
    assert "<tool_call>" in str(plain.choices[0].message.content)
