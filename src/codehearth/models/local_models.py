"""A model that is on this machine, wherever it came from, and what is known without opening it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from codehearth.errors import BadWeights
from codehearth.models import checkpoint, precisions
from codehearth.models.caches import CachedModel, sha256_of_link
from codehearth.models.catalogue import Format, Row, catalogue, row_of_repository
from codehearth.models.gguf_files import group_parts
from codehearth.models.made import MadeModel
from codehearth.models.names import HUB_PREFIXES, Hub
from codehearth.models.precisions import precision_of_file
from codehearth.models.records import Recorded
from codehearth.models.tuned import GGUF, MERGED, TEMPLATE, TunedModel

_TUNE_AGAIN = "`hearth tune` makes it again; `--rollback` goes back to the version before"


@dataclass(frozen=True)
class LocalModel:
    """A model on disk. `path` is what engines open: the first GGUF file, or the folder.

    One of another server has the format "remote" and no files. `source` is "package", "made",
    "tuned", "hf:org/repo", "ms:org/repo", "path" or "remote"; `sha256` holds the known hashes by
    the file's path below `folder`. `adapter` is loaded beside the weights, `chat_template` takes
    the place of theirs; `shared` is then the name of the process, which holds the base once for all
    adapters that are on it.
    """

    name: str
    path: Path
    format: Format | Literal["remote"]
    precision: str | None
    num_bytes: int
    source: str
    revision: str | None = None
    # The branch or tag that led to `revision`, where that is known.
    branch: str | None = None
    row: Row | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0
    hub: Hub | None = None
    repo: str | None = None
    folder: Path = Path()
    files: tuple[str, ...] = ()
    # Sizes of the files as they were when they arrived; empty where that is not known.
    sizes: Mapping[str, int] = field(default_factory=dict)
    adapter: Path | None = None
    chat_template: Path | None = None
    shared: str = ""

    @property
    def process(self) -> str:
        """The name of the process that serves it."""
        return self.shared or self.name


def from_record(recorded: Recorded) -> LocalModel | None:
    """The model of a record, or None where its first file is gone."""
    folder = Path(recorded.folder)
    path = folder / recorded.main if recorded.main else folder
    if not path.exists():
        return None
    return LocalModel(
        name=recorded.name,
        path=path,
        format=recorded.format,
        precision=recorded.precision,
        num_bytes=sum(file.num_bytes for file in recorded.files),
        source=f"{HUB_PREFIXES[recorded.hub]}:{recorded.repo}",
        revision=recorded.commit,
        branch=recorded.revision,
        row=_row(recorded.hub, recorded.repo),
        sha256={file.path: file.sha256 for file in recorded.files},
        created_at=recorded.created_at,
        hub=recorded.hub,
        repo=recorded.repo,
        folder=folder,
        files=tuple(file.path for file in recorded.files),
        sizes={file.path: file.num_bytes for file in recorded.files},
    )


def from_cache(cached: CachedModel) -> LocalModel:
    """A model that another program left in a hub's cache."""
    hashes = {path: sha256_of_link(cached.folder / path) for path in cached.files}
    return LocalModel(
        name=local_name(cached.hub, cached.repo, cached.format, cached.precision, cached.main),
        path=cached.folder / cached.main if cached.main else cached.folder,
        format=cached.format,
        precision=cached.precision,
        num_bytes=cached.num_bytes,
        source=f"{HUB_PREFIXES[cached.hub]}:{cached.repo}",
        revision=cached.revision,
        row=_row(cached.hub, cached.repo),
        sha256={path: value for path, value in hashes.items() if value is not None},
        created_at=cached.modified_at,
        hub=cached.hub,
        repo=cached.repo,
        folder=cached.folder,
        files=cached.files,
    )


def remote(name: str) -> LocalModel:
    """A model that another server serves: nothing of it is here."""
    return LocalModel(name, Path(), "remote", precision=None, num_bytes=0, source="remote")


def from_made(made: MadeModel, path: Path) -> LocalModel:
    """A model that the lab has made of another one. `path` is a GGUF, or a checkpoint's folder."""
    sha256 = made.files if made.is_checkpoint else {path.name: made.sha256}
    return LocalModel(
        name=made.name,
        path=path,
        format="safetensors" if made.is_checkpoint else "gguf",
        precision=made.precision,
        num_bytes=made.num_bytes,
        source="made",
        row=None if made.row is None else catalogue().get(made.row),
        sha256=sha256,
        created_at=made.created_at,
        folder=path if made.is_checkpoint else path.parent,
        files=tuple(sorted(sha256)),
        sizes={} if made.is_checkpoint else {path.name: made.num_bytes},
    )


def from_tuned(tuned: TunedModel, folder: Path, *, as_checkpoint: bool = False) -> LocalModel:
    """A model that was tuned here: its GGUF, or the merged checkpoint that it was made of."""
    is_gguf = tuned.has_gguf and not as_checkpoint
    name = f"{tuned.name}:checkpoint" if as_checkpoint else tuned.name
    found = from_path(name, folder / (GGUF if is_gguf else MERGED))
    return replace(
        found,
        precision=tuned.precision if is_gguf else found.precision,
        source="tuned",
        row=None if tuned.row is None else catalogue().get(tuned.row),
        sha256={GGUF: tuned.sha256} if is_gguf else {},
        created_at=tuned.created_at,
    )


def with_adapter(base: LocalModel, name: str, adapter: Path) -> LocalModel:
    """A base model that an adapter is loaded beside, under the name of both.

    The template of the training lies beside the adapter, where that is not the base's own. An
    engine has one template, so only adapters with the same one share a process.
    """
    template = adapter.parent / TEMPLATE
    own = template.read_bytes() if template.is_file() else b""
    mark = f"-{hashlib.sha256(own).hexdigest()[:8]}" if own else ""
    return replace(
        base,
        name=name,
        source="tuned",
        adapter=adapter,
        chat_template=template if own else None,
        shared=f"{base.name}+adapters{mark}",
        hub=None,
        repo=None,
    )


def from_path(name: str, path: Path) -> LocalModel:
    """A GGUF file, a safetensors file, or a folder that holds one model; raises BadWeights.

    The message holds the name and not the path: it may reach a client.
    """
    try:
        path = path.absolute()
        if path.is_dir():
            return _from_folder(name, path)
        if not path.is_file():
            raise BadWeights(f"There are no files where '{name}' should be.")
        return _from_file(name, path)
    except (OSError, ValueError) as error:
        raise BadWeights(f"The files of '{name}' cannot be read.") from error


def _from_file(name: str, path: Path) -> LocalModel:
    if path.suffix.lower() == ".safetensors":
        return _at(name, path.parent, path.name, "safetensors", (path.name,))
    siblings = [entry.name for entry in path.parent.iterdir()]
    for model in group_parts([*siblings, path.name]):
        if path.name in model.files:
            if not model.is_complete:
                raise BadWeights(f"'{name}' is one of several parts, and not all are there.")
            return _at(name, path.parent, model.files[0], "gguf", model.files)
    return _at(name, path.parent, path.name, "gguf", (path.name,))


def local_name(hub: Hub, repo: str, file_format: Format, precision: str | None, main: str) -> str:
    """The name that a client asks for: the catalogue's where it has one, else the hub's."""
    known = row_of_repository(hub, repo)
    if known is not None and precision is not None:
        row, weight_files = known
        for files in weight_files:
            if files.format == file_format and precisions.same(files.precision, precision):
                return f"{row.name}:{files.precision}"
    source = f"{HUB_PREFIXES[hub]}:{repo}"
    if file_format == "safetensors":
        return source
    return f"{source}:{precision or main}"


def require_whole(model: LocalModel) -> None:
    """Raises BadWeights where a file is gone, cut or no GGUF: what can be seen without hashing."""
    for file in model.files:
        try:
            size = (model.folder / file).stat().st_size
        except OSError as error:
            raise _damaged(model, f"'{file}' is gone") from error
        expected = model.sizes.get(file)
        if expected is not None and size != expected:
            raise _damaged(model, f"'{file}' has {size} bytes instead of {expected}")
    if model.format == "gguf" and _first_bytes(model.path) != b"GGUF":
        raise _damaged(model, f"'{model.path.name}' is no GGUF file")
    if model.adapter is not None:
        _require_adapter(model, model.adapter)


def _require_adapter(model: LocalModel, adapter: Path) -> None:
    """Its format is the base's: a GGUF file, or PEFT's folder."""
    is_there = _first_bytes(adapter) == b"GGUF" if model.format == "gguf" else adapter.is_dir()
    if not is_there:
        raise _damaged(model, "its adapter is gone or damaged")


def require_no_code(model: LocalModel, *, allows: bool) -> None:
    """Raises BadWeights for a checkpoint that would run code of its own when loaded."""
    why = None if allows else _code_needed(model)
    if why is not None:
        key = f"{model.repo or model.name}@{model.revision or 'path'}"
        hint = f'read that code; to allow it for this revision only, set allow_code = ["{key}"]'
        if checkpoint.is_chatglm(model.folder):
            hint = (
                "that code runs in no engine here, and none of it is needed: "
                f"`hearth quantize {model.name} --to q8_0` makes a GGUF that llama.cpp serves"
            )
        raise BadWeights(
            f"'{model.name}' carries its own Python code: {why}. It is not loaded.", hint=hint
        )


def needs_code(model: LocalModel) -> bool:
    """Whether a model that `find` gave runs code of its own: then that was allowed."""
    return _code_needed(model) is not None


def _code_needed(model: LocalModel) -> str | None:
    """Why the model would run code of its own. A single file is loaded without any."""
    if model.format != "safetensors" or model.path.is_file():
        return None
    try:
        names = [entry.name for entry in model.folder.iterdir() if entry.is_file()]
    except OSError as error:
        raise BadWeights(f"The files of '{model.name}' cannot be read.") from error
    return checkpoint.code_needed(model.folder, names)


def _from_folder(name: str, folder: Path) -> LocalModel:
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    weights = checkpoint.weight_files(names)
    if weights:
        files = tuple(sorted({*weights, *checkpoint.text_files(names)}))
        return _at(name, folder, "", "safetensors", files)
    models = group_parts(names)
    if len(models) != 1:
        found = ", ".join(model.files[0] for model in models[:5])
        raise BadWeights(
            f"The folder of '{name}' holds {len(models)} GGUF models and no safetensors.",
            hint=f"name one file: {found}" if models else None,
        )
    if not models[0].is_complete:
        raise BadWeights(f"'{name}' lacks some of its parts.")
    return _at(name, folder, models[0].files[0], "gguf", models[0].files)


def _at(
    name: str, folder: Path, main: str, file_format: Format, files: tuple[str, ...]
) -> LocalModel:
    stats = [(folder / file).stat() for file in files]
    return LocalModel(
        name=name,
        path=folder / main if main else folder,
        format=file_format,
        precision=precision_of_file(main) if main else checkpoint.precision(folder),
        num_bytes=sum(stat.st_size for stat in stats),
        source="path",
        created_at=int(max(stat.st_mtime for stat in stats)),
        folder=folder,
        files=files,
    )


def _row(hub: Hub, repo: str) -> Row | None:
    known = row_of_repository(hub, repo)
    return None if known is None else known[0]


def _damaged(model: LocalModel, what: str) -> BadWeights:
    if model.source == "tuned":
        return BadWeights(f"The files of '{model.name}' are damaged: {what}.", hint=_TUNE_AGAIN)
    again = "install codehearth again" if model.source == "package" else f"hearth pull {model.name}"
    return BadWeights(
        f"The files of '{model.name}' are damaged: {what}.",
        hint=None if model.source == "path" else f"fetch them again: `{again}`",
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except OSError:
        return b""
