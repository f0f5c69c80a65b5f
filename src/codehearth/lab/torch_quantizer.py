"""Writes a checkpoint in int8, int4 or gptq4: a child of `quantize_checkpoint.py`.

It runs under the Python of the environment of transformers. The job comes as JSON on standard
input, what happens goes out as JSON lines; what the libraries print goes to standard error.

bitsandbytes quantises as the engine's own code loads the checkpoint. It is saved before anything
is computed: the first step on a CPU packs 4-bit weights anew, and what is saved then cannot be
read. GPTQModel rounds layer by layer so that what a text brings to each layer comes out alike; for
the architectures whose state it can keep (Llama's among them) it goes on behind the last layer that
was done, where a run was cut off.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from codehearth.lab.voice import Tell, own_voice

EXIT_REFUSED = 3

# GPTQ's scales stand for so many weights of a row each; the first that divides every row is taken.
_GROUP_SIZES = (128, 64, 32)
_MIN_WINDOWS = 4


class Refused(Exception):
    """Why it cannot be made, for the user: `kind` is an error class of the house."""

    def __init__(self, kind: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.hint = kind, hint


def main() -> int:
    job = json.load(sys.stdin)
    tell = own_voice()
    _end_when_told()
    try:
        quantise = _with_gptqmodel if job["precision"] == "gptq4" else _with_bitsandbytes
        quantise(job, tell)
        _restore_config(Path(job["model"]), Path(job["target"]))
    except Refused as error:
        tell({"error": error.kind, "message": str(error), "hint": error.hint})
        return EXIT_REFUSED
    except OSError as error:
        kind = "DiskFull" if error.errno in (28, 122) else "EngineFailed"  # no space, over quota
        message = f"The model cannot be written: {error.strerror or error}."
        tell({"error": kind, "message": message})
        return EXIT_REFUSED
    tell({"stage": "done"})
    return 0


def _with_bitsandbytes(job: dict[str, Any], tell: Tell) -> None:
    from codehearth.workers.transformers.program import (
        forbid_fetching_and_compiling,
        parse_arguments,
    )
    from codehearth.workers.transformers.serving import CannotLoad

    forbid_fetching_and_compiling()
    tell({"stage": "starting", "share": 0.0})
    import transformers

    from codehearth.workers.transformers.loading import load

    asked = {"model": job["model"], "threads": job["num_threads"], "device": "cpu",
             "dtype": "bf16", "quantise": job["precision"]}  # fmt: skip
    argv = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    transformers.utils.logging.set_tqdm_hook(lambda _factory, words, _: _Told(words, tell))
    try:
        loaded = load(parse_arguments(argv), say=lambda _: None, for_disk=True)
    except CannotLoad as error:
        raise Refused("BadWeights", f"The checkpoint cannot be loaded: {error}.") from error
    transformers.utils.logging.set_tqdm_hook(None)
    tell({"stage": "writing", "share": 1.0})
    loaded.model.save_pretrained(job["target"], max_shard_size="4GB")


class _Told:
    """Takes the place of a progress bar around what is gone through."""

    def __init__(self, words: tuple[Any, ...], tell: Tell) -> None:
        self._items = list(words[0]) if words else []
        self._tell = tell

    def __iter__(self) -> Any:
        for number, item in enumerate(self._items):
            self._tell({"stage": "quantising", "share": number / len(self._items)})
            yield item

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def _with_gptqmodel(job: dict[str, Any], tell: Tell) -> None:
    from codehearth.workers.transformers.program import forbid_fetching_and_compiling

    forbid_fetching_and_compiling()
    # It writes a folder of logs into the one that it is started in.
    Path(job["scratch"]).mkdir()
    os.chdir(job["scratch"])
    # It waits for ever where it has more workers than there are cores.
    os.environ["GPTQMODEL_CPU_WORKERS"] = str(max(2, job["num_threads"]))
    tell({"stage": "starting", "share": 0.0})
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig

    torch.set_num_threads(job["num_threads"])
    config = QuantizeConfig(
        bits=4,
        group_size=_group_size(Path(job["model"])),
        sym=True,
        desc_act=False,
        offload_to_disk_path=job["scratch"],
        pack_impl="original",  # the others are compiled first, for minutes
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = GPTQModel.load(job["model"], config, device=device, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = said.replace(job["model"], "the model")[:300]
        raise Refused("BadWeights", f"The checkpoint cannot be loaded: {said}") from error
    windows = _windows(model.tokenizer, job)

    def layer_done(*, layer_idx: int, submodule_finalized: bool) -> None:
        if not submodule_finalized:
            share = (layer_idx + 1) / job["num_layers"]
            tell({"stage": f"layer {layer_idx + 1} of {job['num_layers']}", "share": share})

    model.layer_callback = layer_done
    is_kept = (Path(job["progress"]) / "CURRENT").exists()
    stage = "going on where it was stopped" if is_kept else f"layer 1 of {job['num_layers']}"
    tell({"stage": stage, "share": 0.0})
    _quantise(model, windows, Path(job["progress"]))
    tell({"stage": "writing", "share": 1.0})
    model.save(job["target"], max_shard_size="4GB")


def _quantise(model: Any, windows: list[dict[str, list[int]]], progress: Path) -> None:
    """Keeps its state after every layer in `progress`, where GPTQModel can, and goes on there."""
    from gptqmodel.looper.checkpoint_store import CheckpointConfig, CheckpointError
    from gptqmodel.looper.gptq_checkpoint import validate_checkpoint_support

    try:
        validate_checkpoint_support(model)
    except (NotImplementedError, ValueError):
        model.quantize(windows, batch_size=1)
        return
    kept = CheckpointConfig(path=progress)
    try:
        model.quantize(windows, batch_size=1, checkpoint=kept)
    except CheckpointError as error:
        shutil.rmtree(progress, ignore_errors=True)
        raise Refused(
            "EngineFailed",
            f"What an earlier run has kept does not fit ({str(error)[:200]}), and was deleted.",
            "the same command begins anew",
        ) from error


def _end_when_told() -> None:
    """A layer may take minutes, and GPTQModel would end behind it: what is kept is whole anyway."""
    told = {signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)

    def wait() -> None:
        signal.sigwait(told)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _group_size(folder: Path) -> int:
    """The largest that divides the rows of every matrix; raises Refused where none does."""
    config = json.loads((folder / "config.json").read_bytes())
    config = {**config, **(config.get("text_config") or {})}
    names = ("hidden_size", "intermediate_size", "moe_intermediate_size", "n_embd", "n_inner")
    rows = [int(config[name]) for name in names if config.get(name)]
    heads, size = config.get("num_attention_heads"), config.get("head_dim")
    if heads and size:
        rows.append(int(heads) * int(size))
    for group in _GROUP_SIZES:
        if all(row % group == 0 for row in rows):
            return group
    raise Refused(
        "Unsupported", f"GPTQ takes rows that 32 divides, and this model's have {min(rows)}."
    )


def _windows(tokenizer: Any, job: dict[str, Any]) -> list[dict[str, list[int]]]:
    """As many whole windows as the text has, spread over all of it where there are more."""
    size = job["context_tokens"]
    tokens = tokenizer(job["text"])["input_ids"]
    count = len(tokens) // size
    if count < _MIN_WINDOWS:
        raise Refused(
            "InvalidRequest",
            f"The text has {len(tokens)} tokens; at least {_MIN_WINDOWS * size} are needed to "
            "calibrate.",
            "take a longer text",
        )
    wanted = min(count, job["max_windows"])
    starts = [index * count // wanted * size for index in range(wanted)]
    ones = [1] * size
    return [{"input_ids": tokens[at : at + size], "attention_mask": ones} for at in starts]


def _restore_config(source: Path, target: Path) -> None:
    """The source's configuration with what says how it is packed: the libraries write other
    padding tokens and newer spellings, which older programs do not read."""
    saved = json.loads((target / "config.json").read_bytes())
    own = json.loads((source / "config.json").read_bytes())
    dtype = saved.get("dtype") or saved.get("torch_dtype") or "bfloat16"
    own.pop("dtype", None)
    whole = {
        **own,
        "torch_dtype": dtype,
        "quantization_config": saved["quantization_config"],
    }
    (target / "config.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
