"""Conversations: listed, found, changed, carried elsewhere, and nobody else's business."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.served import FakeModel, Served, served
from tests.gateway.talking import CONVERSATIONS, Talk, begin
from tests.gateway.test_door import bearer


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, {"fake": FakeModel()}) as running:
        yield running


def said(server: Served, *texts: str, **fields: Any) -> Talk:
    """A conversation in which the user said these things."""
    talk = begin(server, **fields)
    messages = [{"role": "user", "content": text} for text in texts]
    assert talk.ask("POST", "/messages", {"messages": messages})[0] == 201
    return talk


def get(server: Served, path: str, headers: dict[str, str] | None = None) -> Any:
    status, _, data = server.request("GET", path, headers=headers)
    assert status == 200, data
    return json.loads(data)


def found(server: Served, query: str) -> list[str]:
    results = get(server, f"{CONVERSATIONS}/search?q={quote(query)}")["results"]
    return [one["conversation"]["title"] for one in results]


def test_conversations_come_page_by_page_those_changed_last_first(empty: Served) -> None:
    talks = [said(empty, f"number {number}") for number in range(5)]
    talks[1].ask("PATCH", "", {"title": "renamed"})

    titles, after = [], ""
    while True:
        page = get(empty, f"{CONVERSATIONS}?limit=2{after}")
        titles += [one["title"] for one in page["conversations"]]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"

    assert titles == ["renamed", "number 4", "number 3", "number 2", "number 0"]


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=x", "?limit=201", "?after=abc", "?limit=1e9"]
)
def test_a_page_that_cannot_be_is_refused(server: Served, query: str) -> None:
    assert server.request("GET", CONVERSATIONS + query)[0] == 400


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("quicksort", ["Sorting"]),
        ("QuickSort pivot", ["Sorting"]),
        ("快速排序", ["排序"]),
        ("排序", ["排序"]),
        ("序", ["排序"]),
        ("x", ["Sorting"]),
        ("sorting", ["Sorting"]),
        ("a%", []),
        ("100%", ["Percent"]),
        ('f("x") OR', ["Sorting"]),
        ('"', ["Sorting"]),
        ("nothing", []),
        ("", []),
        ("   \x00 ", []),
        ("pivot 快速", []),
    ],
)
def test_searching_finds_words_in_any_language(
    empty: Served, query: str, titles: list[str]
) -> None:
    said(empty, 'quicksort with a pivot; f("x") OR g', title="Sorting")
    said(empty, "请写一个快速排序函数", title="排序")
    said(empty, "what is 100% of it", title="Percent")

    assert found(empty, query) == titles


def test_what_was_found_is_shown_in_its_text(empty: Served) -> None:
    said(empty, "padding " * 50 + "the needle " + "padding " * 50)

    (result,) = get(empty, f"{CONVERSATIONS}/search?q=needle")["results"]

    assert "the needle" in result["snippet"] and len(result["snippet"]) < 200
    assert result["message_id"].startswith("m_")


def test_what_is_deleted_is_not_found_any_more(empty: Served) -> None:
    talk = said(empty, "quicksort")

    assert talk.ask("DELETE") == (200, {"deleted": 1})

    assert found(empty, "quicksort") == [] and talk.ask("GET")[0] == 404
    said(empty, "one"), said(empty, "two")
    status, _, data = empty.request("DELETE", CONVERSATIONS)
    assert (status, json.loads(data)) == (200, {"deleted": 2})
    assert get(empty, CONVERSATIONS) == {"conversations": [], "next": None}


def test_a_title_is_made_given_and_made_again(server: Served) -> None:
    talk = said(server, "## **How** do I `sort`?\nmore")
    assert talk.whole()["title"] == "How do I sort?"

    renamed = talk.ask("PATCH", "", {"title": "Sorting"})[1]
    assert (renamed["title"], renamed["is_titled"]) == ("Sorting", True)

    assert talk.ask("PATCH", "", {"title": ""})[1]["title"] == "How do I sort?"


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 201},
        {"title": 5},
        {"system_prompt": "x" * 65_537},
        {"parameters": {"temperature": -1}},
        {"parameters": {"stop": ["x"] * 33}},
        {"parameters": []},
        {"max_turns": -1},
        {"leaf_id": "../../x"},
    ],
)
def test_fields_out_of_their_bounds_are_refused(server: Served, fields: dict[str, Any]) -> None:
    talk = begin(server)
    before = talk.whole()

    status, answer = talk.ask("PATCH", "", fields)

    assert status == 400 and answer["error"]["param"]
    assert talk.whole() == before


def test_nobody_sees_what_is_anothers(tmp_path: Path) -> None:
    with served(tmp_path, {"fake": FakeModel()}) as server:
        ada, bob = (bearer(server.keys.create(name)) for name in ("ada", "bob"))
        talk = begin(server, ada)
        answer = talk.answer(action="send", content="my secret")
        theirs = Talk(server, talk.id, bob)

        refusals = [
            theirs.ask("GET"),
            theirs.ask("PATCH", "", {"title": "mine"}),
            theirs.ask("DELETE"),
            theirs.ask("POST", "/answers", {"action": "send", "content": "x"}),
            theirs.ask("POST", "/messages", {"messages": [{"role": "user", "content": "x"}]}),
            theirs.ask("POST", "/branch", {"message_id": answer["id"]}),
            theirs.ask("GET", "/export"),
            theirs.ask("GET", f"/answers/{answer['id']}"),
            theirs.ask("POST", f"/answers/{answer['id']}/stop"),
        ]

        assert [status for status, _ in refusals] == [404] * len(refusals)
        assert get(server, CONVERSATIONS, bob)["conversations"] == []
        assert get(server, f"{CONVERSATIONS}/search?q=secret", bob)["results"] == []
        assert get(server, f"{CONVERSATIONS}/export", bob)["conversations"] == []
        assert server.request("DELETE", CONVERSATIONS, headers=bob)[0] == 200
        assert len(talk.messages()) == 2


def test_a_new_key_of_the_same_name_finds_the_old_conversations(tmp_path: Path) -> None:
    with served(tmp_path, {"fake": FakeModel()}) as server:
        begin(server, bearer(server.keys.create("ada")), title="kept")
        server.keys.revoke("ada")

        again = get(server, CONVERSATIONS, bearer(server.keys.create("ada")))

        assert [one["title"] for one in again["conversations"]] == ["kept"]


def test_what_is_exported_can_be_imported_and_is_the_same(empty: Served) -> None:
    talk = begin(empty, system_prompt="Be brief.", parameters={"seed": 1}, max_turns=9)
    first = talk.answer(
        action="send", content="你好", attachments=[{"name": "a.py", "text": "x = 1"}]
    )
    talk.answer(action="regenerate")
    talk.ask("POST", "/branch", {"message_id": first["id"]})
    said(empty, "another", title="named")
    document = get(empty, f"{CONVERSATIONS}/export")
    empty.request("DELETE", CONVERSATIONS)

    status, imported = empty.post(f"{CONVERSATIONS}/import", document)

    assert status == 201 and imported["imported"] == 2
    again = get(empty, f"{CONVERSATIONS}/export")
    assert _without_ids(again) == _without_ids(document)
    assert found(empty, "你好") == ["你好"]


def _without_ids(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversations with ids replaced by places, as an import gives new ones."""
    result = []
    for one in document["conversations"]:
        places = {message["id"]: number for number, message in enumerate(one["messages"])}
        messages = [
            message
            | {"id": places[message["id"]], "parent_id": places.get(message["parent_id"])}
            | {"updated_at": 0}
            for message in one["messages"]
        ]
        result.append(one | {"id": "", "leaf_id": places[one["leaf_id"]], "messages": messages})
    return result


def test_one_conversation_is_exported_to_read(server: Served) -> None:
    talk = said(server, "hello", title='A / B "c" 你好', system_prompt="Be brief.")

    status, headers, data = server.request("GET", f"{talk.path}/export?format=markdown")

    assert status == 200 and headers["content-type"].startswith("text/markdown")
    assert headers["content-disposition"].isascii()
    assert data.decode() == '# A / B "c" 你好\n\n> Be brief.\n\n## You\n\nhello\n'


MARKDOWN = {"Content-Type": "text/markdown; charset=utf-8"}


def appended(server: Served, messages: list[dict[str, Any]], **fields: Any) -> Talk:
    talk = begin(server, **fields)
    assert talk.ask("POST", "/messages", {"messages": messages})[0] == 201
    return talk


def carried(server: Served, markdown: bytes) -> dict[str, Any]:
    """The only conversation of an import."""
    status, _, data = server.request("POST", f"{CONVERSATIONS}/import", markdown, MARKDOWN)
    assert status == 201, data
    (id,) = json.loads(data)["ids"]
    return dict(get(server, f"{CONVERSATIONS}/{id}"))


@given(
    st.lists(
        st.sampled_from(
            [
                "## You",
                "## Assistant (fake)",
                r"\## You",
                "```python",
                "````",
                "~~~",
                "x = 1",
                "# 标题",
                "> said",
                "",
            ]
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_markdown_brings_back_what_was_said(server: Served, lines: list[str]) -> None:
    """Headings and fences that the messages hold change nothing; a block that was cut is closed."""
    said_by_model = "\n".join(["Look:", *lines, "end"])
    talk = appended(
        server,
        [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": said_by_model, "model": "fake"},
            {"role": "user", "content": "last"},
        ],
        title="A talk",
        system_prompt="Be brief.\n\nBe kind.",
    )
    exported = server.request("GET", f"{talk.path}/export?format=markdown")[2]

    whole = carried(server, exported)

    assert (whole["title"], whole["system_prompt"]) == ("A talk", "Be brief.\n\nBe kind.")
    assert [one["role"] for one in whole["messages"]] == ["user", "assistant", "user"]
    first, answer, last = whole["messages"]
    assert (first["content"], last["content"]) == ("first", "last")
    assert answer["model"] == "fake"
    added = answer["content"].removeprefix(said_by_model)
    assert answer["content"].startswith(said_by_model) and added.strip("\n`~") == ""


def test_an_answer_that_was_stopped_is_still_that_after_markdown(server: Served) -> None:
    page = b"# T\n\n## You\n\nhello\n\n## Assistant\n\nhalf\n\n*(stopped)*\n"

    _, answer = carried(server, page)["messages"]

    assert (answer["content"], answer["state"]) == ("half", "stopped")


@pytest.mark.parametrize(
    "hostile", [b"\xff\xfe", b"## You\n\nx\n" * 4097, b"> " + b"x" * 70_000 + b"\n\n## You\n\nx"]
)
def test_hostile_markdown_is_refused_whole(empty: Served, hostile: bytes) -> None:
    status, _, data = empty.request("POST", f"{CONVERSATIONS}/import", hostile, MARKDOWN)

    assert status == 400 and json.loads(data)["error"]["message"]
    assert get(empty, CONVERSATIONS)["conversations"] == []


def test_a_list_goes_on_after_times_of_any_form(empty: Served) -> None:
    """A time that came with an import had too many digits for the server's own `next`."""
    times = (12.123456789012345, 1e-05, 3.0)
    documents = [document(HELLO, updated_at=time)["conversations"][0] for time in times]
    body = document() | {"conversations": documents}
    assert empty.post(f"{CONVERSATIONS}/import", body)[0] == 201

    page, seen = get(empty, f"{CONVERSATIONS}?limit=1"), 1
    while page["next"] is not None:
        page, seen = get(empty, f"{CONVERSATIONS}?limit=1&after={quote(page['next'])}"), seen + 1

    assert seen >= 3


def document(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    conversation = {"title": "x", "messages": list(messages)} | fields
    return {"format": "codehearth.conversations", "version": 1, "conversations": [conversation]}


HELLO = {"id": "a", "role": "user", "content": "hello"}


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"format": "other", "version": 1, "conversations": []},
        document(HELLO) | {"version": 2},
        document(HELLO, HELLO),
        document(HELLO | {"parent_id": "a"}),
        document(HELLO | {"parent_id": "b"}, HELLO | {"id": "b", "parent_id": "a"}),
        document(HELLO | {"role": "system"}),
        document(HELLO | {"id": "../../x"}),
        document(HELLO | {"id": "' OR 1=1"}),
        document(HELLO | {"content": None}),
        document(HELLO | {"state": "cooking"}),
        document(HELLO | {"created_at": 1e300}),
        document(HELLO | {"error": {"message": "x" * 5000}}),
        document(HELLO | {"figures": {"tokens_per_s": -1}}),
        document(HELLO | {"attachments": [{"name": "x", "text": "y"}] * 17}),
        document(HELLO, leaf_id="z"),
        document(HELLO, title="x" * 201),
        document(HELLO, parameters={"temperature": 99}),
        document(*[HELLO | {"id": f"m{n}"} for n in range(4097)]),
        {"format": "codehearth.conversations", "version": 1, "conversations": [{}] * 5001},
    ],
)
def test_a_hostile_import_is_refused_whole(empty: Served, hostile: dict[str, Any]) -> None:
    if hostile.get("conversations"):
        hostile["conversations"].insert(0, {"title": "harmless"})

    status, answer = empty.post(f"{CONVERSATIONS}/import", hostile)

    assert status == 400 and answer["error"]["message"]
    assert get(empty, CONVERSATIONS)["conversations"] == []


def test_an_import_may_be_larger_than_other_bodies_but_not_without_end(empty: Served) -> None:
    large = [HELLO | {"id": f"m{n}", "content": "x" * 3_000_000} for n in range(4)]
    assert empty.post(f"{CONVERSATIONS}/import", document(*large))[0] == 201

    status, _, _ = empty.request(
        "POST", f"{CONVERSATIONS}/import", headers={"Content-Length": str(33 * 2**20)}
    )

    assert status == 413


def test_what_was_being_written_elsewhere_is_interrupted_here(empty: Served) -> None:
    writing = {"id": "b", "parent_id": "a", "role": "assistant", "content": "x"}

    status, imported = empty.post(
        f"{CONVERSATIONS}/import", document(HELLO, writing | {"state": "streaming"})
    )

    assert status == 201
    assert Talk(empty, imported["ids"][0]).messages()[1]["state"] == "interrupted"


def test_a_hundred_thousand_pasted_lines_are_kept(server: Served) -> None:
    talk = begin(server)
    lines = "\n".join(f"line {number}" for number in range(100_000))

    answer = talk.answer(
        action="send", content="see", attachments=[{"name": "paste.txt", "text": lines}]
    )

    assert answer["state"] in ("done", "failed")  # the model's context is smaller than that
    assert talk.messages()[0]["attachments"][0]["text"] == lines


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = [
    "title", "model", "system_prompt", "parameters", "max_turns", "leaf_id", "messages", "action",
    "content", "attachments", "parent_id", "message_id", "key", "format", "version",
    "conversations", "prompts", "language", "theme", "winner", "first", "second", "prompt",
]  # fmt: skip
ROUTES = [
    ("POST", "/hearth/conversations"),
    ("POST", "/hearth/conversations/import"),
    ("PATCH", "{talk}"),
    ("POST", "{talk}/branch"),
    ("POST", "{talk}/messages"),
    ("POST", "{talk}/answers"),
    ("POST", "/hearth/pulls"),
    ("POST", "/hearth/votes"),
    ("PUT", "/hearth/preferences"),
    ("POST", "/hearth/login"),
]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    route=st.sampled_from(ROUTES),
    body=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6),
    is_plain=st.booleans(),
)
def test_whatever_is_sent_the_server_says_what_is_wrong(
    server: Served, route: tuple[str, str], body: dict[str, Any], is_plain: bool
) -> None:
    if is_plain:  # a body that is nearly right goes deeper
        body = {"action": "send", "content": "x", "model": "fake", "winner": "tie"} | body
    talk = begin(server)
    data = json.dumps(body).encode("utf-8", "replace")

    status, _, answer = server.request(
        route[0], route[1].format(talk=talk.path), data, {"Content-Type": "application/json"}
    )

    assert status < 500, answer
    assert b"Traceback" not in answer
    talk.ask("DELETE")


@pytest.mark.parametrize(
    "path",
    [
        "{talk}/answers/%00", "/hearth/conversations/%FF%FE", "/hearth/conversations/..%2f..",
        "/hearth/pulls/x",
        "/hearth/lab/..%2fkeys", "/hearth/lab/%00.json", "/hearth/lab/records.sqlite",
        "/hearth/votes?limit=-1", "/hearth/conversations/search?q=%00%FF&limit=9",
        "/hearth/conversations/search?q=" + "a" * 201, "{talk}/export?format=exe",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_strange_addresses_are_no_mistakes_of_ours(server: Served, method: str, path: str) -> None:
    talk = begin(server)

    status, _, answer = server.request(method, path.format(talk=talk.path), {})

    assert status < 500, answer
