"""How the page looks and reads: themes, languages, widths, and for those who use no mouse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import OpenPage, ask, ready
from tests.page.test_page_chat import imported
from tests.system.conftest import Hearth, Server

AXE = Path(__file__).parents[1] / "clients" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
VIEWS = ("complete", "models", "compare", "measure", "tune", "connect")
MARKDOWN = Path(__file__).with_name("markdown.md")


def lab_result() -> dict[str, object]:
    """A result as `docs/lab.md` shows it, with what could not be measured left null."""
    return dict(json.loads(Path(__file__).with_name("lab_result.json").read_text("utf-8")))


@pytest.fixture(scope="module")
def measured(home: Hearth, server: Server) -> Server:
    """The server with one result of the lab."""
    folder = home.data / "lab"
    folder.mkdir(exist_ok=True)
    (folder / "20261126-003000-starter.json").write_text(json.dumps(lab_result()))
    return server


def go(page: Page, view: str) -> None:
    page.evaluate(f"location.hash = '#/{view}'")
    expect(page.locator(f"#hearth[data-view={view}]")).to_be_attached()


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.1 A and AA."""
    page.evaluate("() => document.getAnimations().forEach((animation) => animation.cancel())")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text("utf-8"))
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = page.evaluate(
        """(rules) => axe.run(document, {runOnly: rules}).then(({violations}) =>
            violations.flatMap(({id, nodes}) =>
                nodes.map(({target, failureSummary}) => `${id}: ${target} ${failureSummary}`)))""",
        rules,
    )
    return [str(line) for line in found]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm was not there")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out(open_page: OpenPage, measured: Server, theme: str) -> None:
    text = MARKDOWN.read_text("utf-8")
    id = imported(measured, ("user", "Show me"), ("assistant", text), title="Every mark")
    page = open_page(measured, f"/#/chat/{id}", color_scheme=theme)
    expect(page.locator(".is-assistant .code-block")).to_have_count(4)

    assert violations(page) == []
    page.get_by_role("button", name="Parameters").click()
    page.get_by_role("button", name="Model: starter").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+O")
    expect(page.locator(".welcome")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Control+/")
    assert violations(page) == []
    page.keyboard.press("Escape")
    for view in VIEWS:
        go(page, view)
        page.wait_for_load_state("networkidle")
        assert violations(page) == [], view


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_nothing_is_wider_than_the_screen(
    open_page: OpenPage, measured: Server, width: str
) -> None:
    options = PHONE if width == "phone" else {}
    id = imported(measured, ("user", "x" * 300), ("assistant", MARKDOWN.read_text("utf-8")))
    page = open_page(measured, f"/#/chat/{id}", **options)

    for view in ("chat", *VIEWS):
        go(page, view)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), view
        too_wide = page.evaluate(
            """() => [...document.querySelectorAll(".view *, .top *")].filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width && (box.right > innerWidth + 1 || box.left < -1)
                    && !node.closest("pre, .table-scroll, .client-list, .editor, [hidden]");
            }).map((node) => node.className || node.tagName)"""
        )
        assert too_wide == [], view


def test_the_sidebar_is_a_drawer_on_a_phone(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, **PHONE)
    expect(page.get_by_role("navigation", name="Places")).not_to_be_visible()

    page.get_by_role("button", name="Open the sidebar").tap()
    page.get_by_role("link", name="Models").tap()

    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()
    expect(page.get_by_role("navigation", name="Places")).not_to_be_visible()


def test_dark_follows_the_system_until_it_is_chosen(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")

    page.get_by_role("button", name="Colours").click()
    with page.expect_request(lambda request: request.method == "PUT"):
        page.get_by_role("menuitem", name="Dark").click()
    page.reload()
    ready(page)

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_browsers_language_is_spoken(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, locale="zh-CN")

    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator(".welcome h1")).to_have_text("今天写点什么？")
    expect(page.locator(".composer-text")).to_have_attribute("placeholder", "问一个代码问题…")


def test_the_language_can_be_switched_without_losing_anything(
    open_page: OpenPage, slow_server: Server
) -> None:
    page = open_page(slow_server, preferences={"parameters": {"max_tokens": 16_000}})
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(3)).to_be_visible()
    page.locator(".composer-text").fill("half a thought")

    page.get_by_role("button", name="Language").click()
    with page.expect_request(lambda request: request.method == "PUT"):
        page.get_by_role("menuitem", name="简体中文").click()

    expect(page.get_by_role("link", name="模型")).to_be_visible()
    expect(page.locator(".composer-text")).to_have_value("half a thought")
    page.get_by_role("button", name="停止", exact=True).click()
    expect(page.locator(".is-assistant[aria-busy=false]")).to_be_visible()
    page.reload()
    ready(page)
    expect(page.get_by_role("link", name="模型")).to_be_visible()


def test_a_switched_language_leaves_one_page_at_work(open_page: OpenPage, server: Server) -> None:
    """The views of the former language went on listening: each change was asked for twice."""
    page = open_page(server)
    for label, name in (("Language", "简体中文"), ("语言", "English")):
        page.get_by_role("button", name=label, exact=True).click()
        page.get_by_role("menuitem", name=name).click()
    expect(page.get_by_role("link", name="Models")).to_be_visible()
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    with page.expect_response("**/hearth/conversations?limit=50"):
        page.evaluate("window.dispatchEvent(new Event('focus'))")
    page.wait_for_load_state("networkidle")

    assert len([url for url in asked if "/hearth/conversations?" in url]) == 1


def test_measurements_are_a_table_and_plots(open_page: OpenPage, measured: Server) -> None:
    page = open_page(measured, "/#/measure")

    table = page.get_by_role("region", name="Precisions")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table).to_contain_text("reference")
    expect(table).to_contain_text("0.019 (0.017–0.021)")
    expect(page.get_by_role("img")).to_have_count(5)
    expect(page.locator(".card.is-warning")).to_contain_text("another process")
    expect(page.locator(".why-list").last).to_contain_text("needs a GPU")
    expect(page.locator(".why-list").first).to_contain_text("HumanEval pass@1 % 61.6 bf16")


def test_without_measurements_the_page_says_how_to_make_one(
    open_page: OpenPage, slow_server: Server
) -> None:
    page = open_page(slow_server, "/#/measure")

    expect(page.locator(".empty")).to_contain_text("hearth measure")
