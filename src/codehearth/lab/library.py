"""llama.cpp's C functions by ctypes, out of the shared library of the engine that serves.

That is the one inside the `xllamacpp` wheel, or the one that `hearth engines install
llamacpp-native` has built for this CPU. Only children of the lab load it (`quantizer.py`,
`scorer.py`): a wrong argument would take the process along. A wheel carries no header, so the
layout of each struct is checked against the library's own defaults before anything is called with
it; a release that has changed them is refused with a clear message instead of computing nonsense.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int32, c_int64, c_size_t
from ctypes import c_void_p as pointer
from pathlib import Path
from typing import Any

from codehearth.lab.structs import (
    CONTEXT_DEFAULTS,
    CONTEXT_LAYOUTS,
    MODEL_DEFAULTS,
    MODEL_LAYOUTS,
    Batch,
    TypeTraits,
)

TYPE_NUMBERS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10,
    "Q3_K": 11, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ2_XXS": 16, "IQ2_XS": 17, "IQ3_XXS": 18,
    "IQ1_S": 19, "IQ4_NL": 20, "IQ3_S": 21, "IQ2_S": 22, "IQ4_XS": 23, "IQ1_M": 29, "BF16": 30,
    "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39, "NVFP4": 40, "Q1_0": 41,
}  # fmt: skip


class LibraryChanged(Exception):
    """The library is missing, lacks a function or lays a struct out otherwise."""


def load(path: Path | None = None) -> ctypes.CDLL:
    """The library at `path`, None: the wheel's; its functions declared. Raises LibraryChanged."""
    path = path or _of_the_wheel()
    try:
        library = ctypes.CDLL(str(path))
        _declare(library)
    except (OSError, AttributeError) as error:
        raise LibraryChanged(f"the library {path.name} is not as expected: {error}") from error
    _check_types(library)
    return library


def _of_the_wheel() -> Path:
    found = importlib.util.find_spec("xllamacpp")
    if found is None or found.origin is None:
        raise LibraryChanged("the package xllamacpp is not installed")
    files = sorted(Path(found.origin).parent.glob("xllamacpp*.so"))
    if not files:
        raise LibraryChanged("the package xllamacpp holds no shared library")
    return files[0]


def model_params(library: ctypes.CDLL) -> Any:
    """llama.cpp's defaults for loading a model, in the layout that this library has.

    Declares the functions that take them. Raises LibraryChanged where no known layout fits.
    """
    function = "llama_model_default_params"
    struct = _layout_of(library, function, MODEL_LAYOUTS, MODEL_DEFAULTS)
    library.llama_model_load_from_file.restype = pointer
    library.llama_model_load_from_file.argtypes = (c_char_p, struct)
    return _returned(library, function, struct)


def context_params(library: ctypes.CDLL) -> Any:
    """llama.cpp's defaults for a context, likewise."""
    function = "llama_context_default_params"
    struct = _layout_of(library, function, CONTEXT_LAYOUTS, CONTEXT_DEFAULTS)
    library.llama_init_from_model.restype = pointer
    library.llama_init_from_model.argtypes = (pointer, struct)
    return _returned(library, function, struct)


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
        "llama_model_get_vocab": (pointer, (pointer,)),
        "llama_model_free": (None, (pointer,)),
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
            raise LibraryChanged(f"{_name(library)} lays out its table of types otherwise")


def _layout_of(
    library: ctypes.CDLL,
    function: str,
    layouts: Sequence[type[ctypes.Structure]],
    known: Mapping[str, Any],
) -> type[ctypes.Structure]:
    """The first layout that fits what the library itself fills in; raises LibraryChanged."""
    for struct in layouts:
        if _fits(library, function, struct, known):
            return struct
    raise LibraryChanged(
        f"{_name(library)} lays out the result of {function} otherwise than the releases that were "
        "measured"
    )


def _fits(
    library: ctypes.CDLL, function: str, struct: type[ctypes.Structure], known: Mapping[str, Any]
) -> bool:
    """Compares size, gaps and values of a struct with what the library returns.

    A struct that is returned is written to memory that the caller names, so two calls with
    differently filled memory show which bytes belong to the struct. That is how the calling
    conventions of x86-64 and arm64 on Linux and macOS have it; on arm64 the address goes another
    way, so only the values are compared there.
    """
    import platform

    touched = _touched(library, function) if platform.machine() in ("x86_64", "AMD64") else None
    if touched is not None and touched != _covered(struct):
        return False
    defaults, expected = _returned(library, function, struct), struct(**known)
    return all(getattr(defaults, name) == getattr(expected, name) for name, *_ in struct._fields_)


def _returned(library: ctypes.CDLL, function: str, struct: type[ctypes.Structure]) -> Any:
    return ctypes.CFUNCTYPE(struct)(_address(library, function))()


def _touched(library: ctypes.CDLL, function: str) -> frozenset[int]:
    """The bytes that a function writes to the struct that it returns."""
    raw = ctypes.CFUNCTYPE(pointer, pointer)(_address(library, function))
    written = []
    for filling in (0xAA, 0x55):
        memory = (ctypes.c_uint8 * 1024)(*[filling] * 1024)
        raw(ctypes.addressof(memory))
        written.append(bytes(memory))
    return frozenset(index for index in range(1024) if written[0][index] == written[1][index])


def _name(library: ctypes.CDLL) -> str:
    return f"the library {Path(library._name).name}"


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
