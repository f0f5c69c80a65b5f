"""Answers in conversations: kept while they are written, whoever leaves or dies meanwhile."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codehearth.gateway.page import answers
from codehearth.records.database import FILE_NAME
from tests.gateway.served import FakeModel, Served, served
from tests.gateway.talking import Talk, begin, until
from tests.gateway.test_faults import eventually

LONG = {"max_tokens": 100_000}
SLOW = ("--tokens", "100000", "--token-delay-s", "0.01")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, {"fake": FakeModel(flags=SLOW, num_slots=16)}) as running:
        yield running


def begun(talk: Talk, **body: Any) -> str:
    """The id of an answer that has its first words, and that nobody watches any more."""
    with talk.watching(
        "POST", "/answers", {"action": "send", "content": "hello", "parameters": LONG} | body
    ) as events:
        started = until(events, "start")
        until(events, "delta")
    return str(started["answer"]["id"])


def saved(talk: Talk, message_id: str) -> dict[str, Any]:
    return next(one for one in talk.messages() if one["id"] == message_id)


def test_a_question_and_its_answer_are_kept_with_their_figures(server: Served) -> None:
    talk = begin(server, system_prompt="Be brief.")

    answer = talk.answer(action="send", content="Say alpha\n\nand more")

    assert answer["state"] == "done" and answer["content"].startswith("alpha beta gamma 你好 🙂 ")
    figures = answer["figures"]
    assert (figures["prompt_tokens"], figures["completion_tokens"]) == (7, 8)
    assert (figures["context_used"], figures["context_max"]) == (15, 4096)
    assert figures["finish_reason"] == "length" and figures["left_out_turns"] == 0
    assert figures["tokens_per_s"] > 0 and figures["first_token_s"] >= 0
    whole = talk.whole()
    assert whole["title"] == "Say alpha" and whole["model"] == "fake"
    assert [one["role"] for one in whole["messages"]] == ["user", "assistant"]
    assert whole["leaf_id"] == answer["id"]
    assert whole["messages"][1] | {"updated_at": 0} == answer | {"updated_at": 0}


def test_the_model_gets_history_system_prompt_parameters_and_attached_files(
    server: Served,
) -> None:
    talk = begin(server, system_prompt="Be brief.", parameters={"temperature": 0.1, "seed": 3})
    talk.answer(action="send", content="one")

    talk.answer(
        action="send",
        content="two",
        attachments=[{"name": "a.py", "text": "print('```')\n"}],
        parameters={"max_tokens": 4, "seed": 5},
    )

    body = server.models["fake"].control("/fake/last")["body"]
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.1, 5, 4)
    assert [one["role"] for one in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][3]["content"] == "two\n\na.py\n````\nprint('```')\n````"


def test_alternatives_stand_beside_each_other(server: Served) -> None:
    talk = begin(server)
    first = talk.answer(action="send", content="one")
    talk.answer(action="send", content="two")

    again = talk.answer(action="regenerate", message_id=first["id"])
    edited = talk.answer(action="edit", message_id=first["parent_id"], content="uno")

    assert again["parent_id"] == first["parent_id"] and again["id"] != first["id"]
    messages = {one["id"]: one for one in talk.messages()}
    roots = [one for one in messages.values() if one["parent_id"] is None]
    assert [one["content"] for one in roots] == ["one", "uno"]
    assert edited["parent_id"] == roots[1]["id"]
    assert talk.whole()["leaf_id"] == edited["id"]
    status, shown = talk.ask("POST", "/branch", {"message_id": first["id"]})
    assert status == 200
    assert messages[messages[shown["leaf_id"]]["parent_id"]]["content"] == "two"


def test_an_answer_goes_on_where_it_ended(server: Served) -> None:
    talk = begin(server)
    short = talk.answer(action="send", content="one", parameters={"max_tokens": 3})

    longer = talk.answer(action="continue")

    assert longer["id"] == short["id"] and longer["content"].startswith(short["content"])
    assert longer["figures"]["completion_tokens"] == 3 + 8
    sent = server.models["fake"].control("/fake/last")["body"]["messages"]
    assert sent[-1] == {"role": "assistant", "content": short["content"]}
    assert len(talk.messages()) == 2


def test_an_answer_goes_on_when_its_tab_is_closed_and_can_be_watched_again(slow: Served) -> None:
    talk = begin(slow)
    message_id = begun(talk)

    with talk.watching("GET", f"/answers/{message_id}") as events:
        there = until(events, "start")["answer"]
        more = until(events, "delta")["content"]
        status, stopped = talk.ask("POST", f"/answers/{message_id}/stop")
        rest = "".join(data.get("content", "") for name, data in events if name == "delta")

    assert there["state"] == "streaming" and there["content"]
    assert status == 200 and stopped["state"] == "stopped"
    assert stopped["content"] == there["content"] + more + rest
    assert saved(talk, message_id)["content"] == stopped["content"]
    assert slow.models["fake"].num_running() == 0


def test_two_tabs_see_the_same(slow: Served) -> None:
    talk = begin(slow)
    message_id = begun(talk)
    seen = []

    with (
        talk.watching("GET", f"/answers/{message_id}") as one,
        talk.watching("GET", f"/answers/{message_id}") as other,
    ):
        starts = until(one, "start")["answer"], until(other, "start")["answer"]
        talk.ask("POST", f"/answers/{message_id}/stop")
        for start, events in zip(starts, (one, other), strict=True):
            deltas = [data for name, data in events if name == "delta"]
            seen.append(start["content"] + "".join(one["content"] for one in deltas))

    assert seen[0] == seen[1] == saved(talk, message_id)["content"]


def test_what_came_is_in_the_records_while_it_is_written(slow: Served, tmp_path: Path) -> None:
    """Somebody pulls the plug: what another process sees in the file is what is left."""
    talk = begin(slow)
    message_id = begun(talk)

    def in_file() -> tuple[str, str]:
        with sqlite3.connect(tmp_path / "data" / FILE_NAME) as file:
            row = file.execute("SELECT content, state FROM messages WHERE id = ?", (message_id,))
            found: tuple[str, str] = row.fetchone()
        file.close()
        return found

    assert eventually(lambda: len(in_file()[0]) > 100)
    assert in_file()[1] == "streaming"
    talk.ask("POST", f"/answers/{message_id}/stop")


@pytest.mark.parametrize("what", ["die-mid-stream", "cut", "error-event", "bad-json"])
def test_an_engine_that_breaks_off_leaves_what_came(tmp_path: Path, what: str) -> None:
    flags = ("--tokens", "40", "--token-delay-s", "0.005")
    with served(tmp_path, {"fake": FakeModel(flags=(*flags, "--do", what))}) as server:
        talk = begin(server)

        answer = talk.answer(action="send", content="hello")

        has_text = bool(answer["content"])
        assert has_text == (what != "bad-json")
        assert answer["state"] == ("interrupted" if has_text else "failed")
        assert answer["error"]["message"]
        kept = saved(talk, answer["id"])
        assert (kept["content"], kept["state"]) == (answer["content"], answer["state"])


def test_a_server_that_leaves_interrupts_and_the_next_one_has_what_came(tmp_path: Path) -> None:
    with served(tmp_path, {"fake": FakeModel(flags=SLOW)}) as server:
        talk = begin(server)
        message_id = begun(talk)

    with served(tmp_path, {"fake": FakeModel()}) as server:
        talk = Talk(server, talk.id)
        message = saved(talk, message_id)
        assert message["state"] == "interrupted" and message["content"]

        answer = talk.answer(action="continue")

        assert answer["state"] == "done" and answer["content"].startswith(message["content"])


def test_a_message_that_is_being_written_cannot_be_answered(slow: Served) -> None:
    talk = begin(slow)
    message_id = begun(talk)
    before = len(talk.messages())

    for body in ({"action": "send", "content": "and?"}, {"action": "continue"}):
        status, answer = talk.ask("POST", "/answers", body)
        assert (status, answer["error"]["code"]) == (409, "conflict")

    assert len(talk.messages()) == before
    assert talk.ask("POST", f"/answers/{message_id}/stop")[0] == 200


def test_a_user_may_have_so_many_answers_written_and_no_more(slow: Served) -> None:
    talk = begin(slow)
    first = begun(talk)
    for _ in range(answers.MAX_RUNNING - 1):
        begun(talk, action="regenerate", message_id=first)

    status, refused = talk.ask("POST", "/answers", {"action": "regenerate"})

    assert (status, refused["error"]["code"]) == (429, "rate_limit_exceeded")
    _, _, running = slow.request("GET", "/hearth/answers")
    assert len(json.loads(running)["answers"]) == answers.MAX_RUNNING
    assert talk.ask("DELETE")[0] == 200
    assert eventually(lambda: slow.models["fake"].num_running() == 0)
    assert talk.ask("GET")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "send"}, 400),
        ({"action": "send", "content": ""}, 400),
        ({"action": "send", "content": "x", "model": "nowhere"}, 404),
        ({"action": "send", "content": "x", "model": "../../etc/passwd"}, 404),
        ({"action": "send", "content": "x", "parent_id": "m_00"}, 404),
        ({"action": "send", "content": "x", "parameters": {"temperature": 9}}, 400),
        ({"action": "send", "content": "x", "attachments": [{"name": "\n", "text": ""}]}, 400),
        ({"action": "edit", "content": "x"}, 400),
        ({"action": "edit", "content": "x", "message_id": "m_00"}, 404),
        ({"action": "regenerate"}, 400),
        ({"action": "continue"}, 400),
        ({"action": "dance"}, 400),
    ],
)
def test_an_order_that_cannot_be_done_changes_nothing(
    server: Served, body: dict[str, Any], status: int
) -> None:
    talk = begin(server)
    before = talk.whole()

    got, answer = talk.ask("POST", "/answers", body)

    assert got == status and answer["error"]["message"]
    assert talk.whole() == before


def test_a_model_that_is_gone_is_told_and_another_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, {"old": FakeModel(), "new": FakeModel()}) as server:
        talk = begin(server, model="old")
        talk.answer(action="send", content="hello")
        del server.models["old"]
        server.house.forget_found()

        status, refused = talk.ask("POST", "/answers", {"action": "send", "content": "and?"})
        answer = talk.answer(action="send", content="and?", model="new")

        assert (status, refused["error"]["code"]) == (404, "model_not_found")
        assert answer["model"] == talk.whole()["model"] == "new"


def test_old_turns_are_left_out_when_the_engine_says_that_they_do_not_fit(tmp_path: Path) -> None:
    """The fake counts words of the JSON; here each word is so short that bytes tell too little."""
    flags = ("--tokens", "8", "--context", "700")
    with served(tmp_path, {"fake": FakeModel(flags=flags)}) as server:
        talk = begin(server)
        for number in range(6):
            content = f"{number} " + "a " * 120
            answer = talk.answer(action="send", content=content)
            assert answer["state"] == "done", answer["error"]

        sent = server.models["fake"].control("/fake/last")["body"]["messages"]
        assert sent[-1]["content"].startswith("5 ")
        assert 0 < answer["figures"]["left_out_turns"] < 6
        assert len(sent) == 2 * (6 - answer["figures"]["left_out_turns"]) - 1


def test_a_question_that_never_fits_fails_with_the_numbers(tmp_path: Path) -> None:
    with served(tmp_path, {"fake": FakeModel(flags=("--context", "100"))}) as server:
        talk = begin(server)

        answer = talk.answer(action="send", content="a " * 500)

        assert answer["state"] == "failed"
        assert answer["error"]["code"] == "context_length_exceeded"
        assert answer["error"]["num_context_tokens"] == 100


def test_the_number_of_turns_is_bounded_as_set(server: Served) -> None:
    talk = begin(server, max_turns=2)
    for number in range(4):
        answer = talk.answer(action="send", content=f"question {number}")

    sent = server.models["fake"].control("/fake/last")["body"]["messages"]

    assert [one["content"] for one in sent if one["role"] == "user"] == ["question 2", "question 3"]
    assert answer["figures"]["left_out_turns"] == 2
    assert talk.ask("PATCH", "", {"max_turns": 0})[1]["max_turns"] is None


def test_an_answer_that_nobody_wants_any_more_is_stopped(
    slow: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = begin(slow)
    message_id = begun(talk)

    monkeypatch.setattr(answers, "UNWATCHED_S", 0.0)

    assert eventually(lambda: saved(talk, message_id)["state"] == "stopped")
    assert eventually(lambda: slow.models["fake"].num_running() == 0)


def test_records_that_are_locked_lose_nothing(slow: Served, tmp_path: Path) -> None:
    """Another program holds the file for longer than a request may wait."""
    talk = begin(slow)
    message_id = begun(talk)
    other = sqlite3.connect(tmp_path / "data" / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    status, refused = talk.ask("POST", "/messages", {"messages": [{"role": "user", "content": ""}]})
    headers = slow.request("DELETE", "/hearth/conversations")[1]
    other.execute("ROLLBACK")
    other.close()

    assert (status, refused["error"]["code"]) == (503, "records_unavailable")
    assert int(headers.get("retry-after", "0")) >= 1
    stopped = saved(talk, message_id)
    assert stopped["state"] == "stopped"
    with sqlite3.connect(tmp_path / "data" / FILE_NAME) as file:
        assert eventually(
            lambda: (
                file.execute("SELECT content FROM messages WHERE id = ?", (message_id,)).fetchone()
                == (stopped["content"],)
            )
        )
    file.close()


def test_who_waits_is_told_why(tmp_path: Path) -> None:
    flags = ("--tokens", "3", "--ready-after-s", "1.5")
    with served(tmp_path, {"fake": FakeModel(flags=flags)}) as server:
        talk = begin(server)

        with talk.watching("POST", "/answers", {"action": "send", "content": "hello"}) as events:
            assert until(events, "status")["state"] == "loading"
            assert until(events, "end")["answer"]["state"] == "done"


def test_an_answer_that_is_over_can_be_watched_to_its_end(server: Served) -> None:
    talk = begin(server)
    answer = talk.answer(action="send", content="hello")

    with talk.watching("GET", f"/answers/{answer['id']}") as events:
        end = until(events, "end")["answer"]

    assert end | {"updated_at": 0} == answer | {"updated_at": 0}
