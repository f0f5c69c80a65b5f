"""The run button of Python blocks: pressed in a browser, run in a real sandbox."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from codehearth.lab.sandbox import protections
from tests.page.conftest import WITH_PAGE, OpenPage, wait_for_page
from tests.page.test_page_chat import imported
from tests.system.conftest import Hearth, Server

needs_sandbox = pytest.mark.skipif(
    protections().best is None, reason=f"no sandbox here: {protections().summary()}"
)


def block(server: Server, open_page: OpenPage, code: str, language: str = "python") -> Page:
    answer = f"Here:\n\n```{language}\n{code}\n```\n"
    made = imported(server, ("user", "Show me."), ("assistant", answer))
    return open_page(server, f"/#/chat/{made}")


@needs_sandbox
def test_a_block_runs_and_shows_its_output(server: Server, open_page: OpenPage) -> None:
    page = block(server, open_page, "import sys\nprint('sum', 40 + 2)\nprint('x', file=sys.stderr)")

    page.get_by_role("button", name="Run", exact=True).click()

    expect(page.get_by_label("Output", exact=True)).to_have_text("sum 42\n")
    expect(page.get_by_label("Errors", exact=True)).to_have_text("x\n")
    expect(page.locator(".run-outcome")).to_contain_text("Done")
    expect(page.locator(".run-outcome")).to_contain_text("sandbox: ")


@needs_sandbox
def test_what_a_block_prints_is_text_and_not_html(server: Server, open_page: OpenPage) -> None:
    page = block(server, open_page, "print('<img src=x onerror=\"window.hacked = 1\">')")

    page.get_by_role("button", name="Run", exact=True).click()

    expect(page.get_by_label("Output", exact=True)).to_contain_text("<img")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".run-outcome img").count() == 0


@needs_sandbox
def test_an_endless_block_can_be_stopped(server: Server, open_page: OpenPage) -> None:
    page = block(server, open_page, "while True: pass")
    page.get_by_role("button", name="Run", exact=True).click()

    page.locator(".code-run", has_text="Stop").click()

    expect(page.locator(".run-outcome")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()


def test_other_languages_have_no_run_button(server: Server, open_page: OpenPage) -> None:
    page = block(server, open_page, "console.log(1)", "javascript")

    expect(page.locator(".code-block")).to_be_visible()
    assert page.locator(".code-run").count() == 0


def test_where_nothing_is_run_the_button_says_so(hearth: Hearth, open_page: OpenPage) -> None:
    with hearth.serving(**WITH_PAGE, HEARTH_RUN_CODE="off") as quiet:
        wait_for_page(quiet)
        page = block(quiet, open_page, "print(1)")

        button = page.locator(".code-run")
        expect(button).to_be_disabled()
        says = "This server runs no code. an administrator can allow it: run_code = true"
        expect(button).to_have_attribute("title", f"Code cannot be run here. {says}")
