"""What a training takes against what was predicted, and its speed, at random weights.

    python -m benchmarks.tune_memory --python TRAINER [--shape qwen2-7b] [--device cuda]
                                     [--quantise int4] [--no-checkpointing] [--steps 2]

Random weights of a shape are written, and the trainer (`TRAINER` is the Python of the environment
`tuning`) trains with the preset of their size on rows that fill `max_tokens` each, as the
prediction assumes, a batch a step: more of them need no more memory. The second step has the
optimizer's moments beside everything else. It is stopped when the adapter is trained. Peak: on a
CPU of the process, on a GPU what PyTorch reserved there, to which the driver's own context comes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codehearth.lab.gguf_checkpoint import write_checkpoint
from codehearth.lab.tuning import memory, trainer
from codehearth.lab.tuning.preparing import dtype_for
from codehearth.lab.tuning.recipe import Hyperparameters, choose
from codehearth.models.weights import read_weights

ROOT = Path(__file__).parent.parent
STARTER = ROOT / "src" / "codehearth" / "data" / "starter.gguf"

SHAPES = {
    # Small layers under a vocabulary as large as Qwen2's: what the loss makes of it.
    "small": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6,
              "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 151_936},
    "qwen2-0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                   "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936},
    "qwen2-7b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
                 "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064},
}  # fmt: skip

_MAKE = """
import json, sys, torch, transformers
shape, device, folder = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_default_dtype(torch.bfloat16)
with torch.device(device):
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape))
model.save_pretrained(folder)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--shape", choices=("starter", *SHAPES), default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quantise", choices=("int8", "int4"))
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, starter = Path(folder) / "base", Path(folder) / "starter"
        starter.mkdir()
        write_checkpoint(STARTER, starter)
        config = json.loads((starter / "config.json").read_text())
        own = {key: config[key] for key in SHAPES["small"]}
        shape = json.dumps(SHAPES.get(asked.shape, own))
        subprocess.run([asked.python, "-c", _MAKE, shape, asked.device, base], check=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copyfile(starter / name, base / name)
        weights = read_weights(base)
        numbers = choose(
            weights.num_parameters, 4096, 4 * asked.steps,
            checkpointing=asked.checkpointing, epochs=1.0, accumulation=1,
        ).hyperparameters  # fmt: skip
        dtype = dtype_for(weights, asked.device)
        predicted = memory.predict(
            weights, numbers, precision=asked.quantise or dtype, device=asked.device
        )
        job = _job(Path(folder), base, numbers, asked, dtype, weights.num_parameters)
        print(f"{platform.machine()}, {asked.device}, {asked.shape}: "
              f"{weights.num_parameters / 1e9:.2f} billion parameters, {dtype}, "
              f"quantised: {asked.quantise}, checkpointing: {numbers.checkpointing}")  # fmt: skip
        _tell(predicted, _trained(asked.python, job))


def _job(
    folder: Path, base: Path, numbers: Hyperparameters, asked: Any, dtype: str, size: int
) -> Path:
    """The trainer's document, as `lab.tuning.specification` writes it."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py"))[:80])
    rows = folder / "training.jsonl"
    pieces = (text[4000 * n : 4000 * (n + 1)] for n in range(numbers.batch * asked.steps))
    lines = (json.dumps({"prompt": one[:200], "completion": one[200:]}) for one in pieces)
    rows.write_text("".join(f"{line}\n" for line in lines))
    made = folder / "training"
    made.mkdir()
    job = {
        "base": str(base), "folder": str(made), "training": str(rows), "held_out": None,
        "hyperparameters": numbers.as_document() | {"save_steps": 50}, "seed": 0,
        "device": asked.device, "dtype": dtype, "stored_dtype": "bf16",
        "quantise": asked.quantise, "threads": asked.threads, "long_rows": "cut",
        "num_parameters": size, "allows_code": False, "chat_template": None, "probes": [],
        "questions": [], "rehearsal": [],
    }  # fmt: skip
    path = folder / "trainer.json"
    path.write_text(json.dumps(job))
    return path


def _trained(python: Path, job: Path) -> Iterator[dict[str, Any]]:
    """What the trainer says until the adapter is trained."""
    argv = trainer.command(python, job, num_gpus=1)
    child = subprocess.Popen(
        argv, env=trainer.environment(os.environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            told = json.loads(line)
            yield told
            if "trained" in told:
                return
    finally:
        child.kill()
        child.wait()


def _tell(predicted: memory.TrainingMemory, said: Iterator[dict[str, Any]]) -> None:
    for told in said:
        if "error" in told:
            raise SystemExit(told["error"]["message"])
        if "step" in told:
            step = told["step"]
            print(f"step {step['step']}: loss {step['loss']:.3f}, {step['tokens_per_s']} tokens/s")
        if "trained" in told:
            parts = ", ".join(f"{name} {size >> 20}" for name, size in predicted.parts)
            print(f"predicted {predicted.total_bytes >> 20} MiB ({parts}); "
                  f"peak {told['trained']['peak_bytes'] >> 20} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
