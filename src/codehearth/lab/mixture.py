"""Which tensor gets which type in Q4_K_M and its kin; pure.

The rules are llama.cpp's (`src/llama-quant.cpp`, functions `llama_tensor_get_type_impl`,
`tensor_allows_quantization` and `tensor_type_fallback`, as of autumn 2026), so that a file made
here has the types that `llama-quantize` gives it, with an importance matrix or without. Left out:
Falcon's own rules. Recipes of one to three bits stand in `low_bits`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codehearth.errors import InvalidRequest
from codehearth.lab import low_bits
from codehearth.models.gguf_types import TENSOR_TYPES
from codehearth.models.precisions import CHECKPOINT_PRECISIONS, normalised

BLOCK_SIZES: Mapping[str, int] = {kind.name: kind.block_size for kind in TENSOR_TYPES.values()}
BLOCK_BYTES: Mapping[str, int] = {kind.name: kind.block_bytes for kind in TENSOR_TYPES.values()}


@dataclass(frozen=True)
class Recipe:
    """How a whole file is quantised; `file_type` is GGUF's number for it."""

    precision: str
    file_type: int
    tensor_type: str

    @property
    def is_quantised(self) -> bool:
        return self.tensor_type not in ("F32", "F16", "BF16")


RECIPES: Mapping[str, Recipe] = {
    precision: Recipe(precision, file_type, tensor_type)
    for precision, file_type, tensor_type in (
        ("f32", 0, "F32"),
        ("bf16", 32, "BF16"),
        ("f16", 1, "F16"),
        ("q8_0", 7, "Q8_0"),
        ("q6_k", 18, "Q6_K"),
        ("q5_k_m", 17, "Q5_K"),
        ("q5_k_s", 16, "Q5_K"),
        ("q5_1", 9, "Q5_1"),
        ("q5_0", 8, "Q5_0"),
        ("q4_k_m", 15, "Q4_K"),
        ("q4_k_s", 14, "Q4_K"),
        ("q4_1", 3, "Q4_1"),
        ("q4_0", 2, "Q4_0"),
        ("iq4_nl", 25, "IQ4_NL"),
        ("iq4_xs", 30, "IQ4_XS"),
        ("q3_k_l", 13, "Q3_K"),
        ("q3_k_m", 12, "Q3_K"),
        ("q3_k_s", 11, "Q3_K"),
        ("iq3_m", 27, "IQ3_S"),
        ("iq3_s", 26, "IQ3_S"),
        ("iq3_xs", 22, "IQ3_S"),
        ("iq3_xxs", 23, "IQ3_XXS"),
        ("q2_k", 10, "Q2_K"),
        ("q2_k_s", 21, "Q2_K"),
        ("iq2_m", 29, "IQ2_S"),
        ("iq2_s", 28, "IQ2_XS"),
        ("iq2_xs", 20, "IQ2_XS"),
        ("iq2_xxs", 19, "IQ2_XXS"),
        ("iq1_m", 31, "IQ1_M"),
        ("iq1_s", 24, "IQ1_S"),
    )
}

# What `llama-quantize` takes for the middle one of a family.
_SHORT = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}

# Precisions that other engines make, and what makes them.
_ELSEWHERE = {
    "gptq8": "GPTQModel, for the engines transformers and vllm",
    "fp8": "the engine vllm, on a GPU",
}


def recipe_of(precision: str) -> Recipe:
    """The recipe of a precision in any spelling; raises InvalidRequest for one not made here."""
    name = normalised(precision.strip())
    name = _SHORT.get(name, name)
    if name in RECIPES:
        return RECIPES[name]
    can = f"what can be made: {', '.join((*RECIPES, *CHECKPOINT_PRECISIONS))}"
    if name in _ELSEWHERE:
        raise InvalidRequest(
            f"'{precision}' is made by {_ELSEWHERE[name]}; `hearth quantize` does not make it.",
            hint=can,
        )
    if name in CHECKPOINT_PRECISIONS:
        raise InvalidRequest(f"'{precision}' is made of a checkpoint only.", hint=can)
    raise InvalidRequest(f"'{precision}' is not a precision that can be made.", hint=can)


@dataclass(frozen=True)
class Shape:
    """One tensor of the source; `shape` is innermost first, `type_name` what it is stored in."""

    name: str
    shape: tuple[int, ...]
    type_name: str


@dataclass(frozen=True)
class Model:
    """What the rules ask about the model."""

    architecture: str
    num_layers: int
    num_heads: int
    num_kv_heads: int
    num_experts: int = 0

    @property
    def heads_per_kv(self) -> int:
        return self.num_heads // self.num_kv_heads if self.num_kv_heads else 0

    @property
    def is_70b(self) -> bool:
        """llama.cpp's "type 70B": 80 layers whose heads share keys and values."""
        known = self.architecture in ("llama", "qwen2")
        return known and self.num_layers == 80 and self.heads_per_kv > 1


def tensor_types(
    tensors: Sequence[Shape], recipe: Recipe, model: Model, *, has_importance: bool = False
) -> tuple[str, ...]:
    """The type of each tensor in a file of that recipe, in the order given."""
    order = sorted(
        (tensor for tensor in tensors if allows_quantisation(tensor)),
        key=lambda tensor: (_layer(tensor.name), tensor.name),
    )
    values = [tensor.name for tensor in order if _role(tensor.name) in ("value", "qkv")]
    downs = [tensor.name for tensor in order if _role(tensor.name) == "down"]
    is_tied = all(tensor.name != "output.weight" for tensor in tensors)
    mixture = _Mixture(recipe, model, values, downs, is_tied, has_importance)
    return tuple(mixture.type_of(tensor) for tensor in tensors)


# Two-dimensional tensors that are too small or too delicate to quantise.
_KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp|ffn_gate_tid2eid|altup|laurel|per_layer_model_proj|^position_embd|"
    r"^token_types|ssm_conv1d|shortconv\.conv|indexer\.[kq]_proj|time_mix_|attn_rel_b|"
    r"\.position_embd|\.rel_pos|\.patch_embd|\.patch_merger|^rope_freqs"
)


def allows_quantisation(tensor: Shape) -> bool:
    """Whether a tensor is a matrix of weights; others keep the type they have."""
    num_dimensions = sum(1 for size in tensor.shape[1:] if size > 1) + 1
    is_matrix = num_dimensions >= 2 and tensor.name.endswith("weight")
    return is_matrix and _KEPT.search(tensor.name) is None


def num_bytes(shape: Sequence[int], type_name: str) -> int:
    """Bytes of a tensor whose rows (`shape[0]`) are a multiple of the type's block."""
    elements = 1
    for size in shape:
        elements *= size
    return elements // BLOCK_SIZES[type_name] * BLOCK_BYTES[type_name]


_ROLES = (
    ("attn_qkv.weight", "qkv"),
    ("attn_kv_b.weight", "value"),
    ("attn_v.weight", "value"),
    ("attn_k.weight", "key"),
    ("attn_q.weight", "query"),
    ("attn_output.weight", "attention output"),
    ("ffn_up", "up"),
    ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)


def _role(name: str) -> str:
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    return next((role for part, role in _ROLES if part in name), "other")


def _layer(name: str) -> int:
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _has_more_bits(layer: int, num_layers: int) -> bool:
    """The first and last eighth of the layers, and every third between."""
    first, last = num_layers // 8, 7 * num_layers // 8
    return layer < first or layer >= last or (layer - first) % 3 == 2


# Attention's output: one step up where the middle is weak.
_ATTENTION_OUTPUT = {"q2_k": "Q3_K", "q3_k_m": "Q4_K", "q3_k_l": "Q5_K"}
_EXPERTS_OUTPUT = frozenset({"q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "iq4_nl", "iq4_xs"})

# Rows that a type's blocks of 256 do not divide are stored in blocks of 32.
_FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S"), "IQ4_NL"),
    **dict.fromkeys(("IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


@dataclass(frozen=True)
class _Mixture:
    """The rules for one file. `values` and `downs` name its tensors of that role by layer."""

    recipe: Recipe
    model: Model
    values: Sequence[str]
    downs: Sequence[str]
    is_tied: bool
    has_importance: bool

    def type_of(self, tensor: Shape) -> str:
        if not allows_quantisation(tensor):
            return tensor.type_name
        if not self.recipe.is_quantised:
            return self.recipe.tensor_type
        return _fitting(self._wished(tensor), tensor.shape[0])

    def _wished(self, tensor: Shape) -> str:
        role = _role(tensor.name)
        if role == "output" or (self.is_tied and role == "embedding"):
            return self._output(tensor)
        if self.recipe.precision in low_bits.LOW_BIT_RECIPES:
            return self._low_bits(tensor, role)
        if role in ("value", "qkv"):
            return self._value(tensor)
        if role == "key" and self.model.num_experts == 8:
            return "Q8_0"
        if role == "down":
            return self._down(tensor)
        if role == "attention output":
            return self._attention_output()
        return self.recipe.tensor_type

    def _output(self, tensor: Shape) -> str:
        base = self.recipe.tensor_type
        is_odd = tensor.shape[0] % BLOCK_SIZES[base] != 0
        return "Q8_0" if is_odd or base == "Q8_0" else low_bits.output_type(self.recipe.precision)

    def _low_bits(self, tensor: Shape, role: str) -> str:
        turns = self.values if role in ("value", "qkv") else self.downs
        place = low_bits.Place(
            role=role,
            turn=turns.index(tensor.name) if tensor.name in turns else 0,
            layer=_layer(tensor.name),
            num_layers=self.model.num_layers,
            is_shared=self.model.heads_per_kv >= 4,
            num_experts=self.model.num_experts,
            has_importance=self.has_importance,
        )
        wished = low_bits.low_bit_type(self.recipe.precision, self.recipe.tensor_type, place)
        is_value = role in ("value", "qkv") and self.recipe.precision.startswith(("iq3", "q2"))
        return "Q5_K" if is_value and self.model.is_70b and wished == "Q4_K" else wished

    def _value(self, tensor: Shape) -> str:
        index, count = self.values.index(tensor.name), len(self.values)
        if self.model.num_experts == 8:
            return "Q8_0"
        wished = self._value_by_recipe(index, count)
        # Eight heads share these; more bits cost next to nothing.
        return "Q5_K" if self.model.is_70b and wished in ("Q3_K", "Q4_K") else wished

    def _value_by_recipe(self, index: int, count: int) -> str:
        is_shared = self.model.heads_per_kv >= 4
        match self.recipe.precision:
            case "q2_k":
                return "Q4_K" if is_shared else "Q3_K"
            case "q3_k_m":
                return "Q5_K" if index < 2 else "Q4_K"
            case "q3_k_l":
                return "Q5_K"
            case "iq4_nl" | "iq4_xs" if is_shared:
                return "Q5_K"
            case "q4_k_s" if index < 4:
                return "Q5_K"
            case "q4_k_m" | "q5_k_m" if _has_more_bits(index, count):
                return "Q6_K"
            case _:
                return self.recipe.tensor_type

    def _down(self, tensor: Shape) -> str:
        # With experts the layer stands in the name, else it is the tensor's turn.
        has_experts = self.model.num_experts > 1
        layer = _layer(tensor.name) if has_experts else self.downs.index(tensor.name)
        count = self.model.num_layers
        match self.recipe.precision:
            case "q2_k":
                return "Q3_K"
            case "q3_k_m":
                return "Q5_K" if layer < count // 16 else "Q4_K"
            case "q3_k_l":
                return "Q5_K"
            case "q4_k_s" if layer < count // 8:
                return "Q5_K"
            case "iq4_nl" | "iq4_xs" if layer < count // 8 and not self.has_importance:
                return "Q5_K"
            case "q4_0" | "q5_0" if layer < count // 8 and self.has_importance:
                return "Q4_1" if self.recipe.precision == "q4_0" else "Q5_1"
            case "q4_k_m" | "q5_k_m" if _has_more_bits(layer, count):
                return "Q6_K"
            case _:
                return self.recipe.tensor_type

    def _attention_output(self) -> str:
        precision, base = self.recipe.precision, self.recipe.tensor_type
        if self.model.num_experts == 8:
            return "Q5_K" if precision in _EXPERTS_OUTPUT else base
        return _ATTENTION_OUTPUT.get(precision, base)


def _fitting(type_name: str, row: int) -> str:
    """The type, or the nearest whose blocks divide a row; F16 where none does."""
    if row % BLOCK_SIZES[type_name] == 0:
        return type_name
    fallback = _FALLBACKS.get(type_name, "F16")
    return fallback if row % BLOCK_SIZES[fallback] == 0 else "F16"
