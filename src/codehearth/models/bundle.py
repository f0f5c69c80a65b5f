"""What a bundle is: one tar file that brings CodeHearth and models to a machine without internet.

    codehearth-bundle/manifest.json      first, so that room and hashes are known before the rest
    codehearth-bundle/install.sh         made of the packages below, without any registry
    codehearth-bundle/requirements.txt   their versions and hashes
    codehearth-bundle/wheels/*.whl
    codehearth-bundle/models/N/...       the files of model N of the manifest

The manifest lists every other file with its size and SHA-256, in the order of the tar. A bundle
comes from elsewhere, so nothing in it is believed: names stay below their folder, there are no
links, no file that is not listed and none that is missing, and what a model may consist of is what
a hub may send. The hashes find damage; whoever made the bundle can put anything into the packages,
so take bundles only from people you would take a program from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codehearth.errors import BadWeights, HearthError
from codehearth.models import checkpoint
from codehearth.models.local_models import local_name
from codehearth.models.made import MadeModel
from codehearth.models.names import Hub, is_safe_file_path, is_safe_repository, parse_name
from codehearth.models.tuned import ADAPTER, GGUF, GGUF_ADAPTER, MERGED, TunedModel, require_name

FORMAT = 1
ROOT = "codehearth-bundle"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PRECISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PACKAGE_FILE = re.compile(r"(install\.sh|requirements\.txt|wheels/[A-Za-z0-9._+!-]+\.whl)")


@dataclass(frozen=True)
class BundledFile:
    """`path` is below `codehearth-bundle/`."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class HubModel:
    """A model of a hub at one commit. `main` is the file that engines open, '' for the folder."""

    name: str
    hub: Hub
    repo: str
    revision: str
    commit: str
    format: Literal["gguf", "safetensors"]
    precision: str | None
    main: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class LabModel:
    """A model that was made by the lab: its record and its files, one where it is a GGUF."""

    name: str
    record: MadeModel
    files: tuple[str, ...]


@dataclass(frozen=True)
class OwnModel:
    """A model that was tuned: all forms of the version in use, and its record."""

    name: str
    record: TunedModel
    files: tuple[str, ...]


Model = HubModel | LabModel | OwnModel

_KINDS: Mapping[str, type[Model]] = {"hub": HubModel, "made": LabModel, "tuned": OwnModel}


@dataclass(frozen=True)
class Manifest:
    """`python` ("3.11") and `platform` are what the packages are for; both '' without packages."""

    version: str
    python: str
    platform: str
    models: tuple[Model, ...]
    files: tuple[BundledFile, ...]

    @property
    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)

    def files_of(self, index: int) -> tuple[BundledFile, ...]:
        """The files of a model, by its place in `models`."""
        prefix = f"models/{index}/"
        return tuple(file for file in self.files if file.path.startswith(prefix))


def to_json(manifest: Manifest) -> bytes:
    kinds = {kind: name for name, kind in _KINDS.items()}
    models = [{"kind": kinds[type(model)], **asdict(model)} for model in manifest.models]
    return json.dumps({"format": FORMAT, **asdict(manifest), "models": models}, indent=1).encode()


def from_json(text: bytes) -> Manifest:
    """The manifest, checked in every field; raises BadWeights."""
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise damaged(f"its format is {table['format']!r}, and this release reads {FORMAT}")
        manifest = Manifest(
            version=_text(table["version"]),
            python=_text(table["python"]),
            platform=_text(table["platform"]),
            models=tuple(_model(model) for model in table["models"]),
            files=tuple(
                BundledFile(file["path"], file["num_bytes"], file["sha256"])
                for file in table["files"]
            ),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged("its manifest cannot be read") from error
    _check(manifest)
    return manifest


def damaged(what: str) -> BadWeights:
    return BadWeights(
        f"This bundle is not used: {what}.",
        hint="copy it again, or have it made again with `hearth bundle`",
    )


def _model(table: Mapping[str, Any]) -> Model:
    fields = {key: value for key, value in table.items() if key != "kind"}
    fields["files"] = tuple(fields["files"])
    kind = _KINDS[table["kind"]]
    if kind is LabModel:
        fields["record"] = MadeModel(**fields["record"])
    if kind is OwnModel:
        fields["record"] = TunedModel(**fields["record"])
    return kind(**fields)


def _check(manifest: Manifest) -> None:
    """Everything that could lead out of a folder, run code, or be half of something."""
    paths = [file.path for file in manifest.files]
    if len(set(paths)) != len(paths) or len({path.lower() for path in paths}) != len(paths):
        raise damaged("it lists a file twice")
    for file in manifest.files:
        if not _is_sound(file):
            raise damaged(f"it lists {str(file.path)[:80]!r}, which no bundle holds")
    for index, model in enumerate(manifest.models):
        prefix = f"models/{index}/"
        listed = tuple(path.removeprefix(prefix) for path in paths if path.startswith(prefix))
        if not listed or listed != model.files:
            raise damaged(f"the files of its model {str(model.name)[:80]!r} are not those it names")
        if not _is_sound_model(model):
            raise damaged(f"its model {str(model.name)[:80]!r} is not one that a hub could send")
    known = sum(len(model.files) for model in manifest.models)
    if sum(path.startswith("models/") for path in paths) != known:
        raise damaged("it holds files of no model")


def _is_sound(file: BundledFile) -> bool:
    return (
        isinstance(file.path, str)
        and is_safe_file_path(file.path)
        and (_PACKAGE_FILE.fullmatch(file.path) is not None or file.path.startswith("models/"))
        and type(file.num_bytes) is int
        and file.num_bytes >= 0
        and isinstance(file.sha256, str)
        and _SHA256.fullmatch(file.sha256) is not None
    )


def _is_sound_model(model: Model) -> bool:
    if isinstance(model, LabModel):
        is_sound = _is_sound_record(model)
        if is_sound and model.record.is_checkpoint:
            return set(model.files) == _plain(model.files)
        return is_sound and len(model.files) == 1
    if isinstance(model, OwnModel):
        return _is_sound_own(model)
    ggufs = tuple(path for path in model.files if path.endswith(".gguf"))
    plain = {*ggufs, *_plain(model.files)}
    return (
        model.hub in ("huggingface", "modelscope")
        and model.format in ("gguf", "safetensors")
        and (model.precision is None or isinstance(model.precision, str))
        and is_safe_repository(model.repo)
        and all(_REVISION.fullmatch(word) is not None for word in (model.revision, model.commit))
        and (model.main in model.files or model.main == "")
        and set(model.files) == plain
        and model.name
        == local_name(model.hub, model.repo, model.format, model.precision, model.main)
    )


def _plain(files: Iterable[str]) -> frozenset[str]:
    """What of them a checkpoint may hold: weights, and the texts that describe them."""
    names = tuple(files)
    return frozenset({*checkpoint.weight_files(names), *checkpoint.text_files(names)})


def _is_sound_record(model: LabModel) -> bool:
    """Base and precision become a file's name."""
    record = model.record
    texts = (record.base, record.precision, record.sha256, record.identity)
    if not all(isinstance(text, str) for text in texts) or model.name != record.name:
        return False
    try:
        parse_name(record.name)
    except HearthError:
        return False
    return _PRECISION.fullmatch(record.precision) is not None and ".." not in record.precision


def _is_sound_own(model: OwnModel) -> bool:
    """The name becomes a folder's; what lies in it are weights, their texts, and drawings."""
    record = model.record
    texts = (record.base, record.precision, record.sha256, record.identity, record.data_sha256)
    try:
        require_name(record.name)
        parse_name(record.base)  # no path: that would be one of another machine
    except HearthError:
        return False
    return (
        model.name == record.name
        and all(isinstance(text, str) for text in texts)
        and (record.row is None or isinstance(record.row, str))
        and any(path.startswith(f"{MERGED}/") for path in model.files)
        and all(map(_is_sound_own_file, model.files))
    )


def _is_sound_own_file(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if not folder:
        return name in (GGUF, GGUF_ADAPTER, "result.json") or name.endswith((".svg", ".png"))
    is_plain = name.endswith(".safetensors") or bool(checkpoint.text_files([name]))
    return folder in (MERGED, ADAPTER) and is_plain


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise ValueError("text")
    return value
