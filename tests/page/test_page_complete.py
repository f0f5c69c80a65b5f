"""The editor: ghost text at the cursor, asked for, taken, left; white space as it was written."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.page.conftest import OpenPage
from tests.system.conftest import Server

CODE = 'def add(a, b):\n    """Add two numbers."""\n'


def editor(open_page: OpenPage, server: Server, text: str = CODE) -> Page:
    """The view with `text` in the editor, nothing asked yet."""
    page = open_page(server, "/#/complete")
    page.get_by_role("checkbox", name="As I type").uncheck()
    area = page.get_by_role("textbox", name="Code editor")
    area.fill(text)
    expect(area).to_be_focused()
    return page


def test_tab_takes_the_ghost(open_page: OpenPage, server: Server) -> None:
    page = editor(open_page, server)
    page.keyboard.press("Control+Space")
    ghost = page.locator(".ghost")
    expect(page.locator(".editor-foot")).to_contain_text("in all")
    expect(ghost).to_contain_text("return")
    offered = ghost.text_content()

    page.keyboard.press("Tab")

    expect(ghost).to_have_count(0)
    assert page.get_by_role("textbox", name="Code editor").input_value() == CODE + str(offered)
    expect(page.locator(".editor-foot")).to_contain_text("tokens read")
    page.keyboard.press("Control+z")
    expect(page.get_by_role("textbox", name="Code editor")).to_have_value(CODE)


def test_escape_leaves_it_and_typing_the_same_keeps_it(open_page: OpenPage, server: Server) -> None:
    page = editor(open_page, server)
    ghost = page.locator(".ghost")
    page.keyboard.press("Control+Space")
    expect(page.locator(".editor-foot")).to_contain_text("in all")
    offered = str(ghost.text_content())
    page.keyboard.type(offered[0])
    expect(ghost).to_have_text(offered[1:], use_inner_text=False)

    page.keyboard.press("Escape")

    expect(ghost).to_have_count(0)
    assert page.get_by_role("textbox", name="Code editor").input_value() == CODE + offered[0]


def test_it_completes_as_one_types(open_page: OpenPage, server: Server) -> None:
    page = editor(open_page, server, "def add(a, b):\n    return")
    page.get_by_role("checkbox", name="As I type").check()
    page.get_by_role("textbox", name="Code editor").focus()
    page.keyboard.press("Control+End")

    page.keyboard.type(" ")

    expect(page.locator(".ghost")).not_to_be_empty()


def test_what_is_after_the_cursor_counts_and_white_space_stays(
    open_page: OpenPage, server: Server
) -> None:
    page = editor(open_page, server, "\n\n  def add(a, b):\n    return \n\n\n")
    area = page.get_by_role("textbox", name="Code editor")
    area.evaluate("(node) => node.setSelectionRange(30, 30)")

    with page.expect_request("**/v1/completions") as asked:
        page.keyboard.press("Control+Space")

    body = asked.value.post_data_json
    assert body["prompt"] == "\n\n  def add(a, b):\n    return " and body["suffix"] == "\n\n\n"


def test_of_a_long_file_only_what_is_seen_is_painted(open_page: OpenPage, server: Server) -> None:
    page = editor(open_page, server)
    page.get_by_role("textbox", name="Code editor").evaluate(
        """(node) => {
            node.value = "x = 1\\n".repeat(10000);
            node.dispatchEvent(new Event("input", {bubbles: true}));
        }"""
    )
    page.keyboard.press("Control+End")

    page.keyboard.type("return 2")

    assert page.locator(".editor-paint .line").count() < 200
    expect(page.locator(".editor-paint .line").last).to_have_text("return 2")


def test_the_plain_completion_has_the_languages_tag_line(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server, "/#/complete")
    page.get_by_role("combobox", name="Language of the tag line").select_option("Python")
    page.get_by_role("textbox", name="Prompt").fill("# add two numbers\ndef add(a, b):\n")

    with page.expect_request(lambda request: request.method == "POST") as asked:
        page.locator(".plain .button.is-primary").click()

    assert asked.value.post_data_json["lang"] == "Python"
    expect(page.locator(".plain-answer .completed")).not_to_be_empty()
