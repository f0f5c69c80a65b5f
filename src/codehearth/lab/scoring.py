"""What precisions lose against a reference: the same windows of the same text through each.

One fresh child (`scorer`) for each precision. The reference's logits lie in one file on disk while
the others are compared with them (`keeping`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codehearth.errors import EngineFailed, InvalidRequest
from codehearth.lab import statistics
from codehearth.lab.child import child_lines
from codehearth.lab.result import Divergence, Greedy, Loss

MIN_WINDOWS = 4
PROMPT_TOKENS = 64
NEW_TOKENS = 32


@dataclass(frozen=True)
class Windows:
    """A text cut into windows of tokens, and the beginnings that greedy completions go on from."""

    windows: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...]
    vocabulary_size: int

    @property
    def context_tokens(self) -> int:
        return len(self.windows[0])

    @property
    def num_scored_tokens(self) -> int:
        context = self.context_tokens
        return len(self.windows) * (context - context // 2 - 1)

    @property
    def logits_bytes(self) -> int:
        return 4 * self.num_scored_tokens * self.vocabulary_size


@dataclass(frozen=True)
class Loading:
    """How a checkpoint is read by the Python of transformers' environment. `precision` is what it
    becomes as it is loaded, "" for one that is packed already."""

    precision: str
    python: Path


@dataclass(frozen=True)
class Library:
    """llama.cpp as what reads a text: the wheel's library, or at `path` that of another engine."""

    name: str = "xllamacpp"
    version: str = ""
    path: Path | None = None

    @property
    def in_job(self) -> str:
        return str(self.path or "")


WHEEL = Library()


@dataclass(frozen=True)
class Scores:
    """Figures for each scored token, in the text's order, and the greedy completions."""

    nll: tuple[float, ...]
    greedy: tuple[tuple[int, ...], ...]
    kl: tuple[float, ...] = ()
    top_1: tuple[float, ...] = ()
    top_5: tuple[float, ...] = ()


def cut(
    tokens: Sequence[int],
    *,
    vocabulary_size: int,
    context_tokens: int,
    max_windows: int,
    num_prompts: int,
) -> Windows:
    """As many whole windows as the text has, spread over all of it where there are more than
    wanted; raises InvalidRequest for a text too short to say anything."""
    require_length(len(tokens), context_tokens)
    count = len(tokens) // context_tokens
    wanted = min(count, max_windows)
    places = [index * count // wanted for index in range(wanted)]
    windows = tuple(
        tuple(tokens[place * context_tokens : (place + 1) * context_tokens]) for place in places
    )
    prompt = min(PROMPT_TOKENS, context_tokens // 2)
    chosen = [windows[index * wanted // num_prompts] for index in range(num_prompts)]
    prompts = dict.fromkeys(window[:prompt] for window in chosen)
    return Windows(windows, tuple(prompts), vocabulary_size)


def require_length(num_tokens: int, context_tokens: int) -> None:
    """Raises InvalidRequest for a text too short to say anything."""
    if num_tokens < MIN_WINDOWS * context_tokens:
        raise InvalidRequest(
            f"The text has {num_tokens} tokens; with a context of {context_tokens} at least "
            f"{MIN_WINDOWS * context_tokens} are needed to say anything.",
            hint="take a longer --text or a smaller --context",
        )


def tokenize(path: Path, text: str, library: Library = WHEEL) -> tuple[list[int], int]:
    """The text's tokens by the model's own tokenizer, and the size of its vocabulary."""
    job = {
        "task": "tokenize",
        "library": library.in_job,
        "model": str(path),
        "context_tokens": 32,
        "num_threads": 1,
        "text": text,
    }
    for line in _lines(job):
        return list(line["tokens"]), int(line["vocabulary_size"])
    raise EngineFailed("The text could not be cut into tokens.", retry_after_s=None)


def score(
    path: Path,
    windows: Windows,
    logits: Path,
    *,
    is_reference: bool,
    num_threads: int,
    done: Callable[[int], None],
    loaded: Loading | None = None,
    library: Library = WHEEL,
) -> Scores:
    """Every window through the model at `path`; the reference comes first and fills `logits`."""
    job = {
        "task": "reference" if is_reference else "compare",
        "library": library.in_job,
        "model": str(path),
        "context_tokens": windows.context_tokens,
        "num_threads": num_threads,
        "logits": str(logits),
        "windows": windows.windows,
        "prompts": windows.prompts,
        "num_new_tokens": NEW_TOKENS,
        "precision": loaded.precision if loaded else "",
        "vocabulary_size": windows.vocabulary_size,
    }
    found: dict[str, list[float]] = {"nll": [], "kl": [], "top_1": [], "top_5": []}
    greedy: list[tuple[int, ...]] = []
    for line in _lines(job, loaded.python if loaded else None):
        if "greedy" in line:
            greedy.append(tuple(line["greedy"]))
            continue
        for name, values in found.items():
            values += line.get(name, ())
        done(int(line["window"]) + 1)
    return Scores(
        nll=tuple(found["nll"]),
        greedy=tuple(greedy),
        kl=tuple(found["kl"]),
        top_1=tuple(found["top_1"]),
        top_5=tuple(found["top_5"]),
    )


def loss_of_reference(scores: Scores) -> Loss:
    return Loss(perplexity=statistics.perplexity(scores.nll))


def loss_of(scores: Scores, reference: Scores, *, seed: int) -> Loss:
    """All figures of one precision against the reference."""
    kl = statistics.bootstrap(scores.kl, statistics.mean, seed=seed)
    tail = statistics.bootstrap(scores.kl, statistics.percentile_99, seed=seed)
    return replace(
        loss_of_reference(scores),
        log_ratio=statistics.log_ratio(scores.nll, reference.nll),
        kl=Divergence(kl, tail, max(scores.kl)),
        top_1_agreement=statistics.bootstrap(scores.top_1, statistics.mean, seed=seed),
        top_5_agreement=statistics.bootstrap(scores.top_5, statistics.mean, seed=seed),
        greedy=_greedy(scores.greedy, reference.greedy),
    )


def _greedy(ours: Sequence[tuple[int, ...]], theirs: Sequence[tuple[int, ...]]) -> Greedy:
    pairs = list(zip(ours, theirs, strict=True))
    same = [_num_same(one, other) for one, other in pairs]
    num_equal = sum(one == other for one, other in pairs)
    return Greedy(
        num_prompts=len(pairs),
        num_new_tokens=NEW_TOKENS,
        agreement=statistics.wilson(num_equal, len(pairs)),
        same_tokens=statistics.mean(same) if same else 0.0,
    )


def _num_same(one: Sequence[int], other: Sequence[int]) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _lines(job: Mapping[str, Any], python: Path | None = None) -> Iterator[dict[str, Any]]:
    module = "codehearth.lab.scorer" if python is None else "codehearth.lab.torch_scorer"
    return child_lines(module, dict(job), python=python)
