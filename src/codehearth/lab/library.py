"""llama.cpp's C functions out of the shared library inside the `xllamacpp` wheel, by ctypes.

Only children of the lab load it (`quantizer.py`, `scorer.py`): a wrong argument would take the
process along. The structs are not in any header that a wheel carries, so their layout is checked
against the library's own defaults before anything is called with them; a release that has changed
them is refused with a clear message instead of computing nonsense.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_int64, c_size_t, c_uint32
from ctypes import c_void_p as pointer
from pathlib import Path
from typing import Any

TYPE_NUMBERS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10,
    "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18,
    "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23, "IQ1_M": 29, "BF16": 30,
    "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39, "NVFP4": 40, "Q1_0": 41,
}  # fmt: skip

FLASH_ATTENTION_AUTO = -1


class LibraryChanged(Exception):
    """The wheel's library is missing, lacks a function or lays a struct out otherwise."""


class TypeTraits(ctypes.Structure):
    _fields_ = (
        ("type_name", c_char_p),
        ("block_size", c_int64),
        ("block_size_interleave", c_int64),
        ("type_size", c_size_t),
        ("is_quantized", c_bool),
        ("to_float", pointer),
        ("from_float", pointer),
    )


class ModelParams(ctypes.Structure):
    _fields_ = (
        ("devices", pointer),
        ("tensor_buft_overrides", pointer),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", pointer),
        ("progress_callback", pointer),
        ("progress_callback_user_data", pointer),
        ("kv_overrides", pointer),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class ContextParams(ctypes.Structure):
    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", pointer),
        ("cb_eval_user_data", pointer),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", pointer),
        ("abort_callback_data", pointer),
        ("unknown", pointer),  # eight bytes of 0 in this release; left as they are
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", pointer),
        ("n_samplers", c_size_t),
        ("ctx_other", pointer),
    )


class Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


# What the library of the measured release answers; every field that is not 0 or false.
_MODEL_DEFAULTS: Mapping[str, Any] = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "use_extra_bufts": True,
}
_CONTEXT_DEFAULTS: Mapping[str, Any] = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": FLASH_ATTENTION_AUTO,
    "yarn_ext_factor": -1.0,
    "yarn_attn_factor": -1.0,
    "yarn_beta_fast": -1.0,
    "yarn_beta_slow": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
}


def load() -> ctypes.CDLL:
    """The library, its quantising functions declared; raises LibraryChanged."""
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        raise LibraryChanged("the package xllamacpp is not installed")
    files = sorted(Path(found.origin).parent.glob("xllamacpp*.so"))
    if not files:
        raise LibraryChanged("the package xllamacpp holds no shared library")
    try:
        library = ctypes.CDLL(str(files[0]))
        _declare(library)
    except (OSError, AttributeError) as error:
        raise LibraryChanged(f"the library of xllamacpp is not as expected: {error}") from error
    _check_types(library)
    return library


def model_params(library: ctypes.CDLL) -> ModelParams:
    """llama.cpp's defaults for loading a model, their layout checked; raises LibraryChanged."""
    _check_layout(library, "llama_model_default_params", ModelParams, _MODEL_DEFAULTS)
    params: ModelParams = library.llama_model_default_params()
    return params


def context_params(library: ctypes.CDLL) -> ContextParams:
    """llama.cpp's defaults for a context, their layout checked; raises LibraryChanged."""
    _check_layout(library, "llama_context_default_params", ContextParams, _CONTEXT_DEFAULTS)
    params: ContextParams = library.llama_context_default_params()
    return params


def _declare(library: ctypes.CDLL) -> None:
    signatures: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
        "ggml_quantize_chunk": (
            c_size_t,
            (c_int32, pointer, pointer, c_int64, c_int64, c_int64, pointer),
        ),
        "ggml_get_type_traits": (POINTER(TypeTraits), (c_int32,)),
        "ggml_cpu_init": (None, ()),
        "llama_backend_init": (None, ()),
        "llama_log_set": (None, (pointer, pointer)),
        "llama_model_default_params": (ModelParams, ()),
        "llama_context_default_params": (ContextParams, ()),
        "llama_model_load_from_file": (pointer, (c_char_p, ModelParams)),
        "llama_model_get_vocab": (pointer, (pointer,)),
        "llama_model_free": (None, (pointer,)),
        "llama_init_from_model": (pointer, (pointer, ContextParams)),
        "llama_free": (None, (pointer,)),
        "llama_get_memory": (pointer, (pointer,)),
        "llama_memory_clear": (None, (pointer, c_bool)),
        "llama_vocab_n_tokens": (c_int32, (pointer,)),
        "llama_vocab_bos": (c_int32, (pointer,)),
        "llama_vocab_get_add_bos": (c_bool, (pointer,)),
        "llama_vocab_is_eog": (c_bool, (pointer, c_int32)),
        "llama_tokenize": (
            c_int32,
            (pointer, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
        ),
        "llama_decode": (c_int32, (pointer, Batch)),
        "llama_get_logits_ith": (POINTER(c_float), (pointer, c_int32)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


def _check_types(library: ctypes.CDLL) -> None:
    """The table of types must say what GGUF's specification says."""
    from codehearth.lab.mixture import BLOCK_BYTES, BLOCK_SIZES

    for name in ("F32", "Q8_0", "Q4_K", "Q6_K", "BF16"):
        traits = library.ggml_get_type_traits(TYPE_NUMBERS[name]).contents
        known = (BLOCK_SIZES[name], BLOCK_BYTES[name])
        if (traits.block_size, traits.type_size) != known:
            raise LibraryChanged("the library of xllamacpp lays out its table of types otherwise")


def _check_layout(
    library: ctypes.CDLL, function: str, struct: type[ctypes.Structure], known: Mapping[str, Any]
) -> None:
    """Compares size, gaps and values of a struct with what the library itself fills in.

    A struct that is returned is written to memory that the caller names, so two calls with
    differently filled memory show which bytes belong to the struct. That is how the calling
    conventions of x86-64 and arm64 on Linux and macOS have it; on arm64 the address goes another
    way, so only the values are compared there.
    """
    import platform

    changed = LibraryChanged(
        f"this release of xllamacpp lays out the result of {function} otherwise than the one that "
        "was measured (see pyproject.toml)"
    )
    defaults = ctypes.CFUNCTYPE(struct)(_address(library, function))()
    expected = struct(**known)
    for name, *_ in struct._fields_:
        if getattr(defaults, name) != getattr(expected, name):
            raise changed
    if platform.machine() in ("x86_64", "AMD64") and _touched(library, function) != _covered(
        struct
    ):
        raise changed


def _touched(library: ctypes.CDLL, function: str) -> frozenset[int]:
    """The bytes that a function writes to the struct that it returns."""
    raw = ctypes.CFUNCTYPE(pointer, pointer)(_address(library, function))
    written = []
    for filling in (0xAA, 0x55):
        memory = (ctypes.c_uint8 * 1024)(*[filling] * 1024)
        raw(ctypes.addressof(memory))
        written.append(bytes(memory))
    return frozenset(index for index in range(1024) if written[0][index] == written[1][index])


def _address(library: ctypes.CDLL, function: str) -> int:
    address = ctypes.cast(getattr(library, function), pointer).value
    assert address is not None
    return address


def _covered(struct: type[ctypes.Structure]) -> frozenset[int]:
    return frozenset(
        index
        for name, *_ in struct._fields_
        for index in range(
            getattr(struct, name).offset, getattr(struct, name).offset + getattr(struct, name).size
        )
    )
