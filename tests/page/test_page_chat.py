"""Chatting in a browser: what is sent, streamed, stopped, changed and kept."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
from playwright.sync_api import Page, expect

from tests.page.conftest import (
    ENDLESS,
    WITH_PAGE,
    OpenPage,
    answered,
    ask,
    ready,
    wait_for_page,
)
from tests.system.conftest import Hearth, Server

PROMPT = "Write a function that reverses a string"
HOSTILE = """<script>window.hacked = 1</script> <img src="x" onerror="window.hacked = 2">
[link](javascript:window.hacked=3) ![picture](http://example.org/x.png)

```html
<script>window.hacked = 4</script>
```
"""


def imported(server: Server, *messages: tuple[str, str], **more: object) -> str:
    """A conversation with these messages, made by the API; its id."""
    made = server.post("/hearth/conversations", {"model": "starter", **more}).json()
    for first in range(0, len(messages), 32):
        part = messages[first : first + 32]
        body = {"messages": [{"role": role, "content": content} for role, content in part]}
        server.post(f"/hearth/conversations/{made['id']}/messages", body).raise_for_status()
    return str(made["id"])


def test_a_question_is_answered_with_coloured_code_and_figures(page: Page) -> None:
    ask(page, PROMPT)
    answered(page)

    answer = page.locator(".message.is-assistant").last
    expect(answer.locator(".code-language")).to_have_text("Python")
    expect(answer.locator("pre .t-k").first).to_have_text("def")
    expect(answer.locator(".figures")).to_contain_text("tokens/s")
    expect(answer.locator(".figures")).to_contain_text("first token")
    expect(answer.get_by_role("meter")).to_have_count(1)
    expect(page.locator(".conversation.is-current")).to_contain_text("reverses a string")


def test_the_controls_have_the_promised_ranges_and_are_sent(page: Page, server: Server) -> None:
    page.get_by_role("button", name="Parameters").click()
    promised = {
        "max_tokens": ("32", "16000", "1", "512"),
        "top_p": ("0", "1", "0.01", "0.8"),
        "temperature": ("0", "1", "0.01", "0.7"),
    }
    for name, (low, high, step, first) in promised.items():
        field = page.locator(f"#parameter-{name}")
        assert [field.get_attribute(key) for key in ("min", "max", "step")] == [low, high, step]
        expect(field).to_have_value(first)

    page.locator("#parameter-max_tokens").fill("40")
    page.locator("#parameter-seed").fill("7")
    page.locator("#parameter-seed").blur()
    page.locator("#parameter-system").fill("Answer in one line.")
    page.locator("#parameter-stop").fill("\\n\\n\nEND")
    page.locator("#parameter-stop").blur()
    page.locator("#parameter-turns").fill("3")
    page.locator("#parameter-turns").blur()
    ask(page, PROMPT)
    answered(page)

    (newest,) = server.get("/hearth/conversations?limit=1").json()["conversations"]
    assert newest["parameters"]["max_tokens"] == 40
    assert newest["parameters"]["seed"] == 7
    assert newest["parameters"]["stop"] == ["\n\n", "END"]
    assert newest["system_prompt"] == "Answer in one line." and newest["max_turns"] == 3
    page.get_by_role("button", name="Back to the defaults").click()
    expect(page.locator("#parameter-max_tokens")).to_have_value("512")


def test_an_edited_message_becomes_a_branch_that_survives_a_reload(page: Page) -> None:
    ask(page, PROMPT)
    answered(page)
    page.locator(".message.is-user").hover()
    page.get_by_role("button", name="Edit").click()
    page.locator(".edit-field").fill("Write a function that adds two numbers")
    page.locator(".edit-field").press("Enter")
    answered(page)
    expect(page.locator(".branch-number")).to_have_text("2/2")
    expect(page.locator(".user-text")).to_have_text("Write a function that adds two numbers")

    page.get_by_role("button", name="Previous alternative").click()
    expect(page.locator(".user-text")).to_have_text(PROMPT)
    page.reload()
    ready(page)

    expect(page.locator(".branch-number")).to_have_text("1/2")
    expect(page.locator(".user-text")).to_have_text(PROMPT)


def test_another_answer_stands_beside_the_first(page: Page) -> None:
    ask(page, PROMPT)
    answered(page)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".is-assistant .branch-number")).to_have_text("2/2")
    answered(page)

    page.locator(".is-assistant").get_by_role("button", name="Previous alternative").click()

    expect(page.locator(".is-assistant .branch-number")).to_have_text("1/2")


def test_an_answer_cut_by_its_limit_goes_on(page: Page) -> None:
    page.get_by_role("button", name="Parameters").click()
    page.locator("#parameter-max_tokens").fill("32")
    page.locator("#parameter-max_tokens").blur()
    ask(page, PROMPT)
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    before = page.locator(".is-assistant .markdown").last.inner_text()

    page.get_by_role("button", name="Continue").click()

    expect(page.locator(".is-assistant .figures")).not_to_contain_text("32 tokens")
    after = page.locator(".is-assistant .markdown").last.inner_text()
    assert after.startswith(before[:40])


def test_stop_keeps_what_was_written(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(slow_server, preferences=ENDLESS)
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(8)).to_be_visible()

    page.get_by_role("button", name="Stop", exact=True).click()
    answered(page)

    text = page.locator(".is-assistant .markdown").last.inner_text()
    page.reload()
    ready(page)
    assert page.locator(".is-assistant .markdown").last.inner_text().startswith(text[:200])
    expect(page.locator(".is-assistant .figures")).to_contain_text("tokens")


def test_escape_stops_too(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(slow_server, preferences=ENDLESS)
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(3)).to_be_visible()

    page.keyboard.press("Escape")

    answered(page)


def test_an_answer_goes_on_through_a_reload(open_page: OpenPage, slow_server: Server) -> None:
    page = open_page(slow_server, preferences=ENDLESS)
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(3)).to_be_visible()

    page.reload()
    ready(page)

    expect(page.locator(".is-assistant[aria-busy=true]")).to_be_visible()
    seen = page.locator(".is-assistant strong").count()
    expect(page.locator(".is-assistant strong").nth(seen + 5)).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    answered(page)


def test_one_may_look_at_another_chat_while_an_answer_is_written(
    open_page: OpenPage, slow_server: Server
) -> None:
    page = open_page(slow_server, preferences=ENDLESS)
    ask(page, "Go on for ever")
    expect(page.locator(".is-assistant strong").nth(3)).to_be_visible()
    address = page.evaluate("location.hash")

    page.keyboard.press("Control+Shift+O")
    expect(page.locator(".welcome")).to_be_visible()
    page.evaluate(f"location.hash = '{address}'")

    expect(page.locator(".is-assistant[aria-busy=true]")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    answered(page)


def test_what_a_model_writes_is_never_live(open_page: OpenPage, server: Server) -> None:
    id = imported(server, ("user", HOSTILE), ("assistant", HOSTILE))

    page = open_page(server, f"/#/chat/{id}")
    expect(page.locator(".is-assistant .code-block")).to_be_visible()

    assert page.evaluate("window.hacked") is None
    assert page.locator(".messages :is(script, img, iframe, [onerror])").count() == 0
    for link in page.locator(".messages a").all():
        assert str(link.get_attribute("href")).startswith(("http://", "https://"))


def test_markdown_looks_like_what_it_means(open_page: OpenPage, server: Server) -> None:
    text = Path(__file__).with_name("markdown.md").read_text("utf-8")
    id = imported(server, ("user", "Show me"), ("assistant", text))

    page = open_page(server, f"/#/chat/{id}")
    shown = page.locator(".is-assistant .markdown").last
    expect(shown.locator(".code-block")).to_have_count(4)

    assert shown.locator(".h3").inner_text() == "What to know"
    assert shown.locator("ol > li").count() == 2
    assert shown.locator("ol li ul > li").all_inner_texts() == ["use a lock, or", "copy it first"]
    assert shown.locator("tbody tr").count() == 2
    assert shown.locator("td.right").first.inner_text() == "O(1)"
    assert shown.locator("blockquote a").get_attribute("href") == "https://docs.python.org/3/"
    assert shown.locator("strong").first.inner_text() == "queue with a limit"
    assert shown.locator("del").inner_text() == "not"
    assert "snake_case_name" in shown.inner_text() and "2 * 3 * 4" in shown.inner_text()
    code = shown.locator("pre code").nth(0).text_content()
    assert code == 'def f():\n\n    return """a\nb"""'
    assert shown.locator(".t-i").inner_text() == "+added"


def test_streamed_markdown_ends_as_the_whole_would(page: Page) -> None:
    """What is drawn piece by piece must be what is drawn at once."""
    text = Path(__file__).with_name("markdown.md").read_text("utf-8")

    whole, streamed = page.evaluate(
        """async (text) => {
            const folder = document.querySelector('script[type=module][src*="/app.js"]').src;
            const { MarkdownView } = await import(new URL("markdown.js", folder));
            const drawn = (steps) => {
                const root = document.createElement("div");
                const view = new MarkdownView(root);
                steps.forEach((length) => view.update(text.slice(0, length)));
                return root.innerHTML.replace(/ aria-[a-z]+="[^"]*"/g, "");
            };
            return [drawn([text.length]), drawn([...text].map((_, at) => at + 1))];
        }""",
        text,
    )

    assert streamed == whole


def test_a_hundred_thousand_pasted_lines_become_a_file(page: Page) -> None:
    page.locator(".composer-text").focus()
    took_ms = page.evaluate(
        """() => {
            const began = performance.now();
            const data = new DataTransfer();
            const lines = Array.from({length: 100000}, (_, i) => `line ${i}`);
            data.setData("text/plain", lines.join("\\n"));
            const area = document.querySelector(".composer-text");
            const options = {clipboardData: data, bubbles: true, cancelable: true};
            area.dispatchEvent(new ClipboardEvent("paste", options));
            return performance.now() - began;
        }"""
    )

    expect(page.locator(".chip")).to_contain_text("100,000 lines")
    assert took_ms < 1000
    ask(page, "What is in it?")
    expect(page.locator(".card.is-error")).to_contain_text("too long for this model")
    page.get_by_role("button", name="pasted-1.txt").click()
    expect(page.get_by_role("dialog")).to_contain_text("100,000 lines")


def test_attached_files_go_with_the_message(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text("def add(a, b):\n    return a + b\n")
    page.locator("input[type=file][multiple]").set_input_files(path)
    expect(page.locator(".composer .chip")).to_contain_text("main.py")

    ask(page, "Explain this")
    answered(page)

    expect(page.locator(".message.is-user .chip")).to_contain_text("main.py")
    expect(page.locator(".composer .chip")).to_have_count(0)


def test_a_draft_outlives_a_reload_and_a_change_of_model(page: Page) -> None:
    page.locator(".composer-text").fill("half a thought")
    page.get_by_role("button", name="Model: starter").click()
    page.locator(".picker-row").first.click()
    expect(page.locator(".composer-text")).to_have_value("half a thought")
    page.wait_for_function("localStorage.getItem('hearth.draft.new') === 'half a thought'")

    page.reload()
    ready(page)

    expect(page.locator(".composer-text")).to_have_value("half a thought")


def test_attached_files_outlive_a_reload_and_are_gone_once_sent(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "words.py"
    file.write_text("WORDS = ['quagga']\n")
    page.locator(".composer input[type=file]").set_input_files(file)
    expect(page.locator(".composer .chip")).to_contain_text("words.py")
    page.wait_for_function("localStorage.getItem('hearth.files.new')?.includes('quagga')")

    page.reload()
    ready(page)
    expect(page.locator(".composer .chip")).to_contain_text("words.py")
    ask(page, PROMPT)
    answered(page)
    page.keyboard.press("Control+Shift+O")

    expect(page.locator(".welcome")).to_be_visible()
    expect(page.locator(".composer .chip")).to_have_count(0)
    expect(page.locator(".composer-text")).to_have_value("")


def test_a_new_chat_begins_empty(page: Page) -> None:
    """What had been sent stood in the next new chat again: two drafts were kept by one timer."""
    page.locator(".composer-text").fill(PROMPT)
    page.wait_for_function("localStorage.getItem('hearth.draft.new') !== null")
    page.locator(".composer-text").press("Enter")
    answered(page)

    page.keyboard.press("Control+Shift+O")

    expect(page.locator(".welcome")).to_be_visible()
    expect(page.locator(".composer-text")).to_have_value("")


def test_shift_and_enter_make_a_new_line(page: Page) -> None:
    page.locator(".composer-text").press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")

    expect(page.locator(".composer-text")).to_have_value("one\ntwo")
    expect(page.locator(".message")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator(".message.is-user")).to_have_text("one\ntwo")
    answered(page)


def test_trying_again_sends_the_draft_once(open_page: OpenPage, server: Server) -> None:
    """The message stood in the composer still, after it had been sent by the button."""
    id = imported(server, ("user", "Hello"), ("assistant", "Hello."))
    page = open_page(server, f"/#/chat/{id}")
    page.route("**/answers", lambda route: route.abort())
    ask(page, PROMPT)
    expect(page.locator(".refusal .card")).to_contain_text("cannot be reached")
    expect(page.locator(".composer-text")).to_have_value(PROMPT)
    page.unroute("**/answers")

    page.locator(".refusal").get_by_role("button", name="Try again").click()
    answered(page)

    expect(page.locator(".composer-text")).to_have_value("")
    expect(page.locator(".message.is-user")).to_have_count(2)


def test_an_address_that_is_no_escape_opens_the_page(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/chat/%")

    expect(page.locator(".card")).to_contain_text("This conversation is not here")
    ask(page, PROMPT)
    answered(page)


def test_an_id_is_only_an_id(open_page: OpenPage, server: Server) -> None:
    """`#/chat/x%2F..%2F..%2Fmodels` once asked for the models as if they were a conversation."""
    asked: list[str] = []
    page = open_page(server)
    page.on("request", lambda request: asked.append(request.url))

    page.evaluate("location.hash = '#/chat/x%2F..%2F..%2Fmodels'")

    expect(page.locator(".card")).to_contain_text("This conversation is not here")
    assert not [url for url in asked if url.endswith("/hearth/models")]


def test_prompts_come_by_a_slash(page: Page) -> None:
    page.get_by_role("button", name="Prompts").click()
    page.get_by_role("textbox", name="Name").fill("mine")
    page.get_by_role("textbox", name="Text").fill("Rewrite this in Go:")
    page.get_by_role("button", name="Save the prompt").click()
    page.keyboard.press("Escape")

    page.locator(".composer-text").press_sequentially("/mi")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")

    expect(page.locator(".composer-text")).to_have_value("Rewrite this in Go:")


def test_conversations_are_found_renamed_exported_imported_and_deleted(
    open_page: OpenPage, server: Server, tmp_path: Path
) -> None:
    id = imported(server, ("user", "The word is zanzibar"), ("assistant", "So it is."))
    page = open_page(server, f"/#/chat/{id}")
    page.keyboard.press("Control+k")
    page.keyboard.type("zanzibar")
    expect(page.locator(".snippet")).to_contain_text("zanzibar")
    row = page.locator(f".conversation[data-id={id}]")

    row.hover()
    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="Title").fill("About a word")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("searchbox", name="Search").fill("")
    expect(row).to_contain_text("About a word")

    row.get_by_role("button").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export as JSON").click()
    saved = tmp_path / "one.json"
    download.value.save_as(saved)
    assert "zanzibar" in json.dumps(json.loads(saved.read_text()))

    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    expect(page.locator(".welcome")).to_be_visible()

    page.locator("input[type=file][accept]").set_input_files(saved)
    expect(page.locator(".note")).to_contain_text("1 conversation imported")
    expect(page.get_by_role("link", name="About a word")).to_be_visible()


def test_a_conversation_leaves_as_markdown_and_comes_back(
    open_page: OpenPage, server: Server, tmp_path: Path
) -> None:
    words = ("Show me *stars*", "Here:\n\n```python\nprint('*')\n```")
    id = imported(server, ("user", words[0]), ("assistant", words[1]), title="Stars")
    page = open_page(server, f"/#/chat/{id}")
    page.locator(f".conversation[data-id={id}]").get_by_role("button").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export as Markdown").click()
    saved = tmp_path / "Stars.md"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "Stars.md"
    assert words[1] in saved.read_text("utf-8")
    httpx2.delete(f"{server.url}/hearth/conversations/{id}")

    page.locator("input[type=file][accept]").set_input_files(saved)
    expect(page.locator(".note")).to_contain_text("1 conversation imported")
    page.get_by_role("link", name="Stars").click()

    expect(page.locator(".message.is-user")).to_have_text(words[0])
    expect(page.locator(".message.is-assistant pre code")).to_have_text("print('*')")


def test_two_tabs_on_one_conversation_agree(open_page: OpenPage, server: Server) -> None:
    id = imported(server, ("user", "Hello"), ("assistant", "Hello."))
    first = open_page(server, f"/#/chat/{id}")
    second = open_page(server, f"/#/chat/{id}")
    ask(first, PROMPT)
    answered(first)

    second.evaluate("window.dispatchEvent(new Event('focus'))")

    expect(second.locator(".message")).to_have_count(4)


def test_a_model_that_is_gone_is_told_and_the_draft_stays(
    open_page: OpenPage, server: Server
) -> None:
    id = imported(server, ("user", "Hello"), ("assistant", "Hello."), model="no-such-model")
    page = open_page(server, f"/#/chat/{id}")

    ask(page, PROMPT)

    expect(page.locator(".refusal .card")).to_contain_text("This model is not here")
    expect(page.locator(".composer-text")).to_have_value(PROMPT)
    expect(page.locator(".message")).to_have_count(2)
    page.locator(".refusal").get_by_role("button", name="Choose another model").click()
    page.get_by_role("dialog", name="Model").get_by_role("button", name="starter").first.click()
    page.locator(".composer-text").press("Enter")
    answered(page)
    expect(page.locator(".message")).to_have_count(4)


def test_old_turns_that_have_no_room_are_told(open_page: OpenPage, server: Server) -> None:
    turn = ("user", "one two three four " * 60), ("assistant", "five six seven eight " * 60)
    id = imported(server, *turn * 12)
    page = open_page(server, f"/#/chat/{id}")

    ask(page, PROMPT)
    answered(page)

    expect(page.locator(".is-last .left-out")).to_contain_text("old turns left out")


def test_a_chat_deleted_elsewhere_is_told(open_page: OpenPage, server: Server) -> None:
    id = imported(server, ("user", "Hello"), ("assistant", "Hello."))
    page = open_page(server, f"/#/chat/{id}")
    httpx2.delete(f"{server.url}/hearth/conversations/{id}").raise_for_status()

    page.evaluate("window.dispatchEvent(new Event('focus'))")

    expect(page.locator(".refusal .card")).to_contain_text("This conversation is not here")
    expect(page.locator(".message")).to_have_count(2)


def test_an_answer_whose_chat_is_gone_ends(open_page: OpenPage, server: Server) -> None:
    """After a broken stream the page asked for the chat for ever and showed "reconnecting"."""
    id = imported(server, ("user", "Hello"), ("assistant", "Hello."))
    page = open_page(server, f"/#/chat/{id}")
    conversation = server.get(f"/hearth/conversations/{id}").json()
    question = {"id": "m_q", "role": "user", "content": PROMPT, "state": "complete"}
    answer = {"id": "m_a", "role": "assistant", "content": "So", "state": "streaming"}
    begun = {
        "conversation": conversation | {"leaf_id": "m_a"},
        "user_message": question | {"parent_id": conversation["leaf_id"], "created_at": 1},
        "answer": answer | {"parent_id": "m_q", "created_at": 2},
    }
    cut = f"event: start\ndata: {json.dumps(begun)}\n\n"
    page.route(
        "**/answers", lambda route: route.fulfill(content_type="text/event-stream", body=cut)
    )
    page.route(
        f"**/conversations/{id}", lambda route: route.fulfill(status=404, json={"error": {}})
    )

    ask(page, PROMPT)

    expect(page.locator(".refusal .card")).to_contain_text("This conversation is not here")
    expect(page.locator(".is-assistant.is-last[aria-busy=false]")).to_contain_text("So")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)


def test_a_conversation_that_is_gone_is_told(open_page: OpenPage, server: Server) -> None:
    page = open_page(server, "/#/chat/c_nothing")

    expect(page.locator(".card")).to_contain_text("This conversation is not here")


def test_sixty_turns_stream_in_real_time(open_page: OpenPage, slow_server: Server) -> None:
    """The page may not be slower than the engine, however long the conversation is."""
    turn = Path(__file__).with_name("markdown.md").read_text("utf-8")
    id = imported(slow_server, *(("user", "Go on"), ("assistant", turn)) * 60)
    slow_server_settings = {"parameters": {"max_tokens": 629}}
    httpx2.patch(f"{slow_server.url}/hearth/conversations/{id}", json=slow_server_settings)
    page = open_page(slow_server, f"/#/chat/{id}")
    page.evaluate("""() => {
        window.began = 0;
        new MutationObserver(() => {
            const last = document.querySelector(".message.is-last.is-assistant");
            if (last?.querySelector(".is-writing")) window.began ||= performance.now();
            if (window.began && last?.ariaBusy === "false" && !window.ended) {
                window.ended = performance.now();
            }
        }).observe(document.querySelector(".messages"),
            {subtree: true, childList: true, attributes: true, attributeFilter: ["aria-busy"]});
    }""")

    ask(page, "Go on")
    page.wait_for_function("window.ended")

    shown_s = page.evaluate("(window.ended - window.began) / 1000")
    last = httpx2.get(f"{slow_server.url}/hearth/conversations/{id}").json()["messages"][-1]
    engine_s = last["figures"]["duration_s"] - last["figures"]["first_token_s"]
    assert last["figures"]["completion_tokens"] == 629
    assert shown_s <= 1.3 * engine_s


def test_the_server_may_restart_in_the_middle_of_an_answer(
    open_page: OpenPage, tmp_path: Path, slow_engine: Path
) -> None:
    hearth = Hearth(tmp_path)
    more = {**WITH_PAGE, "HEARTH_LLAMA_SERVER": str(slow_engine)}
    with hearth.serving(**more) as first:
        wait_for_page(first)
        page = open_page(first, preferences=ENDLESS)
        ask(page, "Go on for ever")
        expect(page.locator(".is-assistant strong").nth(20)).to_be_visible()
        port = first.url.rsplit(":", 1)[1]
        first.child.kill()
    expect(page.locator(".is-assistant")).to_contain_text("Reconnecting")

    with hearth.serving("--port", port, **more):
        expect(page.locator(".card.is-warning")).to_contain_text("interrupted")
        text = page.locator(".is-assistant .markdown").last.inner_text()
        assert "four five six" in text
        page.get_by_role("button", name="Continue").click()
        expect(page.locator(".is-assistant[aria-busy=true]")).to_be_visible()
        page.get_by_role("button", name="Stop", exact=True).click()
        answered(page)


def test_the_keys_are_told_and_work(page: Page) -> None:
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("Choose the model")
    page.keyboard.press("Escape")

    page.keyboard.press("Control+Shift+M")
    expect(page.get_by_role("searchbox", name="Search models")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Shift+Escape")
    expect(page.locator(".composer-text")).to_be_focused()
