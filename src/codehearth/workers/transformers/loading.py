"""From a folder to a model in memory: device, number format, quantisation, tokenizer.

Only safetensors and GGUF are read, nothing is fetched, and a checkpoint's own code runs only where
that was allowed. Weights that are not all there are an error: transformers would make up the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib.metadata
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from .arranging import arranged
from .attention import without_plans
from .placing import Gpu, dtype_on, place_for
from .serving import CannotLoad

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_QUANTISERS = ("bitsandbytes", "torchao", "gptqmodel")
_MAX_CAUSE_CHARS = 300


class Adapters:
    """PEFT's adapters beside one model, of which one at most is in use."""

    def __init__(self, model: Any, folders: Sequence[str]) -> None:
        """Raises CannotLoad."""
        self.adapted = _adapted(model, folders[0], name="0")
        for place, folder in enumerate(folders[1:], 1):
            with _telling_of(folder):
                self.adapted.load_adapter(folder, adapter_name=str(place))
        self._used: int | None = 0

    def use(self, adapter: int | None) -> None:
        if adapter == self._used:
            return
        if adapter is None:
            self.adapted.base_model.disable_adapter_layers()
        else:
            self.adapted.base_model.enable_adapter_layers()
            self.adapted.set_adapter(str(adapter))
        self._used = adapter


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer. `end_ids` end an answer; `takes` names what forward knows.

    `adapters` switches between several of them; one alone is in the weights.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    end_ids: frozenset[int]
    vocabulary_size: int
    takes: frozenset[str]
    num_adapters: int = 0
    adapters: Adapters | None = None

    def use(self, adapter: int | None) -> None:
        """Compute as this adapter from now on; None is the model without any."""
        if self.adapters is not None:
            self.adapters.use(adapter)


def facts() -> dict[str, Any]:
    """What this environment has, for `hearth engines`."""
    return {
        "version": transformers.__version__,
        "torch": torch.__version__,
        "devices": _devices(),
        "quantisers": [name for name in _QUANTISERS if _has(name)],
    }


def load(
    asked: argparse.Namespace, *, say: Callable[[str], None], for_disk: bool = False
) -> Loaded:
    """The model that was asked for, ready to compute, or to be saved as it is (`for_disk`).

    Raises CannotLoad.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # It warns at every multiplication, and of a faster library that is not there.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    torch.set_num_threads(asked.threads)
    without_plans()
    path = Path(asked.model)
    gpus = _gpus()
    found = place_for(asked.device, gpus, has_mps=torch.backends.mps.is_available())
    if found is None:
        raise CannotLoad("this PyTorch sees no GPU")
    place, options = found.name, found.options
    name, why = dtype_on(found, asked.dtype, gpus)
    if why:
        say(why)
    dtype = _DTYPES[name]
    if path.is_file():
        if path.suffix == ".gguf":
            options["gguf_file"] = path.name
        path = path.parent
    path = arranged(path)
    options |= {"trust_remote_code": asked.allow_code, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, **{name: options[name] for name in options if name != "device_map"}
        )
        if asked.chat_template:
            tokenizer.chat_template = Path(asked.chat_template).read_text(encoding="utf-8")
        say(f"reading the weights as {str(dtype).removeprefix('torch.')} on {place}")
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **(
                _quantisation(asked.quantise, dtype, place, for_disk=for_disk)
                or _unpacking(path, place)
            ),
            **options,
        )
    except MemoryError:
        raise
    except Exception as error:
        # The cause is anything between a missing package and a damaged file, and the process
        # ends with it: there is nobody here who could tell them apart.
        raise CannotLoad(_cause(error, asked.model)) from error
    _refuse_incomplete(info, model)
    adapters = Adapters(model, asked.adapter) if len(asked.adapter) > 1 else None
    if len(asked.adapter) == 1:
        model = _merged(model, asked.adapter[0])
    model.eval()
    takes = frozenset(inspect.signature(model.forward).parameters)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=model.get_input_embeddings().weight.device,
        end_ids=_end_ids(model, tokenizer),
        vocabulary_size=int(model.get_input_embeddings().weight.shape[0]),
        takes=takes,
        num_adapters=len(asked.adapter),
        adapters=adapters,
    )


def _merged(model: Any, folder: str) -> Any:
    """The model with an adapter in its weights; quantised ones keep it beside them."""
    adapted = _adapted(model, folder, name="default")
    is_quantised = getattr(model, "quantization_method", None) is not None
    return adapted.base_model.model if is_quantised else adapted.merge_and_unload()


def _adapted(model: Any, folder: str, *, name: str) -> Any:
    import peft

    with _telling_of(folder):
        return peft.PeftModel.from_pretrained(model, folder, adapter_name=name)


@contextlib.contextmanager
def _telling_of(folder: str) -> Iterator[None]:
    """Raises CannotLoad for whatever is wrong with an adapter: the process ends with it."""
    try:
        yield
    except Exception as error:
        raise CannotLoad(f"the adapter cannot be applied: {_cause(error, folder)}") from error


def _gpus() -> list[Gpu]:
    if not torch.cuda.is_available():
        return []
    return [
        Gpu(torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number))
        for number in range(torch.cuda.device_count())
    ]


def _quantisation(
    bits: str | None, dtype: torch.dtype, place: str, *, for_disk: bool
) -> dict[str, Any]:
    """What is said of quantising at load. Nothing where nothing is asked: even a None would hide
    how a packed checkpoint says that it is packed.

    On a CPU torchao makes int8, which then takes a ninth of bitsandbytes' time (a row of 896
    through 4864: 0.97 ms against 8.7, and 0.35 in bf16; one thread, AVX-512). What is to be kept is
    made by bitsandbytes, which GPUs read too.
    """
    if bits is None:
        return {}
    if bits == "int8" and place == "cpu" and not for_disk and _has("torchao"):
        from torchao.quantization import Int8WeightOnlyConfig

        return {"quantization_config": transformers.TorchAoConfig(Int8WeightOnlyConfig())}
    if not _has("bitsandbytes"):
        raise CannotLoad(f"{bits} needs the package bitsandbytes, which is not installed")
    if bits == "int8":
        return {"quantization_config": transformers.BitsAndBytesConfig(load_in_8bit=True)}
    nf4 = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": nf4}


def _unpacking(path: Path, place: str) -> dict[str, Any]:
    """How weights packed by GPTQ are multiplied with on a CPU: by PyTorch alone. What GPTQModel
    would choose there it compiles first, for minutes and with a compiler that may be missing."""
    config = path / "config.json"
    says = json.loads(config.read_bytes()) if config.is_file() else {}
    packed = says.get("quantization_config") or {}
    if place != "cpu" or packed.get("quant_method") != "gptq":
        return {}
    return {
        "quantization_config": transformers.GPTQConfig(bits=packed["bits"], backend="gptq_torch")
    }


def _refuse_incomplete(info: Any, model: Any) -> None:
    read = info if isinstance(info, Mapping) else vars(info)
    missing = sorted(read.get("missing_keys") or ())
    if missing:
        raise CannotLoad(
            f"the weights are not those of a {type(model).__name__}: {len(missing)} tensors are "
            f"missing, among them {missing[0]}"
        )
    if read.get("mismatched_keys"):
        raise CannotLoad("the weights have other sizes than config.json says")


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """What ends an answer: as the checkpoint says, and never a list of ours."""
    found: set[int] = set()
    for said in (
        model.generation_config.eos_token_id,
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found.update(said if isinstance(said, list) else [] if said is None else [said])
    return frozenset(found)


def give_back_memory() -> None:
    """Let glibc return what loading left free: 0.9 of 1.5 GiB with a 0.5B model in int8."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _devices() -> list[str]:
    devices = ["cpu", *(f"cuda: {gpu.name}" for gpu in _gpus())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _has(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cause(error: Exception, model: str) -> str:
    """The first line that says something, without where the model lies."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else ""
    folder = str(Path(model).parent)
    plain = said.replace(model, "the model").replace(f"{folder}/", "")
    return f"{type(error).__name__}: {plain}"[:_MAX_CAUSE_CHARS]
