"""Bytes of one file from an HTTP hub into a partial file: resumed, bounded, never trusted.

huggingface_hub (2.4) writes each download to a temporary file of its own and deletes it when it
fails: a cut connection is resumed, a stopped program begins again at zero. For files of many
gigabytes on slow lines that is the difference between a model and none. So the bytes are fetched
here, over the library's own HTTP session, into the `<etag>.incomplete` file that it used before.

What is believed of a response is decided in `write_offset`, which is pure.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codehearth.errors import DiskFull, HubFailed
from codehearth.models.hubs import DownloadBroken, HubUnreachable, RemoteFile, Report

CHUNK_BYTES = 1 << 20

# Seconds before each attempt that follows one which brought nothing.
RETRY_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0)


class Stream(Protocol):
    """A response whose body is read piece by piece."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> Iterator[bytes]: ...


class ConnectionLost(Exception):
    """The connection broke or never came to be; trying again may help."""


class StalePartial(Exception):
    """What lies in the partial file cannot be continued; beginning again may help."""


OpenStream = Callable[[int], AbstractContextManager[Stream]]


@dataclass
class _Attempts:
    """How often in a row an attempt brought nothing new."""

    failures: int = 0

    def failed(self, *, brought_something: bool) -> float | None:
        """Seconds to wait before the next attempt; None when it is time to give up."""
        self.failures = 1 if brought_something else self.failures + 1
        if self.failures > len(RETRY_DELAYS_S):
            return None
        return RETRY_DELAYS_S[self.failures - 1]


def fetch(
    open_stream: OpenStream,
    partial: Path,
    file: RemoteFile,
    report: Report,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Fills `partial` up to `file.num_bytes`, continuing what it holds.

    `open_stream` opens the file from an offset on. Raises HubUnreachable (DownloadBroken where a
    part is here) after several attempts in a row that brought nothing, HubFailed where the hub
    sends something else than the file, DiskFull. What arrived stays in `partial`.
    """
    attempts = _Attempts()
    while True:
        before = _size(partial)
        try:
            if _append(open_stream, partial, file, report):
                return
            # The body ended early without an error: some proxies do that.
            problem: Exception = ConnectionLost("the connection ended early")
        except (ConnectionLost, StalePartial) as error:
            problem = error
        delay = attempts.failed(brought_something=_size(partial) > before)
        if delay is None:
            kept = _size(partial)
            raise (DownloadBroken if kept else HubUnreachable)(
                f"'{file.path}' stops arriving: {problem}. "
                f"{kept} of {file.num_bytes} bytes are here and are kept.",
                hint="try again: the download goes on where it stopped",
            ) from problem
        wait(delay)


def write_offset(status: int, headers: Mapping[str, str], *, asked: int, file: RemoteFile) -> int:
    """Where the response's body belongs in the file: `asked`, or 0 for a body that is whole.

    1. 206 must say that it starts where we asked, of a file of the known size.
    2. 200 is the whole file: the server knows no ranges, or we asked for none.
    3. A web page is no file: a login page, a proxy's error.
    4. A length that cannot be right is refused before the first byte is written.

    Raises StalePartial where the partial file must go, HubFailed where nothing helps.
    """
    if status == 416:
        raise StalePartial("the hub refused to continue")
    if status not in (200, 206):
        raise HubFailed(f"The hub answered {status} for '{file.path}'.")
    if headers.get("content-type", "").lower().startswith("text/html"):  # 3
        raise HubFailed(
            f"A web page came instead of '{file.path}'.",
            hint="a proxy or a login page answers for the hub; check HTTPS_PROXY and HF_ENDPOINT",
        )
    if status == 206:  # 1
        start, total = _content_range(headers.get("content-range", ""))
        if start != asked or total not in (None, file.num_bytes):
            raise StalePartial("the hub answered with another part than was asked for")
        return asked
    length = headers.get("content-length", "")  # 2, 4
    is_encoded = headers.get("content-encoding", "identity").lower() not in ("", "identity")
    if length.isdigit() and not is_encoded and int(length) != file.num_bytes:
        raise HubFailed(
            f"'{file.path}' should have {file.num_bytes} bytes, but the hub sends {length}.",
            hint="the file changed on the hub, or something between answers for it; try again",
        )
    return 0


def file_digest(path: Path, algorithm: str, report: Report | None = None) -> str:
    """The hash of a file in hexadecimal; `git` is git's own blob hash."""
    if algorithm == "git":
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(algorithm)
    done = 0
    with path.open("rb") as stream:
        while block := stream.read(4 * CHUNK_BYTES):
            digest.update(block)
            done += len(block)
            if report is not None:
                report("verify", done)
    return digest.hexdigest()


def is_intact(path: Path, file: RemoteFile, report: Report | None = None) -> bool:
    """Whether `path` has the size and the hash that the hub names for `file`."""
    if not path.is_file() or _size(path) != file.num_bytes:
        return False
    if file.sha256 is not None:
        return file_digest(path, "sha256", report) == file.sha256.lower()
    if file.git_blob is not None:
        return file_digest(path, "git", report) == file.git_blob.lower()
    return True


def disk_full(error: OSError, path: Path) -> DiskFull | None:
    """The error to show for a write that failed, None where the disk is not the reason."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return DiskFull(
        f"The disk is full: '{path.name}' could not be written to the end.",
        hint="free some space and pull again; what arrived is kept",
    )


def _append(open_stream: OpenStream, partial: Path, file: RemoteFile, report: Report) -> bool:
    """One attempt; whether the file is whole now."""
    asked = _size(partial)
    if asked > file.num_bytes:
        partial.unlink()
        asked = 0
    report("download", asked)
    if asked == file.num_bytes:
        partial.touch()
        return True
    with open_stream(asked) as stream:
        try:
            offset = write_offset(stream.status, stream.headers, asked=asked, file=file)
        except StalePartial:
            partial.unlink(missing_ok=True)
            raise
        return _write(stream, partial, offset, file, report)


def _write(stream: Stream, partial: Path, offset: int, file: RemoteFile, report: Report) -> bool:
    try:
        with partial.open("ab") as output:
            output.truncate(offset)
            for chunk in stream.chunks():
                if offset + len(chunk) > file.num_bytes:
                    raise HubFailed(
                        f"The hub sends more than the {file.num_bytes} bytes of '{file.path}'."
                    )
                output.write(chunk)
                offset += len(chunk)
                report("download", offset)
            output.flush()
            if offset == file.num_bytes:
                os.fsync(output.fileno())
    except OSError as error:
        full = disk_full(error, partial)
        if full is None:
            raise
        raise full from error
    return offset == file.num_bytes


def _content_range(text: str) -> tuple[int | None, int | None]:
    """Start and total of `bytes 5-9/10`; None for what is not told."""
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]
    if unit.lower() != "bytes" or not start.isdigit():
        return None, None
    return int(start), int(total) if total.isdigit() else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
