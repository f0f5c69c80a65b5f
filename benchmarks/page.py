"""The page in a real browser: when it is usable, what it transfers, how soon tokens are seen.

    python -m benchmarks.page [--rounds 5]

Needs Debian's Chromium and Playwright (`make test-page` installs both). Goals: usable in 2.5 s cold
and 1.2 s warm, 600 KB transferred, the first token visible 150 ms after the engine's first byte, a
reply at 250 tokens/s below 60 turns within 1.3 times of its own time, 220 MB for the server.

The engine of the streaming figures is the tests' fake one, so that the page's own time is seen:
it writes one token every 4 ms. What is visible is taken in the browser, by a frame that was drawn.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measuring import ROOT, Server, hearth_server, machine, median

TURNS = 60
TOKENS = 629

WATCH = """() => {
    window.marks = {};
    const look = () => {
        const last = document.querySelector(".message.is-last.is-assistant");
        if (last?.querySelector(".is-writing")?.textContent) window.marks.first ||= Date.now();
        if (window.marks.first && last?.getAttribute("aria-busy") === "false") {
            window.marks.end ||= Date.now();
        }
        if (!window.marks.end) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


@dataclass(frozen=True)
class Load:
    usable_s: float
    transferred_bytes: int
    num_requests: int


@dataclass(frozen=True)
class Streamed:
    first_seen_s: float
    """From the server's first token to the frame that shows it."""
    shown_s: float
    engine_s: float


def load(page: Page, url: str) -> Load:
    """Opens the page; usable is when the message field has the focus."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    began_at = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(".composer-text:focus")
    usable_s = time.perf_counter() - began_at
    page.wait_for_load_state("networkidle")
    session.detach()
    return Load(usable_s, sum(sizes), len(sizes))


def conversation(url: str, num_turns: int) -> str:
    """A conversation with that many turns of code and text; its id."""
    text = (ROOT / "tests" / "page" / "markdown.md").read_text("utf-8")
    made = httpx2.post(f"{url}/hearth/conversations", json={"parameters": {"max_tokens": TOKENS}})
    id = str(made.json()["id"])
    for _ in range(num_turns):
        pair = [{"role": "user", "content": "Go on"}, {"role": "assistant", "content": text}]
        httpx2.post(f"{url}/hearth/conversations/{id}/messages", json={"messages": pair})
    return id


def stream(browser: Browser, url: str, num_turns: int) -> Streamed:
    id = conversation(url, num_turns)
    page = browser.new_page()
    page.goto(f"{url}/#/chat/{id}")
    page.wait_for_selector(".composer-text:focus")
    page.evaluate(WATCH)
    page.locator(".composer-text").fill("Go on")
    page.locator(".composer-text").press("Enter")
    page.wait_for_function("window.marks.end", timeout=120_000)
    marks = page.evaluate("window.marks")
    page.close()
    message = httpx2.get(f"{url}/hearth/conversations/{id}").json()["messages"][-1]
    figures = message["figures"]
    assert figures["completion_tokens"] == TOKENS, figures
    first_at = message["created_at"] + figures["first_token_s"]
    return Streamed(
        first_seen_s=marks["first"] / 1000 - first_at,
        shown_s=(marks["end"] - marks["first"]) / 1000,
        engine_s=figures["duration_s"] - figures["first_token_s"],
    )


@contextlib.contextmanager
def page_server(engine: Path) -> Iterator[tuple[Server, float]]:
    """A server with its page made, and the seconds until it was."""
    began_at = time.perf_counter()
    environment = {"HEARTH_LLAMA_SERVER": str(engine), "HEARTH_PAGE": "true"}
    with hearth_server(environment=environment) as server:
        while httpx2.get(server.running.url).status_code == 503:
            time.sleep(0.02)
        yield server, time.perf_counter() - began_at


def slow_engine(folder: Path) -> Path:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from engines.children import FAKE
    from engines.test_llama_server import HELP

    from tests.page.conftest import SLOW_SCRIPT

    script = folder / "llama-server"
    script.write_text(SLOW_SCRIPT.format(python=sys.executable, help=HELP, fake=str(FAKE)))
    script.chmod(0o755)
    return script


def main() -> None:
    parser = argparse.ArgumentParser(description="The page in a real browser")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    path = shutil.which("chromium") or shutil.which("google-chrome")
    print(machine())
    with (
        tempfile.TemporaryDirectory() as folder,
        page_server(slow_engine(Path(folder))) as (server, made_s),
        sync_playwright() as playwright,
    ):
        url = server.running.url
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        print(f"page made {made_s:.1f} s after the start of the server")
        cold, warm = [], []
        for _ in range(rounds):
            page = browser.new_page()
            cold.append(load(page, url))
            warm.append(load(page, url))
            page.close()
        for name, loads, goal in (("cold", cold, 2.5), ("warm", warm, 1.2)):
            usable_s = median([one.usable_s for one in loads])
            size = median([one.transferred_bytes for one in loads])
            print(
                f"{name}: usable after {usable_s:.2f} s (goal {goal}), {size / 1e3:.0f} KB "
                f"(goal 600), {loads[0].num_requests} requests"
            )
        for num_turns in (0, TURNS):
            runs = [stream(browser, url, num_turns) for _ in range(rounds)]
            first_s = median([one.first_seen_s for one in runs])
            ratio = median([one.shown_s / one.engine_s for one in runs])
            print(
                f"{num_turns} turns: first token seen after {first_s * 1e3:.0f} ms (goal 150), "
                f"{TOKENS} tokens in {ratio:.2f} of the engine's time (goal 1.3)"
            )
        print(f"server with the page: {server.process.memory_info().rss / 1e6:.0f} MB (goal 220)")
        browser.close()


if __name__ == "__main__":
    main()
