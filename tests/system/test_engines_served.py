"""`hearth serve --engine …` for engines with environments, asked by two makers' clients."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.engine_environments import ENVIRONMENTS, installed
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
