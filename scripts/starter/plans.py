"""The recipes by their names: a size of model, how it is trained, and what it is shown."""

from dataclasses import dataclass, replace

from .middles import VALUE_SHARE
from .network import Shape
from .schedule import Recipe


@dataclass(frozen=True)
class Plan:
    """A size of model with all that makes it; shares are of documents, and a chat is a short one.

    `code` shares out what teaching leaves. Of the training it is alone until `code_first`, and
    `last` is mixed in instead of `teaching` from `teaching_last` on.
    """

    shape: Shape
    recipe: Recipe
    code: dict[str, float]
    teaching: dict[str, float]
    last: dict[str, float]
    slice_tokens: tuple[int, ...]
    fim_slice_tokens: tuple[int, ...]
    more_share: float = 6 / 11  # every phrase as often as any other
    idiom_share: float = 0.3
    taught_value_share: float = VALUE_SHARE
    opening_share: float = 0.8
    answer_weight: int = 1
    code_first: float = 0.2
    teaching_last: float = 0.8
    needs_more_packages: bool = False
    needs_earlier: bool = False


PLANS = {
    "cpu": Plan(
        Shape(vocabulary=4096, hidden=256, layers=6, feed_forward=768, heads=4, kv_heads=2),
        Recipe(max_tokens=30_000_000),
        code={"stdlib": 0.68, "teaching": 0.12, "library": 0.2},
        teaching={"chat": 0.42, "taught": 0.14},
        last={"chat": 0.6, "taught": 0.14},
        slice_tokens=(192, 256, 384, 1024),
        fim_slice_tokens=(192, 256, 384, 512),
    ),
    "gpu": Plan(
        Shape(),
        Recipe(
            max_tokens=3_000_000_000,
            tokens_a_step=131_072,
            windows=((1.0, 2048),),
            learning_rate=3e-3,
            uses_muon=True,
        ),
        code={"stdlib": 0.07, "teaching": 0.03, "library": 0.9},
        teaching={"chat": 0.26, "taught": 0.06},
        last={"chat": 0.45, "taught": 0.12},
        slice_tokens=(256, 512, 1024, 2048),
        fim_slice_tokens=(256, 384, 512, 1024),
        needs_more_packages=True,
    ),
}
# An hour of two cores from weights that have learnt all else, named by `--earlier`: a fifth of the
# rows is code, on which they shall go on saying what they said.
PLANS["teaching"] = Plan(
    Shape(),
    Recipe(
        max_tokens=1_400_000,
        tokens_a_step=2560,
        windows=((1.0, 512),),
        learning_rate=2.5e-4,
        warmup_steps=40,
        decay_share=0.7,
        weight_decay=0.0,
        kept_rows=1,
    ),
    code={"stdlib": 0.1, "teaching": 0.05, "library": 0.85},
    teaching={"chat": 0.82, "taught": 0.18},
    last={"chat": 0.82, "taught": 0.18},
    slice_tokens=(192, 256, 384, 512),
    fim_slice_tokens=(192, 256, 384, 512),
    more_share=0.8,
    idiom_share=0.7,
    taught_value_share=0.6,
    opening_share=0.92,
    answer_weight=3,
    code_first=0.0,
    needs_more_packages=True,
    needs_earlier=True,
)
# A few minutes more, from what that gave: more of what fills a middle.
PLANS["teaching-last"] = replace(
    PLANS["teaching"],
    recipe=replace(
        PLANS["teaching"].recipe, max_tokens=160_000, learning_rate=1e-4, warmup_steps=5
    ),
    teaching={"chat": 0.5, "taught": 0.5},
    last={"chat": 0.5, "taught": 0.5},
    idiom_share=0.85,
)
