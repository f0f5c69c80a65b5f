"""The page in a real browser, against real servers: Debian's Chromium, driven by Playwright.

Where there is no Chromium the tests that need one are skipped and say so. No request may leave the
loopback: the browser cannot resolve other names, and each test's requests are looked at.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from engines.children import FAKE
from engines.test_llama_server import HELP
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.system.conftest import Hearth, Server

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 30_000
WITH_PAGE = {"HEARTH_PAGE": "true"}

# At 250 tokens a second, and without an end of its own: what streaming is tested with.
SLOW_SCRIPT = """#!{python}
import os, sys
if "--version" in sys.argv:
    sys.exit(print("version: 6789 (abc)", file=sys.stderr))
if "--help" in sys.argv:
    sys.exit(print({help!r}))
os.environ["FAKE_ENGINE_KEY"] = os.environ["LLAMA_API_KEY"]
socket = sys.argv[sys.argv.index("--host") + 1]
os.execv(sys.executable, [sys.executable, {fake!r}, "--socket", socket, "--tokens", "100000",
    "--token-delay-s", "0.004", "--ready-after-s", os.environ.get("FAKE_READY_AFTER_S", "0"),
    "--text", "one two three **four** `five` six,\\n"])
"""


def chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def chromium_or_skip() -> str:
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium: `make test-page` installs it with apt")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it lives, its event loop is this thread's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_or_skip(),
            args=[
                "--no-sandbox",  # in a container Chromium runs as root
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--disable-background-networking",
            ],
        )
        expect.set_options(timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    return Hearth(tmp_path)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Hearth:
    return Hearth(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def server(home: Hearth) -> Iterator[Server]:
    """The starter model behind a page."""
    chromium_or_skip()
    with home.serving(**WITH_PAGE) as running:
        wait_for_page(running)
        yield running


@pytest.fixture(scope="session")
def slow_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("engine") / "llama-server"
    script.write_text(SLOW_SCRIPT.format(python=sys.executable, help=HELP, fake=str(FAKE)))
    script.chmod(0o755)
    return script


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory, slow_engine: Path) -> Iterator[Server]:
    """A page whose model writes 250 tokens a second for as long as it is asked to."""
    chromium_or_skip()
    slow = Hearth(tmp_path_factory.mktemp("slow"))
    with slow.serving(**WITH_PAGE, HEARTH_LLAMA_SERVER=str(slow_engine)) as running:
        wait_for_page(running)
        yield running


def wait_for_page(server: Server) -> None:
    """Until the page is made; the server says 503 before."""
    while server.get("/", headers={"accept": "text/html"}).status_code == 503:
        assert server.child.poll() is None


OpenPage = Callable[..., Page]
ENDLESS: dict[str, object] = {"parameters": {"max_tokens": 16_000}}


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    """The context of tests that ask for no other: its cache spares them the page's files."""
    context = browser.new_context(locale="en-US")
    yield context
    context.close()


@pytest.fixture
def open_page(browser: Browser, shared_context: BrowserContext) -> Iterator[OpenPage]:
    """Opens a page of a server with nothing remembered; options make a browser of its own."""
    pages: list[Page] = []
    wrong: list[str] = []
    asked: list[str] = []

    def open_one(
        server: Server,
        path: str = "/",
        *,
        preferences: dict[str, object] | None = None,
        **options: object,
    ) -> Page:
        httpx2.put(server.url + "/hearth/preferences", json=preferences or {})
        context = shared_context
        if options:
            context = browser.new_context(**{"locale": "en-US", **options})  # type: ignore[arg-type]
        page = context.new_page()
        pages.append(page)
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(server.url + path)
        ready(page)
        return page

    yield open_one
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
        if page.context != shared_context:
            page.context.close()
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts <= {"127.0.0.1"}, f"requests left the loopback: {hosts}"
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def page(open_page: OpenPage, server: Server) -> Page:
    return open_page(server)


def ready(page: Page) -> None:
    page.wait_for_selector("#hearth[data-state=ready]", state="attached")


def ask(page: Page, text: str) -> None:
    """Sends a message."""
    page.locator(".composer-text").fill(text)
    page.locator(".composer-text").press("Enter")


def answered(page: Page) -> None:
    """Waits until the last answer is whole."""
    expect(page.locator(".message.is-assistant.is-last[aria-busy=false]")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
