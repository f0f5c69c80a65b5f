"""ModelScope (modelscope.cn, modelscope.ai or a mirror), through `modelscope_hub`.

The library lists, downloads, continues and checks sha256 by itself, into the cache that every
ModelScope program on this machine shares. Here its answers are put into our words.

ModelScope names files by branch and not by commit on disk. The commit that is shown is the one
that changed a file last; what pins a model is the sha256 of each of its files, which the hub
lists for all of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from codehearth.errors import HearthError, HubFailed, ModelNotFound
from codehearth.models import transfer
from codehearth.models.caches import modelscope_folder
from codehearth.models.hubs import (
    DownloadBroken,
    HubPlaces,
    HubUnreachable,
    Listing,
    RemoteFile,
    Report,
    is_reachable,
)
from codehearth.models.names import Hub, is_safe_file_path

DEFAULT_REVISION = "master"

_CONNECT_TIMEOUT_S = 10.0


class ModelScope:
    """A client of the hub at `places.modelscope_endpoint`."""

    name: Hub = "modelscope"

    def __init__(self, places: HubPlaces) -> None:
        self._places = places
        self.cache = places.modelscope_cache

    def listing(self, repo: str, revision: str | None) -> Listing:
        asked = revision or DEFAULT_REVISION
        if not is_reachable(self._places.modelscope_endpoint, timeout_s=_CONNECT_TIMEOUT_S):
            # The library would try four times, with pauses.
            raise _unreachable("no answer")
        with _translated(repo, asked):
            entries = self._api.legacy.list_repo_files(
                repo_id=repo, repo_type="model", revision=asked, recursive=True
            )
            try:
                blobs = [entry for entry in entries if entry.get("Type", "blob") != "tree"]
                files = tuple(_remote_file(entry) for entry in blobs)
                commit = _commit(blobs)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise _no_list(repo) from error
        if not files:
            # An unknown revision is answered with an empty list, not with an error.
            raise _not_found(repo, asked)
        return Listing("modelscope", repo, asked, commit, files)

    def missing_bytes(self, listing: Listing, file: RemoteFile) -> int:
        target = self._target(listing, file)
        if _size(target) == file.num_bytes:
            return 0
        begun = target.with_name(f"{target.name}.incomplete")
        return max(0, file.num_bytes - (_size(begun) or 0))

    def download(self, listing: Listing, file: RemoteFile, report: Report) -> Path:
        from modelscope_hub.errors import RequestTimeoutError

        target = self._target(listing, file)
        begun = target.with_name(f"{target.name}.incomplete")
        with _translated(listing.repo, listing.revision, begun):
            while True:
                before = _size(begun) or 0
                try:
                    return self._download_once(listing, file, report)
                except _Stopped as stopped:
                    raise stopped.reason from None
                except RequestTimeoutError:
                    # The library gives each file an hour. A slow line takes as many as it needs.
                    if (_size(begun) or 0) <= before:
                        raise

    def remove(self, folder: Path, files: tuple[str, ...]) -> int:
        from codehearth.models.removal import remove_from_folder

        return remove_from_folder(self.cache, folder, files)

    def discard(self, repo: str, revision: str | None) -> int:
        from codehearth.models.removal import remove_partial_files

        folder = modelscope_folder(self.cache, repo, revision or DEFAULT_REVISION)
        return remove_partial_files(self.cache, folder, re.compile(r".+"))

    def _download_once(self, listing: Listing, file: RemoteFile, report: Report) -> Path:
        path: Path = self._api.downloader.download_file(
            repo_id=listing.repo,
            repo_type="model",
            file_path=file.path,
            revision=listing.revision,
            cache_dir=self.cache,
            expected_sha256=file.sha256,
            file_size=file.num_bytes,
            progress_callbacks=[_callback(report)],
        )
        return path

    def _target(self, listing: Listing, file: RemoteFile) -> Path:
        """Where the library puts the file."""
        if not is_safe_file_path(file.path):
            raise HubFailed("The hub lists a file whose name leads out of its folder.")
        return modelscope_folder(self.cache, listing.repo, listing.revision) / file.path

    @cached_property
    def _api(self) -> Any:
        library = _library()
        config = library.HubConfig(
            endpoint=self._places.modelscope_endpoint,
            cache_dir=self.cache,
            config_dir=self._places.modelscope_home,
            token=self._places.modelscope_token,
        )
        return library.HubApi(config=config)


def _library() -> Any:
    """modelscope_hub, made silent: progress and errors are shown by whoever asked for them."""
    import modelscope_hub
    import modelscope_hub._download

    download: Any = modelscope_hub._download
    if "MODELSCOPE_LOG_LEVEL" not in os.environ:
        logging.getLogger("modelscope_hub").setLevel(logging.ERROR)
    # The library draws its own bar on stderr and has no switch for it.
    if not isinstance(download.tqdm, partial):
        download.tqdm = partial(download.tqdm, disable=True)
    return modelscope_hub


class _Stopped(BaseException):
    """What `report` raised, on its way past the library: an Exception it would take for a fault
    of the line and try again."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason


def _callback(report: Report) -> type:
    """The library makes one object of this class a file and an attempt."""
    lock = threading.Lock()

    class Callback:
        def __init__(self, _name: str, _num_bytes: int) -> None:
            self._done = 0

        def update(self, count: int) -> None:
            with lock:
                self._done += count
                try:
                    report("download", max(0, self._done))
                except Exception as error:
                    raise _Stopped(error) from error

        def end(self) -> None: ...

    return Callback


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    sha256 = entry.get("Sha256") or None
    if sha256 is not None and (len(sha256) != 64 or not sha256.isalnum()):
        raise ValueError("not a sha256")
    return RemoteFile(str(entry["Path"]), int(entry["Size"]), sha256=sha256)


def _commit(entries: list[dict[str, Any]]) -> str:
    """The commit that changed a file last; a hash of the list where the hub names none."""
    named = [
        (int(entry.get("CommittedDate") or 0), str(entry["Revision"]))
        for entry in entries
        if entry.get("Revision")
    ]
    if named:
        commit = max(named)[1]
        if not commit.isalnum():
            raise ValueError("not a commit")
        return commit
    lines = sorted(f"{entry['Path']} {entry.get('Sha256')}" for entry in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:40]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextmanager
def _translated(repo: str, revision: str, begun: Path | None = None) -> Iterator[None]:
    """Turns the library's errors into ours; `begun` is a file whose part may have arrived."""
    import requests
    from modelscope_hub import errors

    try:
        yield
    except HearthError:
        raise
    except errors.NotExistError as error:
        raise _not_found(repo, revision) from error
    except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
        raise HubFailed(
            f"ModelScope does not show '{repo}' to us.",
            hint="it is private, gated or misspelt; MODELSCOPE_API_TOKEN must be allowed to read",
        ) from error
    except errors.FileSizeMismatchError as error:
        raise HubFailed(
            "ModelScope sends another number of bytes than it lists: the file changed, or a web "
            "page came instead of it.",
            hint="try again; a proxy or a login page may answer for the hub",
        ) from error
    except errors.FileIntegrityError as error:
        raise HubFailed(
            "A file arrived, but its hash is not the one that ModelScope names.",
            hint="try again; if it happens again, the file on the hub or the line is at fault",
        ) from error
    except requests.exceptions.InvalidJSONError as error:
        raise _no_list(repo) from error
    except (errors.NetworkError, errors.ServerError, requests.RequestException) as error:
        if begun is not None and _size(begun):
            raise DownloadBroken(
                f"A file stops arriving from ModelScope; {_size(begun)} bytes of it are kept.",
                hint="try again: the download goes on where it stopped",
            ) from error
        raise _unreachable(type(error).__name__) from error
    except errors.HubError as error:
        raise HubFailed(f"ModelScope failed for '{repo}' ({error.error_code}).") from error
    except OSError as error:
        full = transfer.disk_full(error, Path(repo))
        if full is None:
            raise HubFailed(f"The cache cannot be written: {error.strerror}.") from error
        raise full from error


def _no_list(repo: str) -> HubFailed:
    return HubFailed(
        f"What answers for ModelScope sent no list of the files of '{repo}'.",
        hint="a proxy or a login page may answer for it; check HTTPS_PROXY and MODELSCOPE_ENDPOINT",
    )


def _unreachable(reason: str) -> HubUnreachable:
    return HubUnreachable(
        f"ModelScope could not be reached ({reason}).",
        hint="what arrived is kept; MODELSCOPE_ENDPOINT names another address",
    )


def _not_found(repo: str, revision: str) -> ModelNotFound:
    where = "" if revision == DEFAULT_REVISION else f"@{revision}"
    return ModelNotFound(
        f"ms:{repo}{where}",
        hint="check the spelling on the hub; a private repository needs MODELSCOPE_API_TOKEN",
    )
