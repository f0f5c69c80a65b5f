"""The page's own files: scripts, style, texts and icon, compressed once and cached for ever.

Their address holds a digest of them all (`/page/1a2b3c4d/app.js`), so a browser keeps them until
they change, and scripts that import each other stay in one version.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

FOLDER = Path(__file__).parent / "static"
PREFIX = "/page/"

_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json"}


@dataclass(frozen=True)
class _File:
    body: bytes
    compressed: bytes
    media_type: str


class PageFiles:
    """The ASGI application that serves them. `version` is the digest in their address."""

    def __init__(self) -> None:
        paths = sorted(path for path in FOLDER.rglob("*") if path.is_file())
        self._files = {path.relative_to(FOLDER).as_posix(): _read(path) for path in paths}
        self._files["clients.json"] = _clients()
        digest = hashlib.sha256()
        for name, file in self._files.items():
            digest.update(name.encode() + b"\0" + file.body)
        self.version = digest.hexdigest()[:12]

    def address(self, name: str) -> str:
        """Where the file `name` is served."""
        assert name in self._files, name
        return f"{PREFIX}{self.version}/{name}"

    def scripts(self) -> list[str]:
        """The addresses of the scripts that the first view needs, for preloading."""
        return [
            self.address(name)
            for name in self._files
            if name.endswith(".js") and name not in _LATER
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version, _, name = scope["path"].removeprefix(PREFIX).partition("/")
        file = self._files.get(name)
        if file is None:
            await Response("There is no such file.\n", 404, media_type="text/plain")(
                scope, receive, send
            )
            return
        # A page of before an update asks by the old address: it gets what there is, uncached.
        headers = {"cache-control": _FOR_EVER if version == self.version else "no-cache"}
        takes_gzip = any(
            key == b"accept-encoding" and b"gzip" in value for key, value in scope["headers"]
        )
        if takes_gzip:
            headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        body = file.compressed if takes_gzip else file.body
        await Response(body, headers=headers, media_type=file.media_type)(scope, receive, send)


_LATER = frozenset(
    {
        "complete.js",
        "models.js",
        "compare.js",
        "measure.js",
        "tune.js",
        "connect.js",
        "clients.js",
        "plots.js",
    }
)
"""Views that are fetched when somebody goes there."""


def _clients() -> _File:
    """The table of editors and tools, for the page: the one that `hearth connect` reads."""
    table = resources.files("codehearth.data").joinpath("clients.toml").read_text("utf-8")
    return _file(json.dumps(tomllib.loads(table), ensure_ascii=False).encode(), _TYPES[".json"])


def _read(path: Path) -> _File:
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return _file(path.read_bytes(), kind or "application/octet-stream")


def _file(body: bytes, media_type: str) -> _File:
    return _File(body, gzip.compress(body, 9, mtime=0), media_type)
