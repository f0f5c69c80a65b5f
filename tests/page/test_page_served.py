"""How the page is served: late, closed but for what it needs, and not at all where unwanted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page.conftest import WITH_PAGE, wait_for_page
from tests.system.conftest import Hearth, Server

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Hearth(tmp_path_factory.mktemp("home")).serving(
        **WITH_PAGE, HEARTH_PRELOAD="0"
    ) as running:
        running.early = running.get("/", headers=HTML)  # type: ignore[attr-defined]
        running.api_early = running.get("/v1/models")  # type: ignore[attr-defined]
        wait_for_page(running)
        yield running


def test_the_api_does_not_wait_for_the_page(served: Server) -> None:
    early = served.early  # type: ignore[attr-defined]

    assert served.api_early.status_code == 200  # type: ignore[attr-defined]
    assert early.status_code == 200 or 'http-equiv="refresh"' in early.text


def test_the_document_has_our_scripts_and_nobody_elses(served: Server) -> None:
    reply = served.get("/", headers=HTML)

    assert "/app.js" in reply.text and 'lang="en"' in reply.text
    assert "og:image" not in reply.text and "twitter" not in reply.text
    assert set(re.findall(r"https?://([\w.-]+)", reply.text)) <= {"127.0.0.1"}


def test_the_document_may_ask_nobody_else(served: Server) -> None:
    headers = served.get("/", headers=HTML).headers

    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts and "'sha256-" in scripts
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/info",
        "/gradio_api/queue/join",
        "/gradio_api/file=/etc/passwd",
        "/file=/etc/passwd",
        "/proxy=http://127.0.0.1/",
        "/gradio_api/upload",
        "/gradio_api/heartbeat/x",
        "/gradio_api/runs",
        "/login",
        "/page/x/../../../pyproject.toml",
        "/page/x/none.js",
        "/static/../../../../../etc/passwd",
    ],
)
def test_what_the_page_does_not_need_is_closed(served: Server, path: str) -> None:
    assert served.get(path).status_code in (403, 404)


def test_gradio_takes_no_posts(served: Server) -> None:
    reply = served.post("/gradio_api/queue/join", {"data": []})

    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "not_found"


def test_unknown_addresses_of_the_api_are_still_its_own(served: Server) -> None:
    assert served.get("/v1/nothing").json()["error"]["code"] == "not_found"


def test_the_simple_endpoint_stays_at_the_same_address(served: Server) -> None:
    reply = served.post("/", {"prompt": "Write a function that reverses a string"})

    assert reply.status_code == 200 and reply.json()["status"] == 200


def test_files_are_compressed_and_kept(served: Server) -> None:
    script = re.search(r'src="(/page/\w+/app\.js)"', served.get("/", headers=HTML).text)
    assert script is not None

    reply = served.get(script[1], headers={"accept-encoding": "gzip"})

    assert reply.headers["content-encoding"] == "gzip"
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-type"].startswith("text/javascript")


def test_without_the_page_nothing_is_there_and_nothing_is_loaded(hearth: Hearth) -> None:
    with hearth.serving("--no-page", HEARTH_PAGE="true", HEARTH_PRELOAD="0") as server:
        reply = server.get("/", headers=HTML)
        maps = Path(f"/proc/{server.child.pid}/maps")
        libraries = maps.read_text() if maps.exists() else ""

    assert reply.status_code in (404, 405)
    assert "numpy" not in libraries and "pandas" not in libraries


def test_the_command_line_does_not_load_gradio() -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "codehearth", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "codehearth.cli" in told.stderr
    assert not re.search(r"\b(gradio|pandas|numpy|codehearth\.web)\b", told.stderr)
