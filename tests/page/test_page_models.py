"""Models in the page: fetched, paused, loaded, sent away, deleted, switched and compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.models.loopback_hub import LoopbackHub
from tests.page.conftest import (
    ENDLESS,
    WITH_PAGE,
    OpenPage,
    answered,
    ask,
    chromium_or_skip,
    ready,
    wait_for_page,
)
from tests.page.test_page_chat import PROMPT, imported
from tests.system.conftest import Hearth, Server
from tests.tiny_models import make_huge_gguf, tiny_qwen2

REPO = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
NAME = "qwen2.5-coder-0.5b:q8_0"
FILE = "qwen2.5-coder-0.5b-instruct-q8_0.gguf"
OTHER_FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
OTHER = f"hf:{REPO}:{OTHER_FILE}"
HELD_AT = 300_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        model = tiny_qwen2(tmp_path_factory.mktemp("models")).read_bytes()
        hub.add(REPO, {FILE: model, OTHER_FILE: model + bytes(32)})
        yield hub


@pytest.fixture(scope="module")
def online(
    tmp_path_factory: pytest.TempPathFactory, hub: LoopbackHub, slow_engine: Path
) -> Iterator[Server]:
    """A server whose hubs are the loopback one; its models write 250 tokens a second."""
    chromium_or_skip()
    more = {
        **WITH_PAGE,
        "HF_HUB_OFFLINE": "",
        "HF_ENDPOINT": hub.endpoint,
        "MODELSCOPE_ENDPOINT": hub.endpoint,
        "HEARTH_LLAMA_SERVER": str(slow_engine),
    }
    with Hearth(tmp_path_factory.mktemp("home")).serving(**more) as running:
        wait_for_page(running)
        yield running


def test_a_model_is_fetched_paused_and_resumed_through_a_reload(
    open_page: OpenPage, online: Server, hub: LoopbackHub
) -> None:
    held, goes_on = threading.Event(), threading.Event()
    hub.faults.at_offset = {HELD_AT: lambda: (held.set(), goes_on.wait(60))}  # type: ignore[dict-item]
    page = open_page(online, "/#/models")
    page.get_by_role("searchbox", name="Search models").fill(NAME)
    page.get_by_role("button", name=f"Download: {NAME}").click()
    assert held.wait(60)
    pull = page.get_by_role("region", name=f"Download of {NAME}")
    expect(pull.get_by_role("progressbar")).to_be_visible()
    page.reload()
    ready(page)
    expect(pull).to_contain_text("downloading")

    pull.get_by_role("button", name="Pause").click()
    hub.faults.at_offset = {}
    goes_on.set()
    expect(pull).to_contain_text("paused")
    pull.get_by_role("button", name="Resume").click()

    expect(pull).to_have_count(0)
    page.get_by_role("searchbox", name="Search models").fill(NAME)
    expect(page.get_by_role("button", name=f"Load: {NAME}")).to_be_visible()


def test_a_cancelled_download_leaves_nothing(
    open_page: OpenPage, online: Server, hub: LoopbackHub
) -> None:
    held, goes_on = threading.Event(), threading.Event()
    hub.faults.at_offset = {HELD_AT: lambda: (held.set(), goes_on.wait(60))}  # type: ignore[dict-item]
    page = open_page(online, "/#/models")
    page.get_by_role("button", name="Download by name").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(OTHER)
    page.get_by_role("dialog").get_by_role("button", name="Download").click()
    assert held.wait(60)
    pull = page.get_by_role("region", name=f"Download of {OTHER}")

    pull.get_by_role("button", name="Cancel").click()
    hub.faults.at_offset = {}
    goes_on.set()

    expect(pull).to_have_count(0)
    (job,) = [one for one in online.get("/hearth/pulls").json()["pulls"] if one["model"] == OTHER]
    assert job["state"] == "cancelled"


def test_a_model_is_loaded_and_switched_under_a_running_answer(
    open_page: OpenPage, online: Server
) -> None:
    page = open_page(online, preferences={**ENDLESS, "model": "starter"})
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(3)).to_be_visible()
    page.locator(".composer-text").fill("the next question")

    page.get_by_role("button", name="Model: starter").click()
    page.locator(f".picker-row[data-model='{NAME}']").click()
    expect(page.locator(".picker .dot.is-loaded")).to_be_visible()

    expect(page.locator(".is-assistant[aria-busy=true]")).to_be_visible()
    expect(page.locator(".composer-text")).to_have_value("the next question")
    page.get_by_role("button", name="Stop", exact=True).click()
    answered(page)
    page.locator(".composer-text").press("Enter")
    expect(page.locator(".is-assistant.is-last .message-model")).to_have_text(NAME)
    page.get_by_role("button", name="Stop", exact=True).click()
    answered(page)


def test_two_models_are_compared_and_the_vote_is_kept(open_page: OpenPage, online: Server) -> None:
    page = open_page(online, "/#/compare", preferences={"parameters": {"max_tokens": 60}})
    expect(page.get_by_role("button", name="Model A: starter")).to_be_visible()
    expect(page.get_by_role("button", name=f"Model B: {NAME}")).to_be_visible()
    page.get_by_role("button", name="Ask both").click()
    expect(page.locator(".side").first).to_contain_text("tokens/s")
    expect(page.locator(".side").last).to_contain_text("tokens/s")

    page.get_by_role("button", name="B is better").click()

    expect(page.locator(".votes")).to_contain_text("kept")
    expect(page.get_by_role("region", name="Your votes").locator("tbody tr").first).to_contain_text(
        NAME
    )
    (vote,) = online.get("/hearth/votes").json()["votes"]
    assert vote["winner"] == "second" and vote["second"]["model"] == NAME
    assert vote["second"]["tokens_per_s"] > 1


def test_a_model_is_sent_away_and_deleted(open_page: OpenPage, online: Server) -> None:
    page = open_page(online, "/#/models")
    page.get_by_role("searchbox", name="Search models").fill(NAME)
    page.get_by_role("button", name=f"Unload: {NAME}").click()
    page.get_by_role("button", name=f"Delete {NAME}").click()
    dialog = page.get_by_role("dialog", name="Delete this model?")
    expect(dialog).to_contain_text(NAME)

    dialog.get_by_role("button", name="Delete").click()

    expect(page.get_by_role("button", name=f"Download: {NAME}")).to_be_visible()


def test_a_model_deleted_in_the_middle_of_a_chat_is_told(
    open_page: OpenPage, online: Server
) -> None:
    """Runs after the model was deleted: the conversation still names it."""
    id = imported(online, ("user", "Hello"), ("assistant", "Hello."), model=NAME)
    page = open_page(online, f"/#/chat/{id}")

    ask(page, PROMPT)

    expect(page.locator(".refusal .card")).to_contain_text("This model is not here")
    expect(page.locator(".composer-text")).to_have_value(PROMPT)


def test_the_precisions_of_a_model_are_told(open_page: OpenPage, online: Server) -> None:
    page = open_page(online, "/#/models")
    page.get_by_role("searchbox", name="Search models").fill("qwen2.5-coder-1.5b")

    page.locator(".model-name").first.click()

    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("rowheader", name="q4_k_m", exact=True)).to_be_visible()
    expect(dialog.locator(".parts")).to_contain_text("weights")


def test_every_client_has_a_configuration_with_the_live_address(
    open_page: OpenPage, server: Server
) -> None:
    page = open_page(server, "/#/connect")
    tabs = page.get_by_role("tab")
    expect(tabs.nth(15)).to_be_visible()
    for number in range(tabs.count()):
        tabs.nth(number).click()
        shown = page.locator(".client-pane pre code").inner_text()
        assert server.url.rsplit(":", 1)[1] in shown  # some ask for host and port apart
        assert "$url" not in shown and "$model" not in shown

    for name in ("curl", "Continue (VS Code, JetBrains)", "Claude Code", "Codex CLI"):
        page.get_by_role("tab", name=name).click()
        page.get_by_role("button", name="Test this connection").click()
        expect(page.locator(".test-outcome")).to_contain_text("It works")


def test_clients_are_described_in_the_pages_language(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/connect/continue", locale="zh-CN")

    expect(page.get_by_role("tabpanel")).to_contain_text("边输入边补全、聊天、编辑")
    expect(page.get_by_role("tabpanel")).to_contain_text("Continue 会自动读取")


def test_a_model_that_does_not_fit_says_so(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/models")
    page.get_by_role("checkbox", name="Only what fits").uncheck()
    big = page.locator("tr", has_text="does not fit").first

    expect(big).to_contain_text("needs")


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory, slow_engine: Path) -> Iterator[Server]:
    """Engines that take two seconds to load, and a model that no machine has room for."""
    chromium_or_skip()
    home = Hearth(tmp_path_factory.mktemp("home"))
    huge = make_huge_gguf(tmp_path_factory.mktemp("models") / "huge.gguf")
    more = {
        **WITH_PAGE,
        "HEARTH_LLAMA_SERVER": str(slow_engine),
        "FAKE_READY_AFTER_S": "2",
        "HEARTH_MODEL": str(huge),
        "HEARTH_PRELOAD": "false",
    }
    with home.serving(**more) as running:
        wait_for_page(running)
        yield running


def test_loading_is_shown_in_place(open_page: OpenPage, cramped: Server) -> None:
    """The picker says that the model is loaded now, and the answer comes all the same."""
    page = open_page(cramped, preferences={"model": "starter", "parameters": {"max_tokens": 40}})
    expect(page.locator(".picker .dot.is-on_disk")).to_be_visible()

    page.get_by_role("button", name="Model: starter").click()
    page.locator(".picker-row[data-model='starter']").click()
    ask(page, PROMPT)

    expect(page.locator(".picker .picker-state")).to_have_text("loading")
    expect(page.locator(".picker .loading-bar")).to_be_visible()
    answered(page)
    expect(page.locator(".picker .dot.is-loaded")).to_be_visible()
    expect(page.locator(".picker .loading-bar")).to_have_count(0)


def test_what_does_not_fit_offers_a_way_out(open_page: OpenPage, cramped: Server) -> None:
    page = open_page(cramped, preferences={"model": "huge"})

    ask(page, PROMPT)

    card = page.locator(".card[data-code=does_not_fit]")
    expect(card).to_contain_text("This model does not fit now")
    expect(card).to_contain_text("GB are free")
    card.get_by_role("button", name="A smaller precision").click()
    dialog = page.get_by_role("dialog", name="huge")
    expect(dialog.locator(".why-list")).to_be_visible()
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Choose another model").click()
    expect(page.get_by_role("dialog", name="Model")).to_be_visible()
