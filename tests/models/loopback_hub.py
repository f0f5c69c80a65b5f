"""A hub of models on the loopback: enough of Hugging Face's and ModelScope's HTTP for their own
client libraries, and every fault that a line, a proxy or a hub can have, on command.

It is two servers: the hub at 127.0.0.1, and the "content network" at localhost, where the hub
redirects for large files. They are two origins, so that what must not leave the hub (tokens) can
be seen leaving. Every request is kept in `requests`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

WEB_PAGE = b"<!doctype html><html><title>Please log in</title></html>"


@dataclass
class Commit:
    """The files of a repository at one commit. Files named in `large` are LFS files."""

    id: str
    files: dict[str, bytes]
    large: frozenset[str]


@dataclass
class Repository:
    commits: list[Commit] = field(default_factory=list)
    is_gated: bool = False

    def at(self, revision: str) -> Commit | None:
        """`main` and `master` are the newest commit; a commit's id is that commit."""
        if revision in ("main", "master"):
            return self.commits[-1]
        return next((commit for commit in self.commits if commit.id == revision), None)


@dataclass
class Request:
    """One request as it came. `server` is "hub" or "network"."""

    server: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Faults:
    """What goes wrong. Lists are used up, one entry a body; switches stay until they are reset."""

    cut_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ignores_range: bool = False
    wrong_range: bool = False
    sends_web_page: bool = False
    listing_is_web_page: bool = False
    flips_a_bit: bool = False
    sends_too_much: bool = False
    hides_lengths: bool = False
    is_down: bool = False
    # Called before a body's bytes from this offset on, with that offset.
    at_offset: dict[int, Callable[[], None]] = field(default_factory=dict)


class LoopbackHub:
    """Use as a context manager. `faults` may be changed at any time."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.faults = Faults()
        self.token: str | None = None
        self.has_hashes = True
        self._hub = _serve(self, "127.0.0.1", "hub")
        self._network = _serve(self, "127.0.0.1", "network")
        self.endpoint = f"http://127.0.0.1:{self._hub.server_address[1]}"
        self.network = f"http://localhost:{self._network.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._hub, self._network):
            server.shutdown()
            server.server_close()

    def add(
        self, repo: str, files: dict[str, bytes], *, large: tuple[str, ...] | None = None
    ) -> Commit:
        """A new commit of a repository. Weights are LFS files unless `large` says otherwise."""
        if large is None:
            large = tuple(name for name in files if name.endswith((".gguf", ".safetensors")))
        seed = repr((repo, sorted((name, _sha256(body)) for name, body in files.items())))
        commit = Commit(
            hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest(),
            dict(files),
            frozenset(large),
        )
        self.repositories.setdefault(repo, Repository()).commits.append(commit)
        return commit

    def bodies(self, path_part: str) -> list[Request]:
        """The requests for bodies whose address holds `path_part`."""
        return [
            request
            for request in self.requests
            if request.method == "GET" and path_part in unquote(request.path)
        ]

    def blob(self, digest: str) -> bytes | None:
        for repository in self.repositories.values():
            for commit in repository.commits:
                for body in commit.files.values():
                    if _sha256(body) == digest:
                        return body
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that leave are what is tested here."""


def _serve(hub: LoopbackHub, address: str, name: str) -> _Server:
    handler = type("Handler", (_Handler,), {"hub": hub, "server_name_": name})
    server = _Server((address, 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    server_name_: str
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Silence."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(self.server_name_, self.command, self.path, headers))
        if self.hub.faults.is_down:
            self.close_connection = True
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.server_name_ == "network":
            digest = parts.path.rsplit("/", 1)[-1]
            body = self.hub.blob(digest)
            self._send_body(body) if body is not None else self._send(404, b"")
            return
        for pattern, answer in (
            (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self._modelscope_list),
            (r"/api/v1/models/([^/]+/[^/]+)/repo", self._modelscope_file),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self._huggingface_tree),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._huggingface_list),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._huggingface_file),
        ):
            found = re.fullmatch(pattern, parts.path)
            if found is not None:
                answer(query, *(unquote(group or "") for group in found.groups()))
                return
        self._send(200 if parts.path in ("", "/") else 404, b"")

    # Hugging Face

    def _huggingface_list(self, _query: dict[str, str], repo: str, revision: str) -> None:
        if self.hub.faults.listing_is_web_page:
            self._send(200, WEB_PAGE, {"Content-Type": "text/html; charset=utf-8"})
            return
        commit = self._commit(repo, revision or "main")
        if commit is None:
            return
        siblings = [_sibling(name, body, commit) for name, body in commit.files.items()]
        self._send_json({"id": repo, "sha": commit.id, "siblings": siblings, "tags": []})

    def _huggingface_tree(self, _query: dict[str, str], repo: str, revision: str) -> None:
        """Another form of the same list, which `snapshot_download` asks for."""
        commit = self._commit(repo, revision)
        if commit is None:
            return
        entries = []
        for name, body in commit.files.items():
            entry = {"type": "file", "path": name, "size": len(body), "oid": _git_blob(body)}
            if name in commit.large:
                entry["lfs"] = {"oid": _sha256(body), "size": len(body), "pointerSize": 134}
            entries.append(entry)
        self._send_json(entries)

    def _huggingface_file(
        self, _query: dict[str, str], repo: str, revision: str, path: str
    ) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return
        body = commit.files.get(path)
        if body is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.id})
            return
        headers = {"X-Repo-Commit": commit.id, "ETag": f'"{_git_blob(body)}"'}
        if path not in commit.large:
            self._send_body(body, headers)
            return
        headers |= {
            "X-Linked-Etag": f'"{_sha256(body)}"',
            "X-Linked-Size": str(len(body)),
            "Location": f"{self.hub.network}/signed/{quote(path)}/{_sha256(body)}",
        }
        self._send(302, b"", headers)

    # ModelScope

    def _modelscope_list(self, query: dict[str, str], repo: str) -> None:
        if self.hub.faults.listing_is_web_page:
            self._send(200, WEB_PAGE, {"Content-Type": "text/html; charset=utf-8"})
            return
        repository = self._repository(repo)
        if repository is None:
            return
        commit = repository.at(query.get("Revision", "master"))
        entries = [] if commit is None else _modelscope_entries(commit, self.hub)
        self._send_json(
            {"Code": 200, "Success": True, "Message": "ok", "Data": {"Files": entries or None}}
        )

    def _modelscope_file(self, query: dict[str, str], repo: str) -> None:
        repository = self._repository(repo)
        if repository is None:
            return
        commit = repository.at(query.get("Revision", "master"))
        body = None if commit is None else commit.files.get(query.get("FilePath", ""))
        if commit is None or body is None:
            self._send_json({"Code": 10010205001, "Success": False, "Message": "no file"}, 404)
        elif query["FilePath"] in commit.large:
            location = f"{self.hub.network}/signed/{quote(query['FilePath'])}/{_sha256(body)}"
            self._send(302, b"", {"Location": location})
        else:
            self._send_body(body)

    # Both

    def _commit(self, repo: str, revision: str) -> Commit | None:
        repository = self._repository(repo)
        if repository is None:
            return None
        if repository.is_gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            return None
        commit = repository.at(revision)
        if commit is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return commit

    def _repository(self, repo: str) -> Repository | None:
        if self.hub.token is not None and self.hub.token not in (
            self.headers.get("Authorization", "").removeprefix("Bearer "),
        ):
            self._send(401, b"{}", {"X-Error-Message": "Invalid credentials"})
            return None
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self._send_json(
                {"Code": 10010205001, "Success": False, "error": "Repository not found"},
                404,
                {"X-Error-Code": "RepoNotFound"},
            )
        return repository

    def _send_body(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A file's bytes, with whatever the faults do to them."""
        faults = self.hub.faults
        headers = dict(headers or {})
        if self.command == "GET" and faults.statuses:
            self._send(faults.statuses.pop(0), b"", headers)
            return
        if faults.sends_web_page:
            self._send(200, WEB_PAGE, {"Content-Type": "text/html; charset=utf-8"})
            return
        if faults.flips_a_bit and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if faults.sends_too_much:
            body += b"and then some"
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is not None and not faults.ignores_range:
            start = int(asked[1])
            if start >= len(body):
                self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            status = 206
            shown = start + 1 if faults.wrong_range else start
            headers["Content-Range"] = f"bytes {shown}-{len(body) - 1}/{len(body)}"
        headers.setdefault("Content-Type", "application/octet-stream")
        self._send(status, body[start:], headers, start=start)

    def _send_json(
        self, table: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(table).encode()
        self._send(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, start: int = -1
    ) -> None:
        """The answer; `start` says where in its file a body begins, -1 for what is no file."""
        faults = self.hub.faults
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if start >= 0 and faults.hides_lengths:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD" or not body:
            return
        if start >= 0 and faults.cut_after:
            body = body[: faults.cut_after.pop(0)]
            self.close_connection = True
        position = start
        for offset, act in sorted(faults.at_offset.items()):
            if start >= 0 and position <= offset < start + len(body):
                self.wfile.write(body[position - start : offset - start])
                position = offset
                act()
        self.wfile.write(body[position - start :] if start >= 0 else body)


def _sibling(name: str, body: bytes, commit: Commit) -> dict[str, object]:
    entry: dict[str, object] = {
        "rfilename": name,
        "size": len(body),
        "blobId": _git_blob(body),
    }
    if name in commit.large:
        entry["lfs"] = {"sha256": _sha256(body), "size": len(body), "pointerSize": 134}
    return entry


def _modelscope_entries(commit: Commit, hub: LoopbackHub) -> list[dict[str, object]]:
    return [
        {
            "Name": name.rsplit("/", 1)[-1],
            "Path": name,
            "Type": "blob",
            "Size": len(body),
            "Sha256": _sha256(body) if hub.has_hashes else "",
            "IsLFS": name in commit.large,
            "Revision": commit.id,
            "CommittedDate": 1_700_000_000,
        }
        for name, body in commit.files.items()
    ]


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _git_blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
