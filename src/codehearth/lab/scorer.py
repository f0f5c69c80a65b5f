"""Reads a text with one model and tells how likely it found every token: a child of `scoring.py`.

The job comes as JSON on standard input, results go out as JSON lines, one for each window. The
reference writes its logits to a file, window by window; every other precision reads them from
there, so that memory holds two windows however long the text is. Logits are kept as 32-bit floats:
what is measured may be smaller than 16 bits can say.

Windows are cut and scored as `llama-perplexity` does it: each begins anew with the token that
begins a text, where the model wants one; the first half is context only, and every token of the
second half but the last predicts its successor.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from codehearth.lab import library, structs
from codehearth.lab.activations import FirstBad
from codehearth.lab.logits import Array, compared, is_finite, losses

EXIT_REFUSED = 3


class Refused(Exception):
    """Why nothing can be said of this model, for the user."""


def main() -> int:
    job = json.load(sys.stdin)
    try:
        network = Network(job)
        if job["task"] == "tokenize":
            tell({"tokens": network.tokenize(job["text"]), "vocabulary_size": network.vocabulary})
        else:
            for line in score(network, job):
                tell(line)
    except library.LibraryChanged as error:
        hint = (
            "`--llama-server off` reads with the library of the wheel"
            if job.get("library")
            else None
        )
        message = f"Nothing was measured: {error}."
        tell({"error": "EngineFailed", "message": message, "hint": hint})
        return EXIT_REFUSED
    except Refused as error:
        tell({"error": "BadWeights", "message": str(error)})
        return EXIT_REFUSED
    except OSError as error:
        kind = "DiskFull" if error.errno in (28, 122) else "EngineFailed"
        tell({"error": kind, "message": f"Logits cannot be kept: {error.strerror or error}."})
        return EXIT_REFUSED
    return 0


def score(network: Network, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    is_reference = job["task"] == "reference"
    reference = np.empty(0, np.float32)
    with Path(job["logits"]).open("wb" if is_reference else "rb") as kept:
        for number, tokens in enumerate(job["windows"]):
            logits = network.second_half(tokens)
            if not is_finite(logits):
                raise Refused(
                    f"The model computes NaN or infinity in window {number + 1} of the text"
                    f"{_first_bad(job, tokens)}."
                )
            targets = np.asarray(tokens[len(tokens) // 2 + 1 :])
            if is_reference:
                logits.tofile(kept)
                yield {"window": number, **losses(logits, targets, job["num_threads"])}
            else:
                if reference.shape != logits.shape:  # once: every window has as many
                    reference = np.empty_like(logits)
                _read_into(reference, kept)
                found = compared(reference, logits, targets, job["num_threads"])
                yield {"window": number, **found}
    for prompt in job["prompts"]:
        yield {"greedy": network.continued(prompt, job["num_new_tokens"])}


def _read_into(array: Array, kept: Any) -> None:
    """The next numbers of a binary file; raises OSError where it has ended."""
    if kept.readinto(array.data.cast("B")) != array.nbytes:
        raise OSError("the file of the reference's logits is too short")


def _first_bad(job: dict[str, Any], tokens: Sequence[int]) -> str:
    """Where it begins: the window is computed again and every tensor looked at."""
    found = FirstBad(_library_of(job))
    with suppress(Refused, library.LibraryChanged):
        Network(job, on_tensor=found.callback).read(tokens)
    return f", first at '{found.name}'" if found.name else ""


def _library_of(job: Mapping[str, Any]) -> ctypes.CDLL:
    """The one that the job names; without a name the wheel's."""
    path = job.get("library")
    return library.load(Path(path) if path else None)


class Network:
    """A model and one context of llama.cpp's, in memory until the process ends."""

    def __init__(self, job: Mapping[str, Any], *, on_tensor: Any = None) -> None:
        """`on_tensor` is llama.cpp's callback for evaluated tensors; it must outlive this."""
        context_tokens = job["context_tokens"]
        self._native = _library_of(job)
        params = library.model_params(self._native)
        context = library.context_params(self._native)
        self._quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_log)
        self._native.llama_log_set(ctypes.cast(self._quiet, ctypes.c_void_p), None)
        self._native.llama_backend_init()
        params.n_gpu_layers = 0
        model = self._native.llama_model_load_from_file(job["model"].encode(), params)
        if not model:
            raise Refused(f"llama.cpp cannot load the model: {_last_words()}")
        context.n_ctx = context.n_batch = context.n_outputs_max_per_seq = context_tokens
        context.n_ubatch = min(context_tokens, 512)
        context.n_threads = context.n_threads_batch = job["num_threads"]
        context.offload_kqv = context.op_offload = False  # also where it was built for a GPU
        if on_tensor is not None:
            context.cb_eval = ctypes.cast(on_tensor, ctypes.c_void_p)
        self._context = self._native.llama_init_from_model(model, context)
        if not self._context:
            raise Refused(f"llama.cpp cannot make a context: {_last_words()}")
        self._vocabulary = self._native.llama_model_get_vocab(model)
        self.vocabulary = int(self._native.llama_vocab_n_tokens(self._vocabulary))

    def tokenize(self, text: str) -> list[int]:
        """The text's tokens, without a beginning-of-text token: each window gets its own."""
        raw = text.encode()
        room = len(raw) + 16
        found = (ctypes.c_int32 * room)()
        count = self._native.llama_tokenize(
            self._vocabulary, raw, len(raw), found, room, False, False
        )
        if count < 0:
            raise Refused("The text cannot be cut into tokens.")
        return list(found[:count])

    def second_half(self, tokens: Sequence[int]) -> Array:
        """Logits (S, V) behind each token of the second half but the last; good until the next."""
        tokens = self._begun(tokens)
        self._forget()
        scored = range(len(tokens) // 2, len(tokens) - 1)
        self._decode(tokens, first_position=0, wanted=scored)
        return self._rows(scored)

    def read(self, tokens: Sequence[int]) -> None:
        """Computes all of a window, also what only its logits need."""
        self._forget()
        self._decode(self._begun(tokens), first_position=0, wanted=range(len(tokens)))

    def continued(self, prompt: Sequence[int], num_new_tokens: int) -> list[int]:
        """The likeliest tokens behind `prompt`, up to the first that ends a text."""
        self._forget()
        self._decode(self._begun(prompt), first_position=0, wanted=(len(prompt) - 1,))
        made: list[int] = []
        index = len(prompt) - 1
        for _ in range(num_new_tokens):
            token = int(self._row(index).argmax())
            if self._native.llama_vocab_is_eog(self._vocabulary, token):
                break
            made.append(token)
            self._decode([token], first_position=len(prompt) + len(made) - 1, wanted=(0,))
            index = 0
        return made

    def _begun(self, tokens: Sequence[int]) -> list[int]:
        """With the token that begins a text in place of the first, where the model wants one."""
        begun = list(tokens)
        if self._native.llama_vocab_get_add_bos(self._vocabulary):
            begun[0] = self._native.llama_vocab_bos(self._vocabulary)
        return begun

    def _forget(self) -> None:
        self._native.llama_memory_clear(self._native.llama_get_memory(self._context), True)

    def _decode(self, tokens: Sequence[int], *, first_position: int, wanted: Sequence[int]) -> None:
        count = len(tokens)
        zero = (ctypes.c_int32 * 1)(0)
        sequence = ctypes.cast(zero, ctypes.POINTER(ctypes.c_int32))
        flags = (ctypes.c_int8 * count)()
        for index in wanted:
            flags[index] = 1
        batch = structs.Batch(
            n_tokens=count,
            token=(ctypes.c_int32 * count)(*tokens),
            pos=(ctypes.c_int32 * count)(*range(first_position, first_position + count)),
            n_seq_id=(ctypes.c_int32 * count)(*[1] * count),
            seq_id=(ctypes.POINTER(ctypes.c_int32) * count)(*[sequence] * count),
            logits=flags,
        )
        code = self._native.llama_decode(self._context, batch)
        if code != 0:
            raise Refused(f"llama.cpp could not compute (code {code}): {_last_words()}")

    def _row(self, index: int) -> Array:
        row: Array = self._rows(range(index, index + 1))[0]
        return row

    def _rows(self, indices: range) -> Array:
        """The logits of neighbouring tokens where llama.cpp has them: one behind the other."""
        first, last = (
            self._native.llama_get_logits_ith(self._context, index)
            for index in (indices[0], indices[-1])
        )
        if not first or not last:
            raise Refused("llama.cpp keeps the logits to itself.")
        rows = np.ctypeslib.as_array(first, (len(indices), self.vocabulary))
        if rows[-1].ctypes.data != ctypes.addressof(last.contents):
            raise Refused("llama.cpp lays out its logits otherwise than expected.")
        return rows


# --- llama.cpp's log ------------------------------------------------------------------------------

_said: list[str] = []


def _log(level: int, text: bytes | None, _data: object) -> None:
    if level >= 3 and text:  # warnings and errors
        _said.append(text.decode("utf-8", "replace"))
        del _said[:-8]


def _last_words() -> str:
    return " ".join("".join(_said).split())[-300:] or "it does not say why"


def tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
