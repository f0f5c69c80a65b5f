"""An adapter is trained: TRL's trainer on tokens that `rows` has made.

What TRL would choose otherwise, and why we do not: it renders and masks examples itself, and a
token may then span the beginning of an answer; it would cut rows at 1024 tokens, compute in bf16 on
any CPU and check-point gradients, which is slow there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers.trainer_callback import TrainerCallback
from trl import SFTConfig, SFTTrainer

from .loading import DTYPES, base_of, end_ids_of, tokenizer_of
from .parent import Refused, Stop, Voice
from .rehearsing import rehearsed
from .rows import Counted, read_rows, tokens_of

_STATE = "trainer_state.json"  # written last: a checkpoint without it is not whole
_CHECKPOINTS_KEPT = 2
_LEAST_GAIN = 0.005  # nats: less than that on held-out rows is no better loss


def train(job: dict[str, Any], voice: Voice, stop: Stop) -> bool:
    """Trains to the end and writes `adapter/`; False where it was asked to stop before."""
    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    tokenizer = tokenizer_of(job)
    training, held_out = _sets(job, tokenizer, voice)
    voice(stage="loading")
    chosen = job["hyperparameters"]
    model = base_of(job, dtype=DTYPES[job["dtype"]], quantise=job["quantise"])
    if job["rehearsal"]:
        voice(stage="rehearsing")
        training += _rehearsal(job, model, tokenizer, voice)
    # Set here and not when loading, so that the adapter's first numbers are the seed's alone.
    transformers.set_seed(job["seed"])
    model = _with_adapter(model, chosen, job)
    resumed = _last_checkpoint(folder / "checkpoints")
    told = _Told(voice, stop, num_tokens=sum(len(row["input_ids"]) for row in training))
    callbacks: list[TrainerCallback] = [told]
    if held_out and chosen["patience"]:
        callbacks.append(transformers.EarlyStoppingCallback(chosen["patience"], _LEAST_GAIN))
    trainer = SFTTrainer(
        model=model,
        args=_arguments(job, has_evaluation=bool(held_out)),
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    voice(
        plan={
            "num_steps": _num_steps(trainer, chosen),
            "num_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "resumed": None if resumed is None else int(resumed.name.rpartition("-")[2]),
        }
    )
    voice(stage="training")
    if held_out and resumed is None:
        trainer.evaluate()
    trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    if told.is_stopped:
        return False
    voice(trained={"peak_bytes": peak_bytes()})
    if is_first_process():
        _keep(trainer, tokenizer, folder)
    return True


def peak_bytes() -> int:
    """The most memory that this process had; on a GPU, of the GPU's."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_first_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def _sets(job: dict[str, Any], tokenizer: Any, voice: Voice) -> tuple[list[Any], list[Any]]:
    """The tokens of what is learnt and of what is held out; raises Refused where none is left."""
    voice(stage="reading")
    end_ids = end_ids_of(job, tokenizer)
    limits = {"max_tokens": job["hyperparameters"]["max_tokens"], "long_rows": job["long_rows"]}
    training, counted = read_rows(job["training"], tokenizer, end_ids, **limits)
    held_out: list[Any] = []
    held: Counted | None = None
    if job["held_out"]:
        held_out, held = read_rows(job["held_out"], tokenizer, end_ids, **limits)
    voice(
        rows={
            **counted.__dict__,
            "num_held_out": len(held_out),
            "num_held_out_too_long": held.num_too_long if held else 0,
        }
    )
    if not training:
        raise Refused(
            "InvalidRequest",
            f"All {counted.num_rows} rows are longer than {limits['max_tokens']} tokens, "
            f"the longest has {counted.longest}.",
        )
    return training, held_out


def _rehearsal(job: dict[str, Any], model: Any, tokenizer: Any, voice: Voice) -> list[Any]:
    """The base's own answers as rows; those that are too long are left out."""
    end_ids = end_ids_of(job, tokenizer)
    found = []
    for row in rehearsed(job, model, tokenizer, sorted(end_ids)):
        ids, labels = tokens_of(row, tokenizer, end_ids)
        if len(ids) <= job["hyperparameters"]["max_tokens"]:
            found.append({"input_ids": ids, "labels": labels})
    voice(rehearsal={"num_rows": len(found)})
    return found


def _with_adapter(model: Any, chosen: dict[str, Any], job: dict[str, Any]) -> Any:
    if job["quantise"] is not None:
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=chosen["checkpointing"]
        )
    config = LoraConfig(
        r=chosen["rank"],
        lora_alpha=chosen["alpha"],
        lora_dropout=chosen["dropout"],
        target_modules=_targets(model, chosen["targets"]),
        use_rslora=chosen["rslora"],
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(model, config)
    except ValueError as error:
        raise Refused("InvalidRequest", f"The adapter cannot be made: {error}") from error
    if chosen["checkpointing"]:
        model.enable_input_require_grads()
    return model


_SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def _targets(model: Any, asked: list[str]) -> Any:
    """The modules that were named, the usual seven, or every linear one of another family."""
    if asked:
        return asked
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    return list(_SEVEN) if names.issuperset(_SEVEN) else "all-linear"


def _arguments(job: dict[str, Any], *, has_evaluation: bool) -> SFTConfig:
    chosen = job["hyperparameters"]
    on_gpu = job["device"] != "cpu"
    return SFTConfig(
        output_dir=str(Path(job["folder"]) / "checkpoints"),
        per_device_train_batch_size=chosen["batch"],
        per_device_eval_batch_size=chosen["batch"],
        gradient_accumulation_steps=chosen["accumulation"],
        num_train_epochs=chosen["epochs"],
        learning_rate=chosen["learning_rate"],
        lr_scheduler_type=chosen["schedule"],
        warmup_steps=chosen["warmup_steps"],
        weight_decay=chosen["weight_decay"],
        logging_steps=1 if chosen["save_steps"] < 100 else 5,
        save_strategy="steps",
        save_steps=chosen["save_steps"],
        save_total_limit=_CHECKPOINTS_KEPT,
        eval_strategy="steps" if has_evaluation else "no",
        eval_steps=chosen["save_steps"] if has_evaluation else None,
        load_best_model_at_end=has_evaluation,
        metric_for_best_model="eval_loss" if has_evaluation else None,
        greater_is_better=False if has_evaluation else None,
        restore_callback_states_from_checkpoint=True,
        gradient_checkpointing=chosen["checkpointing"],
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=on_gpu and job["dtype"] == "bf16",
        fp16=on_gpu and job["dtype"] == "fp16",
        use_cpu=job["device"] == "cpu",
        max_length=chosen["max_tokens"] if chosen["packing"] else None,
        packing=chosen["packing"],
        eval_packing=False,
        seed=job["seed"],
        data_seed=job["seed"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
        optim="adamw_torch",
    )


def _num_steps(trainer: Any, chosen: dict[str, Any]) -> int:
    """How many times the adapter's weights will be changed."""
    batches = len(trainer.get_train_dataloader())
    per_epoch = max(1, -(-batches // chosen["accumulation"]))
    return int(-(-chosen["epochs"] * per_epoch // 1))


class _Told(TrainerCallback):  # type: ignore[misc]
    """Tells what the trainer logs, and ends it in good order when it is asked to."""

    def __init__(self, voice: Voice, stop: Stop, *, num_tokens: int) -> None:
        self._voice = voice
        self._stop = stop
        self._num_tokens = num_tokens
        self._began_at = 0.0
        self._began_step = 0
        self.is_stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began_at, self._began_step = time.monotonic(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._stop.is_asked and state.global_step < state.max_steps:
            self.is_stopped = True
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "eval_loss" in logs:
            self._voice(evaluated={"step": state.global_step, "loss": logs["eval_loss"]})
        if "loss" not in logs or not state.max_steps:
            return
        done = state.global_step - self._began_step
        seconds = time.monotonic() - self._began_at
        tokens = self._num_tokens * args.num_train_epochs * done / state.max_steps
        self._voice(
            step={
                "step": state.global_step,
                "num_steps": state.max_steps,
                "epoch": round(state.epoch or 0.0, 4),
                "loss": logs["loss"],
                "learning_rate": logs.get("learning_rate"),
                "tokens_per_s": round(tokens / seconds, 1) if seconds else 0.0,
                "left_s": round(seconds / max(1, done) * (state.max_steps - state.global_step)),
            }
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._voice(saved={"step": state.global_step})


def _last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end; others are removed."""
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        try:
            step = int(json.loads((path / _STATE).read_text(encoding="utf-8"))["global_step"])
            found.append((step, path))
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(path, ignore_errors=True)
    return max(found)[1] if found else None


def _keep(trainer: Any, tokenizer: Any, folder: Path) -> None:
    """The adapter as PEFT writes it, and the curve's facts, under their names at once."""
    unfinished = folder / "adapter.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(unfinished)
    best = {"best_step": trainer.state.best_global_step, "best_loss": trainer.state.best_metric}
    end = {"num_steps": trainer.state.global_step, **best}
    (unfinished / "training.json").write_text(json.dumps(end), encoding="utf-8")
    unfinished.replace(folder / "adapter")
