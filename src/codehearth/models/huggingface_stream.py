"""The body of a file on Hugging Face, wherever the hub sends us for it.

A token goes to the hub's own origin and nowhere else: redirects are followed here, one by one,
and a redirect from https to http is refused, so that an inner host without a certificate cannot
be reached through a redirect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from codehearth import __version__
from codehearth.errors import HubFailed
from codehearth.models import transfer

_TIMEOUT_S = 30.0
_MAX_REDIRECTS = 8

# Answers of a hub in trouble, worth another attempt.
_PASSING = (408, 429, 500, 502, 503, 504)


@contextmanager
def stream_from(url: str, offset: int, *, token: str | None) -> Iterator[transfer.Stream]:
    """The body of `url` from `offset` on; raises ConnectionLost, HubFailed or the library's own.

    The connection, proxies and certificates are those of huggingface_hub's session.
    """
    import httpx2
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = build_hf_headers(token=token, library_name="codehearth", library_version=__version__)
    headers["Accept-Encoding"] = "identity"
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        for _ in range(_MAX_REDIRECTS):
            with get_session().stream(
                "GET", url, headers=headers, timeout=_TIMEOUT_S, follow_redirects=False
            ) as response:
                if response.has_redirect_location:
                    url, headers = redirected(url, response.headers["Location"], headers)
                    continue
                if response.status_code in _PASSING:
                    raise transfer.ConnectionLost(f"the hub answered {response.status_code}")
                if response.status_code != 416:
                    hf_raise_for_status(response)
                yield _HttpxStream(response)
                return
    except httpx2.TransportError as error:
        raise transfer.ConnectionLost(type(error).__name__) from error
    raise HubFailed("The hub redirects in a circle.")


def redirected(url: str, location: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Where a redirect leads, and the headers to send there: no token to another origin.

    Raises HubFailed for a redirect from https to http, or to no web address at all.
    """
    target = urljoin(url, location)
    old, new = urlsplit(url), urlsplit(target)
    if new.scheme not in ("https", "http") or (old.scheme == "https" and new.scheme != "https"):
        raise HubFailed("The hub redirects to an address that is not safe.")
    if (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port):
        return target, dict(headers)
    kept = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return target, kept


class _HttpxStream:
    def __init__(self, response: Any) -> None:
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def chunks(self) -> Iterator[bytes]:
        # As they come: with a size, what waits for a chunk to fill is lost when the line is cut.
        yield from self._response.iter_bytes()
