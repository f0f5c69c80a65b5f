"""fastllm's library: a model in memory, and the four things that are asked of it.

Only what its Python module does itself is used; it is found in the engine's own environment.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..transformers.serving import CannotLoad

_MOST_AT_ONCE = 64  # tokens taken from one answer at a time


class Ended(Exception):
    """An answer has ended by itself."""


def facts() -> dict[str, Any]:
    """What this environment has, for `hearth engines`."""
    from ftllm import llm

    has_gpu = bool(llm.fastllm_lib.has_device(b"cuda"))
    return {
        "version": importlib.metadata.version("ftllm"),
        "devices": ["cuda"] if has_gpu else ["cpu"],
    }


class Library:
    """A model with its tokenizer, as `transformers/routes.py` wants it (`Vocabulary`)."""

    def __init__(self, asked: argparse.Namespace) -> None:
        """Load what was asked for. Raises CannotLoad; a broken file may end the process."""
        folder = Path(asked.model)
        _check(folder)
        import ctypes

        import transformers
        from ftllm import llm

        self._ctypes, self._library = ctypes, llm.fastllm_lib
        llm.set_cpu_threads(asked.threads)
        llm.set_device_map(asked.device)
        # Keys and values are laid out for so many tokens in all.
        llm.set_max_tokens(asked.slots * asked.context_tokens)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = llm.model(str(folder), dtype=asked.dtype)
        self._model.set_max_batch(asked.slots)
        config = json.loads((folder / "config.json").read_bytes())
        self.vocabulary_size = int(config["vocab_size"])
        self.num_adapters = 0
        self.end_ids = _end_ids(folder, config)
        self._tokens = (ctypes.c_int * _MOST_AT_ONCE)()

    def begin(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int,
        min_new_tokens: int,
        temperature: float,
        top_p: float,
        top_k: int,
        repeat_penalty: float,
        end_ids: Sequence[int],
    ) -> int:
        """Start an answer; its handle. `temperature` 0 takes the most likely token.

        Before `min_new_tokens` an end is not taken.
        """
        ints, is_greedy = self._ctypes.c_int, temperature <= 0
        ends = (ints * len(end_ids))(*end_ids) if end_ids else None
        return int(
            self._library.launch_response_llm_model(
                self._model.model,
                len(prompt),
                (ints * len(prompt))(*prompt),
                max_new_tokens,
                min_new_tokens,
                not is_greedy,
                top_p,
                1 if is_greedy else top_k,
                1.0 if is_greedy else temperature,
                repeat_penalty,
                False,
                len(end_ids),
                ends,
            )
        )

    def fetch(self, handle: int) -> list[int]:
        """The tokens that have come; raises Ended after the last one was fetched."""
        model = self._model.model
        if not self._library.can_fetch_response_llm_model(model, handle):
            return []
        count = self._library.fetch_response_tokens_batch_llm_model(
            model, handle, self._tokens, _MOST_AT_ONCE
        )
        if count < 0:
            raise Ended
        return list(self._tokens[:count])

    def abort(self, handle: int) -> None:
        self._library.abort_response_llm_model(self._model.model, handle)


def _check(folder: Path) -> None:
    """Whether the files are all there: fastllm reads past the end of a file that is not."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CannotLoad("there is no file of safetensors")
    for file in files:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            if size > file.stat().st_size:
                raise CannotLoad(f"{file.name} is incomplete")
            header = json.loads(opened.read(size))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        if 8 + size + max(ends, default=0) != file.stat().st_size:
            raise CannotLoad(f"{file.name} is incomplete: its tensors are not fully covered")


def _end_ids(folder: Path, config: dict[str, Any]) -> frozenset[int]:
    """What ends an answer: the generation config's, else the config's."""
    path = folder / "generation_config.json"
    generation = json.loads(path.read_bytes()) if path.is_file() else {}
    found = generation.get("eos_token_id", config.get("eos_token_id"))
    several = found if isinstance(found, list) else [found]
    return frozenset(one for one in several if isinstance(one, int))
