"""Hugging Face, or a mirror of it, through `huggingface_hub`.

The library lists repositories, knows tokens, proxies and the layout of the cache that every
Hugging Face program on this machine shares, and deletes from it. The bytes are fetched by
`transfer` over the library's session (see there why). Files above 50 GB are left to the library
and its xet client: the hub serves those in no other way. For all others plain HTTP is used even
where xet is offered: xet cannot continue a download after the program was stopped.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from codehearth import __version__
from codehearth.errors import HubFailed
from codehearth.models import transfer
from codehearth.models.hubs import HubPlaces, Listing, RemoteFile, Report
from codehearth.models.huggingface_errors import DEFAULT_REVISION, translated
from codehearth.models.huggingface_stream import stream_from
from codehearth.models.names import Hub, is_safe_file_path

# What the hub's content network serves over plain HTTP (huggingface_hub.constants).
PLAIN_LIMIT_BYTES = 50_000_000_000

_LISTING_TIMEOUT_S = 20.0


class HuggingFace:
    """A client of the hub at `places.huggingface_endpoint`."""

    name: Hub = "huggingface"

    def __init__(self, places: HubPlaces, *, plain_limit_bytes: int = PLAIN_LIMIT_BYTES) -> None:
        self._endpoint = places.huggingface_endpoint
        self._token = places.huggingface_token
        self._plain_limit_bytes = plain_limit_bytes
        self.cache = places.huggingface_cache

    def listing(self, repo: str, revision: str | None) -> Listing:
        asked = revision or DEFAULT_REVISION
        with translated(repo, asked):
            api = _library().HfApi(
                endpoint=self._endpoint,
                token=self._token,
                library_name="codehearth",
                library_version=__version__,
            )
            try:
                info = api.model_info(
                    repo, revision=asked, files_metadata=True, timeout=_LISTING_TIMEOUT_S
                )
                files = tuple(_remote_file(sibling) for sibling in info.siblings or ())
                commit = str(info.sha or "")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise HubFailed(
                    f"What answers for Hugging Face sent no list of the files of '{repo}'.",
                    hint="a proxy or a login page may answer for it; check HTTPS_PROXY and "
                    "HF_ENDPOINT",
                ) from error
        if not commit.isalnum():
            raise HubFailed(f"The hub names no commit for '{repo}'.")
        return Listing("huggingface", repo, asked, commit, files)

    def missing_bytes(self, listing: Listing, file: RemoteFile) -> int:
        blob = self._blob(listing, file)
        for place in (self._snapshot(listing) / file.path, blob):
            if _size(place) == file.num_bytes:
                return 0
        return max(0, file.num_bytes - (_size(_partial(blob)) or 0))

    def download(self, listing: Listing, file: RemoteFile, report: Report) -> Path:
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        blob = self._blob(listing, file)
        pointer = self._snapshot(listing) / file.path
        lock = self.cache / ".locks" / _folder_name(listing.repo) / f"{blob.name}.lock"
        with translated(listing.repo, listing.commit):
            for folder in (blob.parent, pointer.parent, lock.parent):
                folder.mkdir(parents=True, exist_ok=True)
            if file.num_bytes > self._plain_limit_bytes:
                # It takes the lock itself.
                self._fetch_by_library(listing, file, pointer, report)
            else:
                # The library's own lock: no two programs write one blob.
                with WeakFileLock(lock):
                    self._fetch_over_http(listing, file, pointer, report)
            self._remember_revision(listing)
        return pointer

    def remove(self, folder: Path, files: tuple[str, ...]) -> int:
        from codehearth.models.removal import remove_from_huggingface_cache

        return remove_from_huggingface_cache(self.cache, folder, files)

    def discard(self, repo: str, revision: str | None) -> int:
        """Only partial files that bear the name of a blob: the library's own, which another
        program may be writing, have names that are made up."""
        from codehearth.models.removal import remove_partial_files

        folder = self.cache / _folder_name(repo) / "blobs"
        return remove_partial_files(self.cache, folder, re.compile("[0-9a-f]{40}|[0-9a-f]{64}"))

    def _fetch_over_http(
        self, listing: Listing, file: RemoteFile, pointer: Path, report: Report
    ) -> None:
        if transfer.is_intact(pointer, file, report):
            return
        blob = self._blob(listing, file)
        if not transfer.is_intact(blob, file, report):
            self._fetch_blob(listing, file, blob, report)
        _link(blob, pointer)

    def _fetch_blob(self, listing: Listing, file: RemoteFile, blob: Path, report: Report) -> None:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(listing.repo, file.path, revision=listing.commit, endpoint=self._endpoint)
        partial = _partial(blob)

        def open_stream(offset: int) -> AbstractContextManager[transfer.Stream]:
            return stream_from(url, offset, token=self._token)

        was_begun = bool(_size(partial))
        transfer.fetch(open_stream, partial, file, report)
        if was_begun and not transfer.is_intact(partial, file, report):
            # The beginning was somebody else's, or damaged on disk: again, all of it ours.
            partial.unlink()
            was_begun = False
            transfer.fetch(open_stream, partial, file, report)
        if not was_begun and not transfer.is_intact(partial, file, report):
            partial.unlink()
            raise _wrong_hash(file)
        partial.replace(blob)

    def _fetch_by_library(
        self, listing: Listing, file: RemoteFile, pointer: Path, report: Report
    ) -> None:
        from huggingface_hub import hf_hub_download

        if transfer.is_intact(pointer, file, report):
            return
        pointer.unlink(missing_ok=True)
        hf_hub_download(
            listing.repo,
            file.path,
            revision=listing.commit,
            cache_dir=self.cache,
            endpoint=self._endpoint,
            token=self._token,
            tqdm_class=_bar(report),
        )
        if not transfer.is_intact(pointer, file, report):
            self._blob(listing, file).unlink(missing_ok=True)
            raise _wrong_hash(file)

    def _snapshot(self, listing: Listing) -> Path:
        return self.cache / _folder_name(listing.repo) / "snapshots" / listing.commit

    def _blob(self, listing: Listing, file: RemoteFile) -> Path:
        if not is_safe_file_path(file.path):
            raise HubFailed("The hub lists a file whose name leads out of its folder.")
        name = file.sha256 or file.git_blob
        if name is None or not name.isalnum():
            raise HubFailed(f"The hub names no hash for '{file.path}'.")
        return self.cache / _folder_name(listing.repo) / "blobs" / name

    def _remember_revision(self, listing: Listing) -> None:
        """Writes `refs/main`, by which other programs find the snapshot without a network."""
        if listing.revision == listing.commit:
            return
        ref = self.cache / _folder_name(listing.repo) / "refs" / listing.revision
        if ref.is_file() and ref.read_text() == listing.commit:
            return
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f"{ref.name}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.write_text(listing.commit)
        temporary.replace(ref)


def _bar(report: Report) -> type:
    """The least of a tqdm that the library needs in order to tell us of its progress."""

    class Bar:
        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            self.n = initial

        def update(self, count: float | None = 1) -> None:
            self.n += int(count or 0)
            report("download", self.n)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...
        def close(self) -> None: ...
        def refresh(self, *_: object, **__: object) -> None: ...
        def set_description(self, *_: object, **__: object) -> None: ...

    return Bar


def _library() -> Any:
    """huggingface_hub, told not to report home about the program that uses it."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    return huggingface_hub


def _remote_file(sibling: Any) -> RemoteFile:
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, int(sibling.lfs.size), sha256=sibling.lfs.sha256)
    return RemoteFile(sibling.rfilename, int(sibling.size or 0), git_blob=sibling.blob_id)


def _link(blob: Path, pointer: Path) -> None:
    """Makes the snapshot's entry: a relative symlink, or the file itself where links fail."""
    target = os.path.relpath(blob, pointer.parent)
    if pointer.is_symlink() and str(pointer.readlink()) == target:
        return
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(target)
    except OSError:
        shutil.move(blob, pointer)


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _folder_name(repo: str) -> str:
    return "models--" + repo.replace("/", "--")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _wrong_hash(file: RemoteFile) -> HubFailed:
    return HubFailed(
        f"'{file.path}' arrived, but its hash is not the one that the hub names.",
        hint="try again; if it happens again, the file on the hub or the line is at fault",
    )
