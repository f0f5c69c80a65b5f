"""Precisions: their names, their bits per weight, and reading one from a file's name; pure.

One spelling everywhere: lower case, as llama.cpp's file types (`q4_k_m`, `f16`) for GGUF and as
tensor types (`bf16`, `fp16`, `int8`, `int4`) for checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# What is taken when nothing is said: the size that keeps nearly all of a model's quality.
DEFAULT_PRECISION = "q4_k_m"

# Bits per weight of a whole file, scales included, as llama.cpp's `quantize` prints them for
# 7B models; small models lie higher, since their embedding keeps more bits. For guesses before
# a download only: what lies on disk is measured.
BITS_PER_WEIGHT: dict[str, float] = {
    "iq1_s": 2.0,
    "iq1_m": 2.15,
    "iq2_xxs": 2.4,
    "iq2_xs": 2.6,
    "iq2_s": 2.7,
    "iq2_m": 2.9,
    "q2_k": 3.2,
    "q2_k_s": 3.0,
    "q2_k_l": 3.3,
    "q2_k_xl": 3.3,
    "iq3_xxs": 3.3,
    "iq3_xs": 3.5,
    "iq3_s": 3.7,
    "iq3_m": 3.8,
    "q3_k": 4.0,
    "q3_k_s": 3.6,
    "q3_k_m": 4.0,
    "q3_k_l": 4.3,
    "q3_k_xl": 4.4,
    "iq4_xs": 4.5,
    "iq4_nl": 4.7,
    "mxfp4": 4.4,
    "q4_0": 4.7,
    "q4_1": 5.1,
    "q4_k": 4.9,
    "q4_k_s": 4.7,
    "q4_k_m": 4.9,
    "q4_k_l": 5.1,
    "q4_k_xl": 5.1,
    "q5_0": 5.6,
    "q5_1": 6.0,
    "q5_k": 5.7,
    "q5_k_s": 5.6,
    "q5_k_m": 5.7,
    "q5_k_l": 5.9,
    "q5_k_xl": 5.9,
    "q6_k": 6.6,
    "q6_k_l": 6.7,
    "q6_k_xl": 7.2,
    "q8_0": 8.5,
    "q8_k_xl": 9.5,
    "int4": 4.5,
    "gptq4": 4.5,
    "int8": 8.5,
    "fp8": 8.2,
    "f16": 16.0,
    "fp16": 16.0,
    "bf16": 16.0,
    "f32": 32.0,
    "fp32": 32.0,
}

# Those that are made as checkpoints, for other engines; all others are GGUF files.
CHECKPOINT_PRECISIONS = ("int8", "int4", "gptq4")

# Names of one thing in two places: GGUF file names say `fp16` for `f16`, people say `4bit`.
_SPELLINGS = {
    "fp16": "f16",
    "float16": "f16",
    "half": "f16",
    "fp32": "f32",
    "float32": "f32",
    "bfloat16": "bf16",
    "4bit": "int4",
    "4bits": "int4",
    "8bit": "int8",
    "8bits": "int8",
}

_IN_FILE_NAME = re.compile(
    r"(?:^|[-._/ ])"
    r"(i?q[1-8]_(?:k(?:_(?:xl|[sml]))?|xxs|xs|nl|[sm01])|mxfp4|bf16|fp?16|fp?32|tq[12]_0)"
    r"(?=$|[-._/ ])",
    re.IGNORECASE,
)


def normalised(precision: str) -> str:
    """One spelling of `precision`: `Q4_K_M`, `q4-k-m` and `UD-Q4_K_XL` become llama.cpp's names."""
    text = precision.lower().replace("-", "_").removeprefix("ud_")
    return _SPELLINGS.get(text, text)


def same(one: str, other: str) -> bool:
    return normalised(one) == normalised(other)


def precision_of_file(path: str) -> str | None:
    """The precision that a GGUF file's path names; the last one wins.

    >>> precision_of_file("BF16/model-UD-Q4_K_XL-00001-of-00002.gguf")
    'q4_k_xl'
    """
    found = _IN_FILE_NAME.findall(path.removesuffix(".gguf"))
    return normalised(found[-1]) if found else None


def nearest_to_default(precisions: Iterable[str]) -> str | None:
    """q4_k_m where there is one, else the precision whose size is nearest to it; ties go up."""
    target = BITS_PER_WEIGHT[DEFAULT_PRECISION]

    def distance(precision: str) -> tuple[float, float, str]:
        bits = BITS_PER_WEIGHT.get(normalised(precision), 64.0)
        return abs(bits - target), -bits, precision

    candidates = list(precisions)
    for candidate in candidates:
        if same(candidate, DEFAULT_PRECISION):
            return candidate
    return min(candidates, key=distance, default=None)


def estimated_bytes(num_parameters: int, precision: str) -> int:
    """About how large a file of that precision is; see BITS_PER_WEIGHT for how rough."""
    return int(num_parameters * BITS_PER_WEIGHT.get(normalised(precision), 16.0) / 8)
