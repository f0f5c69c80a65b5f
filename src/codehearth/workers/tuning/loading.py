"""The base model and its tokenizer for training, for merging and for comparing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import transformers

from ..transformers.attention import without_plans
from .parent import Refused

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# Below this, comparisons are made in 32-bit floats: it costs little and hides nothing.
EXACT_PARAMETERS = 1_000_000_000


def tokenizer_of(job: dict[str, Any]) -> Any:
    """The tokenizer with a padding token, which it may lack."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["base"], **_options(job))
    if tokenizer.eos_token_id is None:
        ends = sorted(_said_ends(job))
        if not ends:
            raise Refused("BadWeights", "The checkpoint names no token that ends an answer.")
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    return tokenizer


def end_ids_of(job: dict[str, Any], tokenizer: Any) -> frozenset[int]:
    """What ends an answer, as the checkpoint says."""
    return frozenset({tokenizer.eos_token_id} | _said_ends(job))


def _said_ends(job: dict[str, Any]) -> set[int]:
    """The ids in the checkpoint's generation configuration."""
    try:
        config = transformers.GenerationConfig.from_pretrained(job["base"], local_files_only=True)
    except OSError:
        return set()
    said = config.eos_token_id
    return set(said if isinstance(said, list) else [] if said is None else [said])


def base_of(job: dict[str, Any], *, dtype: torch.dtype, quantise: str | None = None) -> Any:
    """The base model on its device; raises Refused where it cannot be loaded."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    without_plans()
    device = job["device"]
    options: dict[str, Any] = _options(job)
    if quantise is not None:
        options["quantization_config"] = _quantised(quantise, dtype)
    if device == "cuda":
        options["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            job["base"], dtype=dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        cause = said[0].replace(str(Path(job["base"])), "the model")[:300]
        raise Refused("BadWeights", f"The model cannot be loaded: {cause}") from error
    if quantise is not None and device == "cpu":
        _keep_trainable(model)
    return model.to("mps") if device == "mps" else model


def _keep_trainable(model: Any) -> None:
    """On a CPU with AVX512-BF16, bitsandbytes packs weights of four bits anew when they are only
    read, and no training can go on from those: held-out rows are read between two steps."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def with_usable_dtype(job: dict[str, Any]) -> dict[str, Any]:
    """The job in a type that the GPU computes in: those before Ampere have no bf16."""
    lacks_bf16 = job["device"] == "cuda" and not torch.cuda.is_bf16_supported(False)
    return {**job, "dtype": "fp16"} if job["dtype"] == "bf16" and lacks_bf16 else job


def exact_dtype(model_parameters: int, job: dict[str, Any]) -> torch.dtype:
    """What forms of a model are compared in."""
    is_small = model_parameters < EXACT_PARAMETERS
    return torch.float32 if is_small else DTYPES[job["dtype"]]


def _quantised(bits: str, dtype: torch.dtype) -> Any:
    if bits == "int8":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _options(job: dict[str, Any]) -> dict[str, Any]:
    return {"trust_remote_code": job["allows_code"], "local_files_only": True}
