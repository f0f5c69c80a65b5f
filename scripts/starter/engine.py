"""The shipped file in the engine that ships: greedy or sampled text from llama.cpp."""

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

CONTEXT = 2048


@dataclass(frozen=True)
class Completion:
    """Text after a prompt, whether the model ended it, and how fast it came."""

    text: str
    has_stopped: bool
    tokens_per_s: float


class Engine:
    """One llama.cpp server on loopback inside this process; it lives as long as the object."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = CONTEXT
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
        parameters.verbosity = 0
        self._server = xllamacpp.Server(parameters)
        self._base = str(self._server.listening_address)

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        grammar: str | None = None,
    ) -> Completion:
        """A completion of a prompt that may hold special tokens; it obeys the grammar, if any."""
        reply = self.post(
            "/completion",
            {
                "prompt": prompt,
                "n_predict": max_tokens,
                "temperature": temperature,
                "seed": seed,
                "top_k": 0,
                "top_p": 1.0,
                "min_p": 0.0,
            }
            | ({"grammar": grammar} if grammar else {}),
        )
        return Completion(
            reply["content"],
            reply["stop_type"] == "eos",
            reply["timings"]["predicted_per_second"],
        )

    def post(self, path: str, body: dict[str, object]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            self._base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
            return json.load(response)
