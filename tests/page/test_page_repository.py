"""Choosing a repository beside the text: its code goes with the question, and is seen."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from codehearth.repo.shelf import Shelf
from tests.page.conftest import OpenPage, answered, ask, ready
from tests.system.conftest import Hearth, Server


def test_the_chosen_repository_is_shown_below_the_question_and_remembered(
    home: Hearth, server: Server, open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "basket.py").write_text(
        "def total_price(basket):\n    return sum(basket)\n"
    )
    page = open_page(server)
    choice = page.get_by_label("Code from a repository goes with the question")
    expect(choice).to_be_hidden()
    shelf = Shelf(home.data)
    shelf.add(tmp_path / "shop", None)
    try:
        page.wait_for_timeout(5200)  # the server looks for new ones every five seconds
        page.reload()
        ready(page)
        choice.select_option("shop")
        ask(page, "What does total_price do?")
        answered(page)

        chip = page.locator(".message.is-user .chip")
        expect(chip.locator(".chip-name")).to_have_text("basket.py:1-2")
        chip.get_by_role("button").click()
        expect(page.locator(".file-text")).to_contain_text("return sum(basket)")
        page.keyboard.press("Escape")
        page.wait_for_timeout(600)  # preferences are saved when they settle
        page.reload()
        ready(page)
        expect(choice).to_have_value("shop")
    finally:
        shelf.remove("shop")
