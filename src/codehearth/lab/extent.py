"""How long a text, how long prompts and answers, so that a measurement takes minutes; pure.

How fast a model reads and writes here is estimated before anything was measured: operations of a
core, bytes of a memory. Off by a factor of two it is still minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

from codehearth.lab.scoring import MIN_WINDOWS, NEW_TOKENS
from codehearth.lab.timing import NUM_SLOTS, Plan
from codehearth.models.facts import Weights
from codehearth.models.hardware import Hardware

MAX_WINDOWS = 40
MAX_LOGITS_BYTES = 4 << 30
# A text is read for about so long by each precision.
_READING_S = 150.0
# As `engines.threads` has it.
_CORE_OPERATIONS_PER_S = 90e9
# One token is decoded as fast as all weights pass through the memory.
_MEMORY_BYTES_PER_S = 10e9
_GREEDY_S = 60.0


@dataclass(frozen=True)
class Extent:
    """At most so many windows, and so many beginnings for greedy completions."""

    max_windows: int
    num_prompts: int


def reading_speed(weights: Weights, hardware: Hardware) -> float:
    """About how many tokens of text a second this machine reads with the model."""
    operations = _CORE_OPERATIONS_PER_S * max(1.0, hardware.num_cores)
    return operations / (2 * max(1, weights.num_parameters))


def decoding_speed(weights: Weights) -> float:
    return _MEMORY_BYTES_PER_S / max(1, weights.num_bytes)


def extent(
    weights: Weights, hardware: Hardware, *, context_tokens: int, vocabulary_size: int
) -> Extent:
    """What minutes and 4 GiB of logits allow."""
    scored = context_tokens - context_tokens // 2 - 1
    by_time = int(reading_speed(weights, hardware) * _READING_S / context_tokens)
    by_room = MAX_LOGITS_BYTES // (4 * scored * max(1, vocabulary_size))
    prompts = int(decoding_speed(weights) * _GREEDY_S / NEW_TOKENS)
    return Extent(
        max_windows=max(MIN_WINDOWS, min(MAX_WINDOWS, by_time, by_room)),
        num_prompts=max(6, min(24, prompts)),
    )


def timing_plan(weights: Weights, num_threads: int, hardware: Hardware) -> Plan:
    """Prompts and answers as long as seconds allow: 8 prompts in 20 s, an answer in 10 s."""
    prompt = max(32, min(256, int(reading_speed(weights, hardware) * 20 / NUM_SLOTS)))
    new = max(8, min(128, int(decoding_speed(weights) * 10)))
    needed = -(-(prompt + new + 16) // 256) * 256
    return Plan(
        num_threads=num_threads,
        context_tokens=min(weights.context_tokens, needed),
        prompt_tokens=prompt,
        new_tokens=new,
    )
