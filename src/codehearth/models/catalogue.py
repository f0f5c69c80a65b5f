"""The catalogue: what is known about each model before a byte of it is here.

Rows of `data/catalogue.toml`, frozen, read once. Looking up forgives how people write: letter
case, `_` and spaces, a vendor before a slash, Ollama's `:7b`, endings such as `-Instruct` or
`-GGUF`. Where nothing is found, the nearest names are told.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from codehearth.errors import ModelNotFound
from codehearth.models import precisions
from codehearth.models.names import CatalogueName, Hub, parse_name

Kind = Literal["chat", "completion", "embedding"]
Format = Literal["gguf", "safetensors"]


@dataclass(frozen=True)
class Sampling:
    """What the model's makers recommend; None where they say nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None


@dataclass(frozen=True)
class Figure:
    """One published number: what was measured, in which unit, at which precision, said where."""

    benchmark: str
    metric: str
    value: float
    precision: str
    source: str


@dataclass(frozen=True)
class WeightFiles:
    """Where one precision of a model lies: a repository on each hub, None where there is none.

    `files` are globs within the repository, empty for "the checkpoint" or "the quantisation of
    this name". `num_bytes` is what a download takes, None where it is not known.
    """

    precision: str
    format: Format
    huggingface: str | None = None
    modelscope: str | None = None
    files: tuple[str, ...] = ()
    revision: str | None = None
    num_bytes: int | None = None

    def repo(self, hub: Hub) -> str | None:
        return self.huggingface if hub == "huggingface" else self.modelscope


@dataclass(frozen=True)
class Row:
    """One model. `chat` and `fim` name formats of `text.fim_formats`; `chat` is empty for base
    models.

    The checkpoint's own chat template is what renders a conversation; `chat` is for files that
    come without one, and for telling people.
    """

    name: str
    title: str
    family: str
    kind: Kind
    num_parameters: int
    context_tokens: int
    licence: str
    released: str
    chat: str = ""
    fim: str | None = None
    num_active_parameters: int | None = None
    note: str = ""
    aliases: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    files: tuple[WeightFiles, ...] = ()
    figures: tuple[Figure, ...] = ()

    @property
    def precisions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(weight_files.precision for weight_files in self.files))

    def estimated_bytes(self, precision: str) -> int:
        """About how much disk `precision` takes; exact where the row knows it."""
        for weight_files in self.files:
            if precisions.same(weight_files.precision, precision) and weight_files.num_bytes:
                return weight_files.num_bytes
        return precisions.estimated_bytes(self.num_parameters, precision)


@cache
def catalogue() -> Mapping[str, Row]:
    """Every row by its name, in the order of the file. Read-only."""
    text = resources.files("codehearth.data").joinpath("catalogue.toml").read_text("utf-8")
    table = tomllib.loads(text)
    rows = [row for family in table["family"] for row in _rows_of_family(family)]
    named = {row.name: row for row in rows}
    assert len(named) == len(rows), "two rows of the catalogue have one name"
    return MappingProxyType(named)


def lookup(name: str) -> Row:
    """The row that `name` means, whatever follows a `:`; raises ModelNotFound with near names."""
    parsed = parse_name(name)
    if isinstance(parsed, CatalogueName):
        return resolve(parsed)[0]
    raise ModelNotFound(name, nearest=nearest(name, catalogue()))


def resolve(name: CatalogueName) -> tuple[Row, str | None]:
    """The row and the precision (one of the row's own spellings) that a name means.

    Raises ModelNotFound: with near names where the row is not known, with the row's precisions
    where that precision does not exist.
    """
    for wanted, precision in _readings(name):
        meant = _keys().get(wanted)
        if meant is not None:
            return meant.row, _precision_of_row(meant.row, precision) or meant.precision
    near = nearest(name.name, catalogue())
    raise ModelNotFound(str(name), nearest=near, hint=None if near else _hub_hint(name))


def nearest(name: str, candidates: Iterable[str], *, limit: int = 3) -> tuple[str, ...]:
    """Those of `candidates` that look most like `name`; may be none."""
    keys = {_key(candidate): candidate for candidate in candidates}
    key = _key(name)
    found = difflib.get_close_matches(key, keys, n=limit, cutoff=0.6)
    if not found:
        found = [other for other in keys if len(key) > 2 and key in other][:limit]
    return tuple(keys[other] for other in found)


def row_of_repository(hub: Hub, repo: str) -> tuple[Row, tuple[WeightFiles, ...]] | None:
    """The row whose weights lie in a hub's repository, and which of its files those are."""
    return _repositories().get((hub, repo.lower()))


def _readings(name: CatalogueName) -> Iterable[tuple[str, str | None]]:
    """What a name may mean, most likely first, as (key of a row, precision).

    1. a repository with its vendor: `Qwen/Qwen2.5-Coder-7B`, which is the base model
    2. as it is written: `qwen2.5-coder-7b:q8_0`
    3. the part after `:` is a size, as Ollama writes: `qwen2.5-coder:7b`
    4. ... with a precision behind it: `qwen2.5-coder:7b-instruct-q8_0`
    5. no part after `:`, but a precision at the end: `qwen2-7b-instruct-q5_k_m`
    """
    if "/" in name.name:
        yield name.name.lower(), name.precision  # 1
    yield _key(name.name), name.precision  # 2
    if name.precision is not None:
        whole = f"{name.name}-{name.precision}"
        yield _key(whole), None  # 3
        head, precision = _split_precision(whole)
        yield _key(head), precision  # 4
    else:
        head, precision = _split_precision(name.name)
        yield _key(head), precision  # 5


def _split_precision(text: str) -> tuple[str, str | None]:
    found = re.fullmatch(
        r"(.+?)[-_.](?:gptq-|awq-)?((?:ud-)?i?q[1-8]_[a-z0-9_]+|int[48]|[48]bits?|bf16|fp?16|fp?32)",
        text,
        re.IGNORECASE,
    )
    return (found[1], found[2]) if found else (text, None)


def _precision_of_row(row: Row, precision: str | None) -> str | None:
    if precision is None or precision.lower() == "latest":
        return None
    for known in row.precisions:
        if precisions.same(known, precision):
            return known
    known_ones = f"precisions of {row.name}: {', '.join(row.precisions)}"
    raise ModelNotFound(f"{row.name}:{precision}", hint=known_ones if row.precisions else None)


def _key(name: str) -> str:
    """A name without what people write differently."""
    text = name.lower().rsplit("/", 1)[-1]
    text = re.sub(r"[ ._:-]+", "-", text).strip("-")
    while (shorter := re.sub(r"-(?:instruct|chat|it|hf|gguf|latest|gptq|awq)$", "", text)) != text:
        text = shorter
    return text


@dataclass(frozen=True)
class _Meant:
    row: Row
    precision: str | None = None


@cache
def _keys() -> Mapping[str, _Meant]:
    """Every key by which a row is found; what is most its own comes first and stays."""
    keys = {_key(row.name): _Meant(row) for row in catalogue().values()}
    for row in catalogue().values():
        for alias in row.aliases:
            keys.setdefault(_key(alias), _Meant(row))
    for (_, repo), (row, weight_files) in _repositories().items():
        meant = _Meant(row, _precision_of_repository(weight_files))
        keys.setdefault(repo, meant)
        keys.setdefault(_key(repo), meant)
    return keys


def _precision_of_repository(weight_files: tuple[WeightFiles, ...]) -> str | None:
    """The precision that a repository stands for: `...-GPTQ-Int4` does, the full model does not."""
    only = {files.precision for files in weight_files}
    return only.pop() if len(only) == 1 and only <= {"int4", "int8", "fp8"} else None


@cache
def _repositories() -> Mapping[tuple[Hub, str], tuple[Row, tuple[WeightFiles, ...]]]:
    found: dict[tuple[Hub, str], tuple[Row, tuple[WeightFiles, ...]]] = {}
    for row in catalogue().values():
        for hub in ("huggingface", "modelscope"):
            for weight_files in row.files:
                repo = weight_files.repo(hub)
                if repo is not None:
                    _, others = found.get((hub, repo.lower()), (row, ()))
                    found[hub, repo.lower()] = (row, (*others, weight_files))
    return found


def _hub_hint(name: CatalogueName) -> str | None:
    if name.name.count("/") == 1:
        return f"for a repository write hf:{name.name} or ms:{name.name}"
    return None


# Reading the file. A family gives what its models share; a model's own fields win.


def _rows_of_family(family: Mapping[str, Any]) -> Iterable[Row]:
    shared = {key: value for key, value in family.items() if key not in ("model", "files")}
    for model in family["model"]:
        fields = {**shared, **model}
        templates = [*family.get("files", ()), *fields.pop("files", ())]
        repository = fields.pop("repository", fields["title"])
        sampling = Sampling(**fields.pop("sampling", {}))
        figures = tuple(Figure(**figure) for figure in fields.pop("figures", ()))
        files = tuple(
            weight_files
            for template in templates
            for weight_files in _weight_files(template, repository)
        )
        aliases = tuple(fields.pop("aliases", ()))
        yield Row(**fields, aliases=aliases, sampling=sampling, files=files, figures=figures)


def _weight_files(template: Mapping[str, Any], repository: str) -> Iterable[WeightFiles]:
    """A template's `{}` stands for the model's name in its repository; one entry a precision."""
    fields = dict(template)
    for precision in fields.pop("precisions"):
        filled: dict[str, Any] = {
            key: value.replace("{}", repository).replace("{lower}", repository.lower())
            if isinstance(value, str)
            else value
            for key, value in fields.items()
        }
        files = tuple(
            glob.replace("{}", repository)
            .replace("{lower}", repository.lower())
            .replace("{precision}", precision)
            for glob in filled.pop("files", ())
        )
        yield WeightFiles(precision=precision, files=files, **filled)
