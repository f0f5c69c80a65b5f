"""`hearth serve --engine …` for engines with environments, asked by two makers' clients."""

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

ASK: Any = [{"role": "user", "content": "Write a function that reverses a string"}]


@pytest.mark.parametrize(
    ("recipe", "model", "flags", "engine"),
    [
        ("llamacpp-native", "starter", (), "llama-server"),
        ("vllm", "starter", ("--engine", "vllm", "--load-timeout", "300"), "vllm"),
        ("fastllm", "starter", ("--engine", "fastllm"), "fastllm"),
        ("transformers", "starter", ("--engine", "transformers"), "transformers"),
    ],
)
def test_the_starter_answers_whatever_computes_it(
    hearth: Hearth, recipe: str, model: str, flags: tuple[str, ...], engine: str
) -> None:
    installed(recipe)
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)

    with (
        hearth.serving("-m", model, "--context", "512", "--slots", "2", *flags) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as agent,
    ):
        chat = client.chat.completions.create(
            model=model, messages=ASK, temperature=0, max_tokens=60
        )
        response = client.responses.create(
            model=model, input=ASK, temperature=0, max_output_tokens=60
        )
        message = agent.messages.create(
            model=model, messages=ASK, max_tokens=60, extra_body={"temperature": 0}
        )
        cached = message.usage.cache_read_input_tokens or 0
        counted = agent.messages.count_tokens(model=model, messages=ASK)
        text = client.completions.create(
            model=model, prompt="def add(a, b):\n", temperature=0, max_tokens=8
        )
        chunks = client.completions.create(
            model=model, prompt="def add(a, b):\n", temperature=0, max_tokens=8, stream=True
        )
        streamed = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        middle = client.completions.create(
            model=model,
            prompt="def add(a, b):\n    return",
            suffix="\n",
            temperature=0,
            max_tokens=4,
        )
        listed = hearth.run("ps", "--json")

    assert "def " in str(chat.choices[0].message.content)
    assert message.content[0].text == response.output_text == chat.choices[0].message.content
    assert counted.input_tokens == message.usage.input_tokens + cached
    assert text.choices[0].text and streamed == text.choices[0].text
    assert middle.choices[0].text.strip(), middle  # vLLM refused a family's eight ends
    assert f'"{engine}"' in listed.stdout


# As Qwen's: what a call looks like is shown to the model.
WITH_TOOLS = (
    '{% if tools %}{{ \'<|im_start|>system\\nCall a tool so: <tool_call>{"name": …, '
    "\"arguments\": …}</tool_call>\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "weather", "description": "the weather of a city", "parameters": CITY}


def test_vllm_gives_the_calls_of_tools_that_a_model_writes_to_every_agent(
    hearth: Hearth, tmp_path: Path
) -> None:
    """Agents live by them; vLLM refused each request with tools, as no parser was named."""
    installed("vllm")
    hearth.data.mkdir(parents=True, exist_ok=True)
    (hearth.data / "engines").symlink_to(ENVIRONMENTS)
    path = reciting_checkpoint(
        tmp_path / "caller",
        "<tool_call>",
        '\n{"name": "weather", ',
        '"arguments": {"city": "Paris"}}',
        "\n</tool_call>",
        chat_template=WITH_TOOLS,
    )
    openais: Any = [{"type": "function", "function": WEATHER}]
    flat: Any = [{"type": "function", **WEATHER}]
    anthropics: Any = [{"name": "weather", "input_schema": CITY}]
    flags = ("--engine", "vllm", "--load-timeout", "300", "--context", "512", "--slots", "2")

    with (
        hearth.serving("-m", str(path), *flags) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as agent,
    ):
        chat = client.chat.completions.create(
            model="caller", messages=ASK, tools=openais, temperature=0, max_tokens=40
        )
        response = client.responses.create(
            model="caller", input=ASK, tools=flat, temperature=0, max_output_tokens=40
        )
        with agent.messages.stream(
            model="caller", messages=ASK, tools=anthropics, max_tokens=40
        ) as stream:
            message = stream.get_final_message()
        plain = client.chat.completions.create(model="caller", messages=ASK, max_tokens=40)

    calls: Any = chat.choices[0].message.tool_calls
    assert calls is not None, chat
    assert chat.choices[0].finish_reason == "tool_calls"
    assert (calls[0].function.name, json.loads(calls[0].function.arguments)) == (
        "weather",
        {"city": "Paris"},
    )
    made: Any = response.output[-1]
    assert (made.type, made.name, json.loads(made.arguments)) == (
        "function_call",
        "weather",
        {"city": "Paris"},
    )
    used: Any = message.content[-1]
    assert (used.type, used.name, used.input) == ("tool_use", "weather", {"city": "Paris"})
    assert message.stop_reason == "tool_use"
    assert "<tool_call>" in str(plain.choices[0].message.content)
