"""Which tensor gets which type in the recipes of one to three bits (IQ1, IQ2, IQ3, Q2_K_S); pure.

The rules are llama.cpp's, from where `mixture` has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

LOW_BIT_RECIPES = frozenset(
    {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"}
    | {"iq3_xxs", "iq3_xs", "iq3_s", "iq3_m", "q2_k_s"}
)
_SMALLEST = frozenset({"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m"})
_OF_TWO_BITS = frozenset({"iq2_s", "iq2_m"})
_NEED_IMPORTANCE = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S"})


@dataclass(frozen=True)
class Place:
    """Where a tensor stands. `turn` counts the tensors of its role, `layer` is in its name;
    `num_layers` are the model's. `is_shared`: four heads or more have one key and value."""

    role: str
    turn: int
    layer: int
    num_layers: int
    is_shared: bool
    num_experts: int
    has_importance: bool

    @property
    def is_early(self) -> bool:
        """In the first eighth."""
        return self.turn < self.num_layers // 8


def needs_importance(name: str, type_name: str, precision: str) -> bool:
    """Whether llama.cpp refuses to quantise a tensor so without an importance matrix."""
    if name in ("token_embd.weight", "output.weight"):
        return False
    return type_name in _NEED_IMPORTANCE or (precision == "q2_k_s" and type_name == "Q2_K")


def output_type(precision: str) -> str:
    """The type of the output, and of an embedding that is the output too."""
    return "Q5_K" if precision in _SMALLEST | {"iq3_xxs"} else "Q6_K"


def low_bit_type(precision: str, base: str, place: Place) -> str:
    """The type of any other matrix; `base` is the recipe's own."""
    if place.role == "embedding":
        return _embedding(precision, base)
    if precision in _SMALLEST:
        return _smallest(precision, base, place)
    match place.role:
        case "value" | "qkv":
            return _value(precision, base, place)
        case "key" | "query":
            return _key_or_query(precision, base, place)
        case "down":
            return _down(precision, base, place)
        case "attention output":
            return _attention_output(precision, base, place)
        case "gate" | "up" if precision == "iq3_xs":
            first, last = place.num_layers // 8, 7 * place.num_layers // 8
            return "IQ3_XXS" if first <= place.layer < last else base
    return base


def _embedding(precision: str, base: str) -> str:
    if precision in ("iq2_xxs", "iq2_xs", "iq1_s", "iq1_m"):
        return "Q2_K"
    return "IQ3_S" if precision in _OF_TWO_BITS | {"iq3_xxs"} else base


def _smallest(precision: str, base: str, place: Place) -> str:
    better = "IQ3_S" if precision in _OF_TWO_BITS else "Q2_K"
    match place.role:
        case "value" | "qkv":
            return "Q4_K" if place.is_shared or place.num_experts >= 4 else better
        case "key" if place.num_experts == 8:
            return "Q4_K"
        case "down" if place.is_early:
            return better
        case "attention output" if place.num_experts == 8:
            return "Q5_K"
        case "attention output" if precision in ("iq1_s", "iq1_m"):
            return "IQ2_XXS"
        case "attention output" if precision in _OF_TWO_BITS:
            return "IQ3_S"
    return base


def _value(precision: str, base: str, place: Place) -> str:
    if place.num_experts == 8:
        return "Q8_0"
    if precision == "iq3_m":
        return "Q4_K"
    if place.is_shared:
        return "Q4_K"
    if precision == "iq3_xxs" and not place.has_importance:
        return "IQ3_S"
    return base


def _key_or_query(precision: str, base: str, place: Place) -> str:
    if place.role == "key" and place.num_experts == 8:
        return "Q8_0"
    return {"iq3_xs": "IQ3_XXS", "iq3_xxs": "IQ2_S"}.get(precision, base)


def _down(precision: str, base: str, place: Place) -> str:
    layer = place.layer if place.num_experts > 1 else place.turn
    first, last = place.num_layers // 8, 7 * place.num_layers // 8
    is_early = layer < first
    if precision == "q2_k_s":
        return "Q4_K" if is_early else base
    if precision == "iq3_xxs" and not place.has_importance:
        return "Q4_K" if is_early else "Q3_K"
    has_more_bits = is_early or layer >= last or (layer - first) % 3 == 2
    if precision == "iq3_m" and (is_early or (place.num_experts == 8 and has_more_bits)):
        return "Q4_K"
    return base


def _attention_output(precision: str, base: str, place: Place) -> str:
    if place.num_experts == 8:
        return base if precision == "q2_k_s" else "Q5_K"
    return {"iq3_xxs": "IQ3_S", "iq3_m": "Q4_K"}.get(precision, base)
