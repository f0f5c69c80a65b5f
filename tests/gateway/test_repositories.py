"""A repository behind the API: chats and middles are shown its code, and say what they saw."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from codehearth.gateway import repositories
from codehearth.repo.shelf import Shelf
from tests.gateway.served import FakeModel, Served, served
from tests.gateway.talking import begin
from tests.gateway.test_faults import eventually

BASKET = "def total_price(basket):\n    return sum(basket)\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    (root / "basket.py").write_text(BASKET)
    (root / "mail, 邮件.py").write_text("def send_invoice(order):\n    return 'sent'\n")
    (root / "app.py").write_text("from basket import total_price\n\ntotal_price([])\n")
    for words in (("init", "-q"), ("remote", "add", "origin", "https://example.org/team/shop.git")):
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Served]:
    house = tmp_path_factory.mktemp("house")
    Shelf(house / "data").add(root, "shop")
    with served(house, {"fake": FakeModel()}) as running:
        yield running


def asked(server: Served) -> dict[str, Any]:
    body: dict[str, Any] = server.models["fake"].control("/fake/last")["body"]
    return body


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_shown_the_code_and_tells_which(server: Served, stream: bool) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.with_raw_response.create(
            model="fake",
            messages=[
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": "hi"},
                {"role": "user", "content": "What does total_price do?"},
            ],
            stream=stream,
            extra_body={"repository": "shop"},
        )

    places = answer.headers["x-hearth-snippets"].split(", ")
    assert places[0] == "basket.py:1-2"
    messages = asked(server)["messages"]
    assert [one["content"] for one in messages[:2]] == ["hello", "hi"]
    text = messages[2]["content"]
    assert text.startswith("What does total_price do?\n\nbasket.py:1-2\n```\ndef total_price")
    assert "repository" not in asked(server)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": [{"role": "user", "content": "total_price?"}]}),
        ("/v1/responses", {"input": "total_price?"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "total_price?"}]}),
        ("/api/generate", {"prompt": "total_price?"}),
    ],
)
def test_other_makers_chats_are_shown_it_too(
    server: Served, path: str, body: dict[str, Any]
) -> None:
    status, headers, data = server.request(
        "POST", path, body | {"repository": "shop", "stream": False}
    )

    assert status == 200, data
    assert headers["x-hearth-snippets"].startswith("basket.py:1-2")
    assert "def total_price" in asked(server)["messages"][-1]["content"]


def test_paths_in_the_header_are_encoded(server: Served) -> None:
    status, headers, _ = server.request(
        "POST",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "send_invoice"}], "repository": "shop"},
    )

    assert status == 200
    assert headers["x-hearth-snippets"] == "mail%2C%20%E9%82%AE%E4%BB%B6.py:1-2"


def test_without_a_match_or_a_repository_nothing_is_added(server: Served) -> None:
    for more in ({}, {"repository": "shop"}):
        body = {"messages": [{"role": "user", "content": "zebra?"}], **more}
        status, headers, _ = server.request("POST", "/v1/chat/completions", body)

        assert status == 200 and "x-hearth-snippets" not in headers
        assert asked(server)["messages"] == [{"role": "user", "content": "zebra?"}]


def test_a_long_conversation_leaves_less_room_and_never_too_much_is_sent(server: Served) -> None:
    body = {
        "messages": [{"role": "user", "content": "total_price " + "x " * 6000}],
        "repository": "shop",
    }

    status, headers, _ = server.request("POST", "/v1/chat/completions", body)

    assert status == 200 and "x-hearth-snippets" not in headers


def test_an_unknown_repository_is_named_with_what_is_near(server: Served) -> None:
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "def f(", "suffix": ")"}),
    ):
        status, answer = server.post(path, body | {"repository": "shp"})

        assert status == 404 and "'shp'" in answer["error"]["message"]
        assert answer["error"]["param"] == "repository"
    status, _ = server.post("/v1/chat/completions", {"messages": [], "repository": 5})
    assert status == 400
    assert server.request("GET", "/hearth/repositories/%2e%2e%2fx/search?q=a")[0] == 404


FIM = {"prompt": "import basket\n\nprint(total_price)\nx = tot", "suffix": "\n", "max_tokens": 8}


@pytest.mark.parametrize(
    "more",
    [{"repository": "shop"}, {"repository": "shop", "filepath": "app.py"}, {"filepath": "{root}"}],
    ids=["named", "named, and its file", "by the file's place"],
)
def test_a_middle_is_shown_what_the_lines_above_name(
    server: Served, root: Path, more: dict[str, str]
) -> None:
    more = {key: value.format(root=root / "app.py") for key, value in more.items()}

    status, headers, _ = server.request("POST", "/v1/completions", FIM | more)

    assert status == 200 and "basket.py:1-2" in headers["x-hearth-snippets"]
    assert "return sum(basket)" in asked(server)["prompt"]
    if "filepath" in more:
        assert "app.py" not in headers["x-hearth-snippets"]


def test_tabbys_client_names_the_repository_by_its_address(server: Served) -> None:
    segments = {
        "prefix": "import basket\n\nprint(total_price)\n",
        "suffix": "",
        "filepath": "app.py",
        "git_url": "git@example.org:team/shop.git",
    }

    status, headers, _ = server.request("POST", "/v1/completions", {"segments": segments})

    assert status == 200 and headers["x-hearth-snippets"] == "basket.py:1-2"


def test_what_the_editor_sent_itself_is_not_sent_twice(server: Served) -> None:
    segments = {
        "prefix": "print(total_price)\n",
        "filepath": "app.py",
        "git_url": "https://example.org/team/shop",
        "declarations": [{"filepath": "basket.py", "body": BASKET}],
    }

    status, headers, _ = server.request("POST", "/v1/completions", {"segments": segments})

    assert status == 200 and "x-hearth-snippets" not in headers
    assert asked(server)["prompt"].count("return sum(basket)") == 1


def test_a_question_on_the_page_keeps_what_was_found_as_its_files(server: Served) -> None:
    talk = begin(server)

    talk.answer(action="send", content="What does total_price do?", repository="shop")
    question = talk.messages()[0]
    talk.answer(action="send", content="And why?")

    assert question["content"] == "What does total_price do?"
    assert question["attachments"][0] == {"name": "basket.py:1-2", "text": BASKET.rstrip()}
    first = asked(server)["messages"][0]["content"]
    assert "basket.py:1-2\n```\ndef total_price" in first
    status, refused = talk.ask(
        "POST", "/answers", {"action": "send", "content": "x", "repository": "nope"}
    )
    assert status == 404 and refused["error"]["param"] == "repository"
    assert len(talk.messages()) == 4


def test_repositories_are_listed_and_searched(server: Served, root: Path) -> None:
    status, _, data = server.request("GET", "/hearth/repositories")
    (one,) = json.loads(data)["repositories"]
    assert status == 200 and (one["name"], one["num_files"]) == ("shop", 3)
    assert str(root) not in data.decode()

    status, _, data = server.request(
        "GET", "/hearth/repositories/shop/search?q=total_price&limit=1"
    )
    (found,) = json.loads(data)["results"]
    assert status == 200 and found["path"] == "basket.py" and found["last_line"] == 2
    for query in ("", "?q=", "?q=a&limit=0", f"?q={'a' * 5000}"):
        assert server.request("GET", f"/hearth/repositories/shop/search{query}")[0] == 400


def test_what_another_process_indexes_is_found_at_once(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "a.py").write_text("def first(): pass\n")
    Shelf(tmp_path / "data").add(root, "code")
    question = "/hearth/repositories/code/search?q=second"

    with served(tmp_path) as running:
        before = json.loads(running.request("GET", question)[2])["results"]
        (root / "b.py").write_text("def second(): pass\n")
        Shelf(tmp_path / "data").add(root, "code")
        after = json.loads(running.request("GET", question)[2])["results"]

    assert (before, [one["path"] for one in after]) == ([], ["b.py"])


def test_a_damaged_index_takes_no_suggestion_away(tmp_path: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    (root / "basket.py").write_text(BASKET)
    shelf = Shelf(tmp_path / "data")
    shelf.add(root, "code")

    with served(tmp_path) as running:
        by_place = FIM | {"filepath": str(root / "app.py")}
        assert (
            "basket.py"
            in running.request("POST", "/v1/completions", by_place)[1]["x-hearth-snippets"]
        )
        shelf.get("code").path.write_bytes(b"damaged" * 4096)
        status, headers, _ = running.request("POST", "/v1/completions", by_place | {"seed": 3})
        named, _ = running.post("/v1/completions", FIM | {"repository": "code"})

    assert (status, "x-hearth-snippets" in headers, named) == (200, False, 503)


def test_an_index_in_use_sees_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "REFRESH_EVERY_S", 0.05)
    root = tmp_path / "code"
    root.mkdir()
    (root / "a.py").write_text("def old_name(): pass\n")
    Shelf(tmp_path / "data").add(root, "code")

    with served(tmp_path) as running:

        def found(word: str) -> bool:
            path = f"/hearth/repositories/code/search?q={word}"
            return bool(json.loads(running.request("GET", path)[2])["results"])

        assert found("old_name")
        (root / "a.py").write_text("def new_name(): pass\n")
        os.utime(root / "a.py", ns=(1, 1))
        eventually(lambda: found("new_name") and not found("old_name"))
