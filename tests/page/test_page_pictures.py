"""The pictures of the documentation: both themes, both languages, both widths.

Taken when HEARTH_SCREENSHOTS is set, of a server of their own: no other test's conversations are in
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import WITH_PAGE, OpenPage, answered, ask, chromium_or_skip, wait_for_page
from tests.page.test_page_chat import PROMPT
from tests.page.test_page_complete import editor
from tests.page.test_page_look import PHONE, go
from tests.system.conftest import Hearth, Server

FOLDER = Path(__file__).parents[2] / "docs" / "images"
pytestmark = pytest.mark.skipif(
    not os.environ.get("HEARTH_SCREENSHOTS"), reason="HEARTH_SCREENSHOTS is not set"
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    chromium_or_skip()
    with Hearth(tmp_path_factory.mktemp("fresh")).serving(**WITH_PAGE) as running:
        wait_for_page(running)
        yield running


@pytest.fixture(autouse=True)
def nothing_said_yet(fresh: Server) -> None:
    """Each picture has its own conversation beside it, and not those of the pictures before."""
    httpx2.delete(f"{fresh.url}/hearth/conversations", timeout=60).raise_for_status()


def take(page: Page, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


def test_on_a_desktop_in_english(open_page: OpenPage, fresh: Server) -> None:
    page = open_page(fresh)
    ask(page, PROMPT)
    answered(page)
    take(page, "chat-light")
    go(page, "connect")
    take(page, "connect-light")

    page = editor(open_page, fresh)
    page.keyboard.press("Control+Space")
    expect(page.locator(".editor-foot")).to_contain_text("in all")
    take(page, "ghost-light")


def test_in_the_dark_in_english(open_page: OpenPage, fresh: Server) -> None:
    page = open_page(fresh, color_scheme="dark")
    ask(page, PROMPT)
    answered(page)
    take(page, "chat-dark")


def test_in_the_light_in_chinese(open_page: OpenPage, fresh: Server) -> None:
    page = open_page(fresh, color_scheme="light", locale="zh-CN")
    ask(page, "写一个函数，反转一个字符串")
    answered(page)
    take(page, "chat-light-zh")


def test_in_the_dark_in_chinese(open_page: OpenPage, fresh: Server) -> None:
    page = open_page(fresh, color_scheme="dark", locale="zh-CN")
    ask(page, "写一个函数，反转一个字符串")
    answered(page)
    take(page, "chat-dark-zh")
    go(page, "models")
    take(page, "models-dark-zh")


def test_on_a_phone(open_page: OpenPage, fresh: Server) -> None:
    page = open_page(fresh, **PHONE)
    ask(page, PROMPT)
    answered(page)
    take(page, "chat-phone")
