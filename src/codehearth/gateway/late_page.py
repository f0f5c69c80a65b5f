"""The page's place in the application: made in the background, so that the API never waits for it.

What the page is made of is not known here: whoever starts the server brings a `PageMaker`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageMaker:
    """How the page is made, and which addresses are its own. `build` may take seconds."""

    build: Callable[[], ASGIApp]
    owns: Callable[[str], bool]


class LatePage(BaseRoute):
    """The route of the page, the last one: what reads an address that the page owns.

    Until the page is there, a browser gets a small document that asks again by itself.
    """

    path = "/ (page)"  # the label in metrics: the page's files are no routes of their own

    def __init__(self, maker: PageMaker) -> None:
        self._maker = maker
        self._page: ASGIApp | None = None
        self._has_failed = False

    async def build(self) -> None:
        """Makes the page in a thread. A page that cannot be made is logged, the API goes on."""
        try:
            self._page = await asyncio.to_thread(self._maker.build)
        except Exception:
            self._has_failed = True
            log.exception("the page cannot be served")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if is_read and self._maker.owns(scope["path"]):
            return Match.FULL, {"route": self}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._page or self._waiting())(scope, receive, send)

    def _waiting(self) -> Response:
        text = _FAILED if self._has_failed else _COMING
        return HTMLResponse(_document(text, is_final=self._has_failed), 503, headers=_HEADERS)


_COMING = "The page is being made ready …<br>页面正在准备…"
_FAILED = (
    "The page cannot be served; <code>hearth logs</code> says why. The API works.<br>"
    "页面无法显示，原因见 <code>hearth logs</code>。API 可以正常使用。"
)

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "retry-after": "1",
}


def _document(text: str, *, is_final: bool) -> str:
    again = "" if is_final else '<meta http-equiv="refresh" content="1">'
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">{again}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CodeHearth</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.7 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC",
         sans-serif; display: grid; place-content: center; min-height: 90vh; text-align: center }}
</style>
<h1>CodeHearth</h1>
<p>{text}</p>
</html>
"""
