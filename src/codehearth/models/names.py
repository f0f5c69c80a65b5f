"""Names of models, as people and clients write them; pure.

    qwen2.5-coder-1.5b             a row of the catalogue
    qwen2.5-coder-1.5b:int4        ... in one precision
    qwen2.5-coder:1.5b             ... as Ollama writes it
    hf:org/repo[:file-or-quant][@revision]     a repository on Hugging Face
    ms:org/repo[:file-or-quant][@revision]     a repository on ModelScope
    ./model.gguf, /models/folder   a path, only where the caller allows one

A name can come from anybody who can reach the server, and parts of it become file names and
addresses later. So everything is bounded and checked here, once, and what leaves this module can
be joined to a folder without a second look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codehearth.errors import InvalidRequest

Hub = Literal["huggingface", "modelscope"]

MAX_NAME_CHARACTERS = 512

HUB_PREFIXES: dict[Hub, str] = {"huggingface": "hf", "modelscope": "ms"}

# What people paste or know from other tools, and the hub that it means.
_HUB_SPELLINGS: tuple[tuple[str, Hub], ...] = (
    ("hf:", "huggingface"),
    ("huggingface:", "huggingface"),
    ("hf.co/", "huggingface"),
    ("huggingface.co/", "huggingface"),
    ("ms:", "modelscope"),
    ("modelscope:", "modelscope"),
    ("modelscope.cn/models/", "modelscope"),
    ("www.modelscope.cn/models/", "modelscope"),
    ("modelscope.cn/", "modelscope"),
)

_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_CATALOGUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/ -]{0,127}")
_PRECISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class CatalogueName:
    """A name to look up in the catalogue; `precision` may also be a size, as `7b`."""

    name: str
    precision: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return self.name + _tail(self.precision, self.revision)


@dataclass(frozen=True)
class HubName:
    """A repository on a hub; `selector` is a file's path in it or the name of a quantisation."""

    hub: Hub
    repo: str
    selector: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        return f"{HUB_PREFIXES[self.hub]}:{self.repo}" + _tail(self.selector, self.revision)

    @property
    def source(self) -> str:
        """The repository alone: `hf:org/repo`."""
        return f"{HUB_PREFIXES[self.hub]}:{self.repo}"


@dataclass(frozen=True)
class PathName:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


ModelName = CatalogueName | HubName | PathName


def parse_name(text: str, *, allow_path: bool = False) -> ModelName:
    """The name in `text`; raises InvalidRequest.

    A path is taken only with `allow_path`: the command line of the machine's own user. What comes
    over HTTP never names a path.
    """
    if not isinstance(text, str) or not text.strip():
        raise _refused("A model's name cannot be empty.")
    text = text.strip(" ")
    if len(text) > MAX_NAME_CHARACTERS:
        raise _refused(
            f"A model's name has at most {MAX_NAME_CHARACTERS} characters; this has {len(text)}."
        )
    if not text.isprintable():
        # False for control characters, line ends and lone surrogates alike.
        raise _refused("A model's name holds characters that cannot be printed.")
    if allow_path and _looks_like_path(text):
        return PathName(Path(text.removeprefix("file:")).expanduser())
    hub, rest = _split_hub(text)
    if hub is not None:
        return _hub_name(hub, rest)
    return _catalogue_name(text)


def is_safe_file_path(path: str) -> bool:
    """Whether `path` is a plain relative path with forward slashes that stays in its folder.

    Also asked of file lists that come from a hub: a list is somebody's text.
    """
    if not 0 < len(path) <= 400 or not path.isprintable() or "\\" in path or ":" in path:
        return False
    segments = path.split("/")
    return len(segments) <= 8 and not any(
        segment in ("", ".", "..") or segment != segment.strip() or len(segment.encode()) > 255
        for segment in segments
    )


def is_safe_repository(repo: str) -> bool:
    """Whether `repo` is `org/name` as both hubs form it, safe in a folder's name.

    `--` is refused too: the hubs' caches write `org/name` as `org--name`, so that with it two
    repositories could share one folder.
    """
    return (
        _REPOSITORY.fullmatch(repo) is not None
        and ".." not in repo
        and "--" not in repo
        and not any(part.endswith((".", "-", ".git", ".lock")) for part in repo.split("/"))
    )


def _split_hub(text: str) -> tuple[Hub | None, str]:
    address = re.sub(r"^https://", "", text)
    for spelling, hub in _HUB_SPELLINGS:
        if address.lower().startswith(spelling):
            return hub, address[len(spelling) :]
    return None, text


def _hub_name(hub: Hub, text: str) -> HubName:
    text, revision = _split_revision(text.rstrip("/"))
    repo, _, selector = text.partition(":")
    if not is_safe_repository(repo):
        raise _refused(
            "That is not a repository: it must be `organisation/name` "
            "of letters, digits, '.', '_' and '-'.",
            hint=f"write {HUB_PREFIXES[hub]}:organisation/name, then :FILE or :QUANT if you like",
        )
    if selector and not is_safe_file_path(selector):
        raise _refused("What follows the repository must be a file in it or a quantisation.")
    return HubName(hub, repo, selector or None, revision)


def _catalogue_name(text: str) -> CatalogueName:
    text, revision = _split_revision(text)
    name, _, precision = text.partition(":")
    if not _CATALOGUE_NAME.fullmatch(name) or ".." in name or "//" in name:
        raise _refused(
            "That is not a model's name.",
            hint="`hearth ls --all` lists the names; hf:org/repo and ms:org/repo name repositories",
        )
    if precision and not _PRECISION.fullmatch(precision):
        raise _refused("What follows ':' must be a precision, such as q4_k_m or bf16.")
    return CatalogueName(name, precision or None, revision)


def _split_revision(text: str) -> tuple[str, str | None]:
    head, at, revision = text.rpartition("@")
    if not at:
        return text, None
    if (
        not _REVISION.fullmatch(revision)
        or ".." in revision
        or "//" in revision
        or revision.endswith(("/", ".", ".lock"))
    ):
        raise _refused("What follows '@' must be a branch, a tag or a commit.")
    return head, revision


def _looks_like_path(text: str) -> bool:
    if text.startswith(("/", "./", "../", "~", "file:")) or text in (".", ".."):
        return True
    return _split_hub(text)[0] is None and text.lower().endswith((".gguf", ".safetensors"))


def _tail(selector: str | None, revision: str | None) -> str:
    return (f":{selector}" if selector else "") + (f"@{revision}" if revision else "")


def _refused(message: str, *, hint: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, param="model", hint=hint)
