"""Keys in the browser: the form, the session, and its end in the middle of a thought."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.conftest import WITH_PAGE, answered, ask, chromium_or_skip, ready
from tests.page.test_page_chat import PROMPT
from tests.system.conftest import Hearth, Server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Hearth:
    chromium_or_skip()
    return Hearth(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def key(locked: Hearth) -> str:
    made = locked.run("keys", "create", "ada", "--role", "admin")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def guarded(locked: Hearth, key: str) -> Iterator[Server]:
    """A server that asks for a key."""
    with locked.serving(**WITH_PAGE) as running:
        while running.get("/", headers={"authorization": f"Bearer {key}"}).status_code == 503:
            assert running.child.poll() is None
        yield running


@pytest.fixture
def stranger(browser: Browser, guarded: Server) -> Iterator[Page]:
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(guarded.url)
    yield page
    context.close()


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("key").fill(key)
    page.keyboard.press("Enter")


def test_a_wrong_key_is_told_and_the_right_one_opens(stranger: Page, key: str) -> None:
    assert stranger.locator("#hearth").count() == 0
    sign_in(stranger, "sk-wrong")
    expect(stranger.get_by_role("alert")).to_contain_text("not known")

    sign_in(stranger, key)
    ready(stranger)

    ask(stranger, PROMPT)
    answered(stranger)
    expect(stranger.locator(".user-name")).to_have_text("ada")
    (cookie,) = stranger.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert stranger.evaluate("document.cookie") == ""


def test_a_session_that_ends_loses_no_draft(stranger: Page, key: str) -> None:
    sign_in(stranger, key)
    ready(stranger)
    stranger.context.clear_cookies()
    ask(stranger, PROMPT)
    form = stranger.get_by_role("dialog", name="Sign in")
    expect(form).to_be_visible()

    form.get_by_label("Key").fill(key)
    form.get_by_role("button", name="Sign in").click()

    expect(form).to_have_count(0)
    expect(stranger.locator(".composer-text")).to_have_value(PROMPT)
    stranger.locator(".composer-text").press("Enter")
    answered(stranger)


def test_signing_out_closes_the_page(stranger: Page, key: str) -> None:
    sign_in(stranger, key)
    ready(stranger)

    stranger.get_by_role("button", name="Sign out").click()

    expect(stranger.locator("#hearth")).to_have_count(0)
    expect(stranger.get_by_label("key")).to_be_visible()
