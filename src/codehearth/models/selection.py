"""Which files of a repository are a model: the decision before a download; pure.

1. A list with a name that leads out of its folder is refused as a whole: it was made to harm.
2. A repository with Python code is refused, unless that was allowed for this very commit.
3. A file that was named is taken, with the other parts of a split one.
4. A quantisation that was named is taken; where it does not exist, those that do are told.
5. Otherwise the checkpoint or the quantisation that the catalogue says.
6. Otherwise: q4_k_m, or what is nearest to it in size; else the checkpoint.
7. Pickled weights are never taken, even if there is nothing else.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from codehearth.errors import BadWeights, ModelNotFound
from codehearth.models import checkpoint, precisions
from codehearth.models.catalogue import Format
from codehearth.models.gguf_files import GgufModel, group_parts
from codehearth.models.hubs import Listing, RemoteFile
from codehearth.models.names import is_safe_file_path


@dataclass(frozen=True)
class Wanted:
    """What was asked for: a file or quantisation by `selector`, or what the catalogue says."""

    title: str
    selector: str | None = None
    precision: str | None = None
    format: Format | None = None
    globs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The files to fetch: `texts` (small, read first), then `weights`. `note` tells a choice."""

    format: Format
    precision: str | None
    weights: tuple[RemoteFile, ...]
    texts: tuple[RemoteFile, ...] = ()
    note: str | None = None

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        return (*self.texts, *self.weights)

    @property
    def main(self) -> str:
        """The file that an engine opens, '' for the folder."""
        return self.weights[0].path if self.format == "gguf" else ""


def select(listing: Listing, wanted: Wanted, *, allows_code: bool) -> Selection:
    """The files that `wanted` means; raises BadWeights or ModelNotFound, each with what to do."""
    files = {file.path: file for file in listing.files}
    _refuse_hostile(files)  # 1
    paths = tuple(path for path in files if is_safe_file_path(path))
    if not allows_code:
        refuse_code(wanted.title, listing, _why_code(paths))  # 2
    ggufs = group_parts(_matching(paths, wanted.globs))
    if wanted.selector is not None:
        return _named(files, paths, ggufs, wanted)  # 3, 4
    if wanted.format == "gguf":  # 5
        return _gguf(files, _quantisation(ggufs, wanted.precision or "", wanted), paths)
    if wanted.format == "safetensors":
        return _checkpoint(files, paths, wanted)
    if ggufs:
        return _default_quantisation(files, ggufs, paths)  # 6
    return _checkpoint(files, paths, wanted)


def refuse_code(title: str, listing: Listing, why: str | None) -> None:
    """Raises BadWeights where `why` says that a model needs code of its own."""
    if why is not None:
        raise BadWeights(
            f"'{title}' carries its own Python code: {why}. It is not fetched and not run.",
            hint="read that code; to allow it for this revision only, set "
            f'allow_code = ["{listing.repo}@{listing.commit}"]',
        )


def _why_code(paths: Iterable[str]) -> str | None:
    code = checkpoint.code_files(paths)
    return f"it holds {', '.join(code[:3])}" if code else None


def _refuse_hostile(paths: Iterable[str]) -> None:
    for path in paths:
        if path.startswith(("/", "\\", "~")) or ".." in path.replace("\\", "/").split("/"):
            raise BadWeights("The repository lists a file whose name leads out of its folder.")


def _matching(paths: Iterable[str], globs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        path for path in paths if not globs or any(fnmatch.fnmatchcase(path, g) for g in globs)
    )


def _named(
    files: dict[str, RemoteFile],
    paths: tuple[str, ...],
    ggufs: tuple[GgufModel, ...],
    wanted: Wanted,
) -> Selection:
    selector = wanted.selector or ""
    for model in ggufs:
        if selector in model.files or selector in [path.rsplit("/", 1)[-1] for path in model.files]:
            return _gguf(files, model, paths)
    if selector.lower().endswith(".safetensors"):
        if selector in checkpoint.weight_files(paths):
            return _checkpoint(files, paths, wanted)
        raise ModelNotFound(wanted.title, hint=_offer(ggufs, paths))
    if selector.lower().endswith(".gguf"):
        raise ModelNotFound(wanted.title, hint=_offer(ggufs, paths))
    return _gguf(files, _quantisation(ggufs, selector, wanted), paths)


def _quantisation(ggufs: tuple[GgufModel, ...], precision: str, wanted: Wanted) -> GgufModel:
    """The model of that precision: as it is written if it can be, one file rather than parts."""
    found = [
        model
        for model in ggufs
        if precisions.precision_of_file(model.files[0]) == precisions.normalised(precision)
    ]
    if not found:
        raise ModelNotFound(wanted.title, hint=_offer(ggufs, ()))

    def preference(model: GgufModel) -> tuple[bool, bool, bool, int, str]:
        path = model.files[0]
        is_other_variant = ("ud-" in path.lower()) != ("ud-" in precision.lower())
        return not model.is_complete, is_other_variant, model.is_split, len(path), path

    return min(found, key=preference)


def _default_quantisation(
    files: dict[str, RemoteFile], ggufs: tuple[GgufModel, ...], paths: tuple[str, ...]
) -> Selection:
    whole = [model for model in ggufs if model.is_complete] or list(ggufs)
    named = {precisions.precision_of_file(model.files[0]): model for model in reversed(whole)}
    choice = precisions.nearest_to_default(name for name in named if name is not None)
    if choice is None:
        if len(whole) > 1:
            raise ModelNotFound(
                whole[0].files[0], hint=f"name one of the files: {_few(m.files[0] for m in whole)}"
            )
        return _gguf(files, whole[0], paths)
    model = _quantisation(tuple(whole), choice, Wanted(""))
    others = sorted({name for name in named if name is not None and name != choice})
    selection = _gguf(files, model, paths)
    if not others:
        return selection
    reason = (
        "small, and nearly as good as the full model"
        if choice == precisions.DEFAULT_PRECISION
        else f"nearest in size to {precisions.DEFAULT_PRECISION}"
    )
    note = f"{choice} is taken: {reason}; there are also {', '.join(others)}"
    return Selection(selection.format, choice, selection.weights, selection.texts, note)


def _gguf(files: dict[str, RemoteFile], model: GgufModel, paths: tuple[str, ...]) -> Selection:
    if not model.is_complete:
        raise BadWeights(
            f"'{model.files[0]}' is one of several parts, and the repository lacks some of them."
        )
    # A configuration beside it is only looked at, for code.
    texts = tuple(files[path] for path in ("config.json",) if path in paths)
    return Selection(
        "gguf",
        precisions.precision_of_file(model.files[0]),
        tuple(files[path] for path in model.files),
        texts,
    )


def _checkpoint(files: dict[str, RemoteFile], paths: tuple[str, ...], wanted: Wanted) -> Selection:
    weights = checkpoint.weight_files(paths)
    if not weights:
        raise _no_weights(wanted, paths)
    missing = checkpoint.missing_shards(weights)
    if missing:
        raise BadWeights(f"The repository lacks {len(missing)} parts of its weights: {missing[0]}.")
    if "config.json" not in paths:
        raise BadWeights(f"'{wanted.title}' has tensors but no config.json: no engine can load it.")
    texts = checkpoint.text_files(paths)
    too_large = [path for path in texts if files[path].num_bytes > checkpoint.MAX_JSON_BYTES]
    if too_large:
        raise BadWeights(f"'{too_large[0]}' is too large to be what it says.")
    return Selection(
        "safetensors",
        wanted.precision,
        tuple(files[path] for path in weights),
        tuple(files[path] for path in texts),
    )


def _no_weights(wanted: Wanted, paths: tuple[str, ...]) -> BadWeights:
    pickled = checkpoint.pickled_files(paths)
    ggufs = group_parts(paths)
    if ggufs:
        return BadWeights(f"'{wanted.title}' holds no safetensors.", hint=_offer(ggufs, ()))
    if pickled:
        return BadWeights(
            f"'{wanted.title}' has only pickled weights ({pickled[0]}): loading a pickle runs "
            "whatever code is in it, so it is not fetched.",
            hint="look for a revision with safetensors (NAME@REVISION), often among the pull "
            "requests: @refs/pr/NUMBER",
        )
    return BadWeights(f"'{wanted.title}' holds neither safetensors nor GGUF files.")


def _offer(ggufs: tuple[GgufModel, ...], paths: tuple[str, ...]) -> str:
    """What the repository does have."""
    known = {precisions.precision_of_file(model.files[0]) for model in ggufs}
    named = sorted(precision for precision in known if precision is not None)
    if named:
        return f"the repository has {', '.join(named)}"
    files = [*(model.files[0] for model in ggufs), *checkpoint.weight_files(paths)]
    return f"the repository has {_few(files)}" if files else "the repository has no such file"


def _few(names: Iterable[str], limit: int = 8) -> str:
    listed = list(names)
    return ", ".join(listed[:limit]) + (" ..." if len(listed) > limit else "")
