"""The page as an ASGI application: Gradio's document with our island in it.

Gradio brings the document, its front end and the place of the island; the island's scripts do the
rest over the gateway's public API, so that nothing here knows models or conversations.
`docs/decisions/page-is-an-island.md` says why.

Only the addresses that the document needs are let through to Gradio: its routes for files,
uploads, queues and proxies are not reachable.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64encode
from html import escape
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codehearth.web.files import PREFIX, PageFiles

# Gradio reads these when it is imported and when a page is built.
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

_GRADIO_PATHS = ("/assets/", "/static/")
_GRADIO_FILES = frozenset({"/theme.css"})

_CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio's front end makes a function of the island's template: that is an eval.
        "script-src 'self' 'unsafe-eval' {scripts}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)

# Before the first paint: language and colours as this browser last had them.
_FIRST_SCRIPT = """{
const root = document.documentElement, theme = localStorage.getItem("hearth.theme") || "system";
root.dataset.theme = theme === "dark" || (theme === "system"
  && matchMedia("(prefers-color-scheme: dark)").matches) ? "dark" : "light";
root.lang = localStorage.getItem("hearth.language") || (/^zh/i.test(navigator.language)
  ? "zh-CN" : "en");
}"""

_ISLAND = """<div id="hearth" class="hearth" data-state="waiting">
<div class="waiting" role="status">CodeHearth …</div>
<noscript>This page needs JavaScript. 此页面需要 JavaScript。</noscript></div>"""


def page_paths(path: str) -> bool:
    """Whether an address belongs to the page."""
    return (
        path in ("/", "/favicon.ico")
        or path in _GRADIO_FILES
        or path.startswith((*_GRADIO_PATHS, PREFIX))
    )


def build_page() -> ASGIApp:
    """Imports Gradio (seconds, and some 90 MB) and puts the page together."""
    files = PageFiles()
    return Page(_gradio_app(), files)


def _gradio_app() -> ASGIApp:
    os.environ.update(_QUIET)
    import gradio
    from fastapi import FastAPI

    with gradio.Blocks(title="CodeHearth", analytics_enabled=False, fill_width=True) as blocks:
        gradio.HTML(_ISLAND, js_on_load=None, apply_default_css=False, padding=False)
    system: Any = ("system-ui", "sans-serif")
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gradio.themes.Base(font=system, font_mono=("ui-monospace", "monospace")),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
    return app


class Page:
    """Sends a request to the files, to Gradio, or away."""

    def __init__(self, gradio_app: ASGIApp, files: PageFiles) -> None:
        self._gradio_app = gradio_app
        self._files = files
        self._head = _head(files)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/favicon.ico":
            path = self._files.address("favicon.svg")
            scope = {**scope, "path": path}
        if path.startswith(PREFIX):
            await self._files(scope, receive, send)
        elif path == "/":
            document = _Document(send, self._head)
            await self._gradio_app(scope, receive, document.take)
        elif path in _GRADIO_FILES or path.startswith(_GRADIO_PATHS):
            await self._gradio_app(scope, receive, send)
        else:
            await Response("There is nothing here.\n", 404, media_type="text/plain")(
                scope, receive, send
            )


class _Document:
    """Holds Gradio's document back until it is whole, and makes it ours."""

    def __init__(self, send: Send, head: str) -> None:
        self._send = send
        self._head = head
        self._start: Message = {}
        self._body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        document = self._changed(self._body.decode())
        body = document.encode()
        headers = MutableHeaders(scope=self._start)
        if self._body:  # a HEAD request has none
            headers["content-length"] = str(len(body))
        headers["content-security-policy"] = _policy(document)
        headers["referrer-policy"] = "no-referrer"
        headers["cache-control"] = "no-store"
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})

    def _changed(self, document: str) -> str:
        """Our head first, so that our scripts load beside Gradio's; its cards for sharing out."""
        kept = _without_sharing_cards(document)
        return kept.replace('<meta charset="utf-8" />', self._head, 1)


def _policy(document: str) -> str:
    """The policy that lets the scripts of this document run, by their digests, and no others."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _SCRIPT.findall(document))
    names = (f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
    return _CONTENT_POLICY.replace("{scripts}", " ".join(names))


def _without_sharing_cards(document: str) -> str:
    """Gradio names pictures on other hosts for pages that are shared; nobody shares this one."""
    parts = document.split("<meta")
    kept = [parts[0]]
    for part in parts[1:]:
        tag, end, rest = part.partition("/>")
        is_card = 'property="og:' in tag or 'name="twitter:' in tag
        kept.append(rest if is_card else f"<meta{tag}{end}{rest}")
    return "".join(kept)


def _head(files: PageFiles) -> str:
    tags = [
        '<meta charset="utf-8" />',
        f"<script>{_FIRST_SCRIPT}</script>",
        f'<link rel="stylesheet" href="{escape(files.address("page.css"))}" />',
        *(f'<link rel="modulepreload" href="{escape(name)}" />' for name in files.scripts()),
        f'<script type="module" src="{escape(files.address("app.js"))}"></script>',
        f'<link rel="icon" type="image/svg+xml" href="{escape(files.address("favicon.svg"))}" />',
        '<meta name="color-scheme" content="light dark" />',
        '<meta name="referrer" content="no-referrer" />',
    ]
    return "\n".join(tags)
