"""OpenAI's Python library with CodeHearth: streamed, whole, and as JSON by a schema.

pip install openai
python openai_chat.py "write a function that reverses a string"
"""

from __future__ import annotations

import json
import os
import sys

from openai import OpenAI

URL = os.environ.get("HEARTH_URL", "http://127.0.0.1:8765").rstrip("/")
MODEL = os.environ.get("HEARTH_MODEL", "starter")

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("HEARTH_API_KEY", "none"))


def streamed(question: str) -> None:
    """Each piece as it comes, and what the answer took."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        max_tokens=512,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        elif chunk.usage:
            print(f"\n({chunk.usage.completion_tokens} tokens)")


def structured() -> None:
    """An answer that is sure to be JSON of this shape: the engine writes nothing else."""
    schema = {
        "type": "object",
        "properties": {
            "language": {"enum": ["python", "go", "rust"]},
            "lines": {"type": "integer"},
        },
        "required": ["language", "lines"],
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "In which language is `def f(): pass`, how long?"}],
        max_tokens=64,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "code", "schema": schema, "strict": True},
        },
    )
    print(json.loads(answer.choices[0].message.content or "{}"))


if __name__ == "__main__":
    streamed(" ".join(sys.argv[1:]) or "write a function that reverses a string")
    structured()
