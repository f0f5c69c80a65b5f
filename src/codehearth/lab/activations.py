"""Watches what enters each matrix while llama.cpp computes: its callback for evaluated tensors.

Only the lab's children use it. `ggml_tensor` is in no header that a wheel carries, so its layout is
held against what the library's own functions say of the first tensor that is shown.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_int32, c_int64, c_size_t
from ctypes import c_void_p as pointer
from typing import Any

import numpy as np

from codehearth.lab.library import LibraryChanged

Array = np.ndarray[Any, np.dtype[Any]]

# As `llama-imatrix`: fewer inputs at a time are single tokens, not a text that is read.
_LEAST_TOKENS = 16
_OBJECT_BYTES = 32


class Tensor(ctypes.Structure):
    """`ne` are the sizes, innermost first, `nb` the steps in bytes."""


Tensor._fields_ = (
    ("type", c_int32),
    ("buffer", pointer),
    ("ne", c_int64 * 4),
    ("nb", c_size_t * 4),
    ("op", c_int32),
    ("op_params", c_int32 * 16),
    ("flags", c_int32),
    ("src", POINTER(Tensor) * 10),
    ("view_src", pointer),
    ("view_offs", c_size_t),
    ("data", pointer),
    ("name", c_char * 64),
    ("extra", pointer),
    ("padding", c_char * 8),
)


class Activations:
    """Sums of squares of each matrix's inputs, (M, N), and how many inputs there were, (M,).

    `callback` is for `ContextParams.cb_eval`; it must live as long as the context. What goes wrong
    inside is kept in `failure`, since no exception passes through llama.cpp.
    """

    def __init__(self, native: ctypes.CDLL) -> None:
        self.sums: dict[str, Array] = {}
        self.counts: dict[str, Array] = {}
        self.failure: Exception | None = None
        self._native = native
        self._is_checked = False
        self._multiply, self._multiply_chosen = _operations(native)
        self.callback = ctypes.CFUNCTYPE(ctypes.c_bool, POINTER(Tensor), ctypes.c_bool, pointer)(
            self._on_tensor
        )

    def _on_tensor(self, address: Any, is_asked: bool, _: object) -> bool:
        """Whether a tensor is wanted, and then, when it is computed, whether to go on."""
        try:
            tensor = address.contents
            if not self._is_checked:
                _check(self._native, address)
                self._is_checked = True
            if is_asked:
                return self._is_wanted(tensor)
            self._take(tensor)
        except Exception as error:  # noqa: BLE001 - raised again outside of llama.cpp
            self.failure = error
            return False
        return True

    def _is_wanted(self, tensor: Tensor) -> bool:
        if tensor.op == self._multiply_chosen:
            return True
        if tensor.op != self._multiply:
            return False
        matrix, inputs = tensor.src[0].contents, tensor.src[1].contents
        is_read = inputs.ne[1] >= _LEAST_TOKENS and inputs.type == 0
        return bool(is_read and matrix.name.startswith(b"blk."))

    def _take(self, tensor: Tensor) -> None:
        matrix, inputs = tensor.src[0].contents, tensor.src[1].contents
        name = matrix.name.decode()
        found = _floats(inputs)
        num_matrices = matrix.ne[2] * matrix.ne[3]
        if name not in self.sums:
            self.sums[name] = np.zeros((num_matrices, inputs.ne[0]))
            self.counts[name] = np.zeros(num_matrices)
        if tensor.op == self._multiply:
            self._add(name, found, matrix)
        else:
            self._add_chosen(name, found, tensor.src[2].contents)

    def _add(self, name: str, inputs: Array, matrix: Tensor) -> None:
        """`inputs` (K, J, T, N); of several matrices each has its own."""
        for outer in range(inputs.shape[0]):
            for inner in range(inputs.shape[1]):
                place = (outer % matrix.ne[3]) * matrix.ne[2] + inner % matrix.ne[2]
                self.sums[name][place] += _squares(inputs[outer, inner])
                self.counts[name][place] += inputs.shape[2]

    def _add_chosen(self, name: str, inputs: Array, chosen: Tensor) -> None:
        """`inputs` (1, T, E, N); `chosen` names the expert of each token's E choices."""
        ids = _whole(chosen)  # (T, E)
        for choice in range(ids.shape[1]):
            rows = inputs[0, :, choice % inputs.shape[2]]
            for expert in np.unique(ids[:, choice]):
                mine = rows[ids[:, choice] == expert]
                self.sums[name][expert] += _squares(mine)
                self.counts[name][expert] += len(mine)


class FirstBad:
    """Finds the first tensor that is computed and holds what is no finite number: `name`."""

    def __init__(self, native: ctypes.CDLL) -> None:
        self.name = ""
        self._native = native
        self._is_checked = False
        self.callback = ctypes.CFUNCTYPE(ctypes.c_bool, POINTER(Tensor), ctypes.c_bool, pointer)(
            self._on_tensor
        )

    def _on_tensor(self, address: Any, is_asked: bool, _: object) -> bool:
        try:
            if not self._is_checked:
                _check(self._native, address)
                self._is_checked = True
            tensor = address.contents
            if is_asked:
                return bool(tensor.type == 0 and tensor.data is not None)
            if not np.isfinite(_floats(tensor)).all():
                self.name = _said_name(tensor)
                return False
        except Exception:  # noqa: BLE001 - it only helps to say more; nothing passes through C
            return False
        return True


def _said_name(tensor: Tensor) -> str:
    """The matrix that it was multiplied by, else the result's own name."""
    name: bytes = tensor.name
    if tensor.src[0] and (first := tensor.src[0].contents.name).endswith(b".weight"):
        name = first
    elif tensor.src[1] and (second := tensor.src[1].contents.name).endswith(b".weight"):
        name = second
    return name.decode("utf-8", "replace")


def _squares(rows: Array) -> Array:
    """Sums over rows (T, N) in 64-bit floats."""
    summed: Array = np.square(rows).sum(axis=0, dtype=np.float64)
    return summed


def _floats(tensor: Tensor) -> Array:
    """A tensor of 32-bit floats in memory as (ne3, ne2, ne1, ne0), whatever its steps are."""
    return _viewed(tensor, np.dtype("<f4"))


def _whole(tensor: Tensor) -> Array:
    ids: Array = _viewed(tensor, np.dtype("<i4"))[0, 0]
    return ids


def _viewed(tensor: Tensor, dtype: np.dtype[Any]) -> Array:
    shape = tuple(reversed(tensor.ne))
    steps = tuple(reversed(tensor.nb))
    extent = sum((size - 1) * step for size, step in zip(shape, steps, strict=True))
    memory = (ctypes.c_uint8 * (extent + dtype.itemsize)).from_address(tensor.data)
    flat = np.frombuffer(memory, np.uint8)
    return np.lib.stride_tricks.as_strided(flat[: dtype.itemsize].view(dtype), shape, steps)


def _operations(native: ctypes.CDLL) -> tuple[int, int]:
    """The numbers of the two ways to multiply by a matrix."""
    native.ggml_op_name.restype = ctypes.c_char_p
    native.ggml_op_name.argtypes = (c_int32,)
    numbers = {native.ggml_op_name(number): number for number in range(60)}
    try:
        return numbers[b"MUL_MAT"], numbers[b"MUL_MAT_ID"]
    except KeyError as error:
        raise LibraryChanged(f"the library of xllamacpp has no operation {error}") from error


def _check(native: ctypes.CDLL, address: Any) -> None:
    """Size, name, data and bytes must be where the library itself finds them."""
    for function, result in (
        ("ggml_tensor_overhead", c_size_t),
        ("ggml_get_name", pointer),
        ("ggml_get_data", pointer),
        ("ggml_nelements", c_int64),
    ):
        getattr(native, function).restype = result
    where = ctypes.addressof(address.contents)
    count = 1
    for size in address.contents.ne:
        count *= size
    facts = (
        native.ggml_tensor_overhead() == _OBJECT_BYTES + ctypes.sizeof(Tensor),
        native.ggml_get_name(address) == where + Tensor.name.offset,
        native.ggml_get_data(address) == address.contents.data,
        native.ggml_nelements(address) == count,
    )
    if not all(facts):
        raise LibraryChanged("this release of xllamacpp lays out its tensors otherwise")
