"""While somebody types: the latest request wins, and what is typed along needs no engine."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.served import FakeModel, Served, served

PREFIX = "import os\n\ndef f(a):\n    x ="
SUFFIX = "\n\nf(1)\n"
# Different words: an answer that repeats itself is cut.
WORDS = ["alpha", "beta", *(f"word{number}" for number in range(38))]
SLOW = ("--tokens", "40", "--text", " ".join(WORDS), "--token-delay-s", "0.03")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Served]:
    """A model that needs a second and more for an answer: `alpha beta word0 word1 …`."""
    with served(tmp_path, {"fake": FakeModel(flags=SLOW, num_slots=4)}) as running:
        running.post("/v1/completions", {"prompt": "load", "max_tokens": 1})
        yield running


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Served]:
    """A model that answers ` alpha beta` at once."""
    flags = ("--tokens", "3", "--text", "alpha beta gamma")
    with served(tmp_path, {"fake": FakeModel(flags=flags)}) as running:
        yield running


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


Answer = tuple[dict[str, Any], dict[str, str], float]


def ask(
    server: Served, prefix: str = PREFIX, *, headers: dict[str, str] | None = None, **more: Any
) -> Answer:
    """The answer, its headers, and when it was there."""
    body = {"prompt": prefix, "suffix": SUFFIX, "max_tokens": 64} | more
    status, got, data = server.request("POST", "/v1/completions", body, headers)
    assert status == 200, data
    return json.loads(data), dict(got), time.monotonic()


def text_of(answer: Answer) -> str:
    return str(answer[0]["choices"][0]["text"])


def stats(server: Served) -> dict[str, int]:
    counted: dict[str, int] = server.models["fake"].control("/fake/stats")
    return counted


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def under_way(pool: ThreadPoolExecutor, server: Served, *args: Any, **more: Any) -> Future[Answer]:
    """A request that its engine is at work on."""
    before = stats(server)["running"]
    asked = pool.submit(ask, server, *args, **more)
    wait_until(lambda: stats(server)["running"] > before)
    return asked


# --- The latest wins ---


def test_the_latest_request_ends_the_one_before_within_a_tenth_of_a_second(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    first = under_way(pool, slow)

    began = time.monotonic()
    second = pool.submit(ask, slow, PREFIX + " o")
    answer, headers, ended_at = first.result(10)

    assert ended_at - began < 0.1
    assert headers["x-hearth-overtaken"] == "1"
    assert answer["choices"][0]["finish_reason"] == "length"
    wait_until(lambda: stats(slow)["aborted"] == 1)
    assert text_of(second.result(10)).startswith("alpha beta")


def test_a_stream_is_overtaken_too(slow: Served, pool: ThreadPoolExecutor) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", slow.port)) as connection:
        body = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64, "stream": True}
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        wait_until(lambda: stats(slow)["running"] == 1)

        pool.submit(ask, slow, PREFIX + " o")
        data = connection.getresponse().read()

    assert b'"finish_reason":"length"' in data
    assert data.endswith(b"data: [DONE]\n\n")


def test_a_request_is_answered_where_only_one_fits(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """The one before leaves its slot at once."""
    with served(tmp_path, {"fake": FakeModel(flags=SLOW, num_slots=1)}) as server:
        server.post("/v1/completions", {"prompt": "load", "max_tokens": 1})
        under_way(pool, server)

        began = time.monotonic()
        answer = ask(server, PREFIX + " o", max_tokens=1)

    assert answer[2] - began < 0.5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"headers": {"x-hearth-client": "ada"}}, {"headers": {"x-hearth-client": "bob"}}),
        ({"user": "ada"}, {"user": "bob"}),
        ({"headers": {"User-Agent": "vim"}}, {"headers": {"User-Agent": "zed"}}),
        (
            {"headers": {"X-Forwarded-For": "10.0.0.1"}},
            {"headers": {"X-Forwarded-For": "10.0.0.2"}},
        ),
        ({"filepath": "a.py"}, {"filepath": "b.py"}),
    ],
    ids=str,
)
def test_two_editors_behind_one_key_do_not_end_each_others_requests(
    slow: Served, pool: ThreadPoolExecutor, first: dict[str, Any], second: dict[str, Any]
) -> None:
    one = under_way(pool, slow, **first)
    other = under_way(pool, slow, PREFIX + " o", **second)

    assert "x-hearth-overtaken" not in one.result(10)[1]
    assert "x-hearth-overtaken" not in other.result(10)[1]
    assert stats(slow)["aborted"] == 0


def test_a_program_that_asks_about_many_texts_at_once_gets_all_answers(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    """Nobody said that it is an editor, and the texts are not one text a moment later."""
    asked = [
        pool.submit(ask, slow, f"{number}" * 500, suffix=f"{number}" * 500) for number in range(4)
    ]

    assert all("x-hearth-overtaken" not in one.result(10)[1] for one in asked)


def test_a_named_editor_has_one_request_wherever_its_cursor_is(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    first = under_way(pool, slow, user="ada")

    pool.submit(ask, slow, "x" * 1000 + "\n", suffix="y" * 1000, user="ada")

    assert first.result(10)[1]["x-hearth-overtaken"] == "1"


def test_who_wants_the_models_own_ending_is_no_editor(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    """A batch of holes in one file, asked all at once."""
    asked = [
        pool.submit(ask, slow, PREFIX + "x" * number, user="batch", ending="none")
        for number in range(4)
    ]

    assert all("x-hearth-overtaken" not in one.result(10)[1] for one in asked)


def test_a_warm_up_ends_no_suggestion(slow: Served, pool: ThreadPoolExecutor) -> None:
    first = under_way(pool, slow, user="ada")

    slow.post("/infill", {"input_prefix": "other", "n_predict": 0, "user": "ada"})

    assert "x-hearth-overtaken" not in first.result(10)[1]


def test_leaving_stops_the_engine_also_where_nothing_is_streamed(slow: Served) -> None:
    for path, body in (
        ("/v1/completions", {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64}),
        ("/infill", {"input_prefix": PREFIX, "input_suffix": SUFFIX, "n_predict": 64}),
        ("/api/generate", {"prompt": PREFIX, "suffix": SUFFIX, "stream": False}),
        ("/v1/fim/completions", {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64}),
    ):
        aborted = stats(slow)["aborted"]
        connection = http.client.HTTPConnection("127.0.0.1", slow.port)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        wait_until(lambda: stats(slow)["running"] == 1)

        connection.close()

        wait_until(lambda aborted=aborted: stats(slow)["aborted"] == aborted + 1)  # type: ignore[misc]


# --- Joining what is under way ---


def test_the_same_question_twice_asks_the_engine_once(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    before = stats(slow)["total"]
    first = under_way(pool, slow)

    second = ask(slow)

    assert text_of(second) == text_of(first.result(10))
    assert stats(slow)["total"] == before + 1


def test_who_asks_for_alternatives_gets_them(slow: Served, pool: ThreadPoolExecutor) -> None:
    """minuet asks the same three times at a temperature: three answers are wanted."""
    before = stats(slow)["total"]

    asked = [pool.submit(ask, slow, temperature=0.8) for _ in range(3)]

    assert all("x-hearth-overtaken" not in one.result(10)[1] for one in asked)
    assert stats(slow)["total"] == before + 3


def test_who_types_along_what_is_being_written_joins_it(
    slow: Served, pool: ThreadPoolExecutor
) -> None:
    before = stats(slow)["total"]
    first = under_way(pool, slow)
    typed = "alpha b"
    time.sleep(0.3)  # six words: what is typed must have been written

    second = ask(slow, PREFIX + typed)

    assert first.result(10)[1]["x-hearth-overtaken"] == "1"
    assert (typed + text_of(second)).split() == WORDS
    assert stats(slow)["total"] == before + 1


def test_one_of_two_who_share_an_answer_may_leave(slow: Served, pool: ThreadPoolExecutor) -> None:
    gone = http.client.HTTPConnection("127.0.0.1", slow.port)
    body = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 64}
    gone.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    wait_until(lambda: stats(slow)["running"] == 1)
    stays = pool.submit(ask, slow)
    time.sleep(0.05)

    gone.close()

    assert len(text_of(stays.result(10)).split()) == 40


# --- From memory ---


def test_the_rest_of_a_suggestion_is_answered_without_the_engine(quick: Served) -> None:
    """Of one that was cut for its length only the first half: then there may be more to say."""
    whole = text_of(ask(quick))
    before = stats(quick)["total"]

    for typed in range(1, len(whole) // 2 + 1):
        answer = ask(quick, PREFIX + whole[:typed])
        assert text_of(answer) == whole[typed:]
        assert answer[1]["x-hearth-recalled"] == "1"
    assert stats(quick)["total"] == before


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 63},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"stop": ["q"]},
        {"suffix": "\n\nf(2)\n"},
        {"ending": "none"},
        {"filepath": "other.py"},
        {"prompt": PREFIX + "alpho"},
        {"prompt": PREFIX.replace("os", "re") + "al"},
    ],
    ids=str,
)
def test_another_question_is_asked_anew(quick: Served, change: dict[str, Any]) -> None:
    ask(quick)
    before = stats(quick)["total"]

    body = {"prompt": PREFIX + "al", "suffix": SUFFIX, "max_tokens": 64}
    quick.post("/v1/completions", body | change)

    assert stats(quick)["total"] == before + 1


def test_a_sampled_answer_is_not_repeated_but_typed_along(quick: Served) -> None:
    ask(quick, temperature=0.8)
    before = stats(quick)["total"]

    ask(quick, temperature=0.8)
    ask(quick, PREFIX + "al", temperature=0.8)

    assert stats(quick)["total"] == before + 1


def test_memory_is_not_shared_among_keys(quick: Served) -> None:
    ada, bob = (quick.keys.create(name) for name in ("ada", "bob"))
    ask(quick, headers={"Authorization": f"Bearer {ada}"})
    before = stats(quick)["total"]

    answer = ask(quick, PREFIX + "al", headers={"Authorization": f"Bearer {bob}"})

    assert "x-hearth-recalled" not in answer[1]
    assert stats(quick)["total"] == before + 1


def test_a_suggestion_that_was_typed_to_its_end_is_followed_by_a_new_one(quick: Served) -> None:
    whole = text_of(ask(quick))
    before = stats(quick)["total"]

    ask(quick, PREFIX + whole)

    assert stats(quick)["total"] == before + 1


def test_a_second_client_of_the_same_key_shares_the_memory_of_all_dialects(quick: Served) -> None:
    whole = text_of(ask(quick))
    before = stats(quick)["total"]

    _, answer = quick.post(
        "/v1/fim/completions", {"prompt": PREFIX + "al", "suffix": SUFFIX, "max_tokens": 64}
    )

    assert answer["choices"][0]["message"]["content"] == whole[2:]
    assert stats(quick)["total"] == before


def test_many_threads_of_one_editor_leave_nothing_behind(quick: Served) -> None:
    """All keystrokes and flights are gone when all are answered."""

    def type_on(number: int) -> None:
        for length in range(5):
            ask(quick, f"{PREFIX} {number}{'x' * length}")

    threads = [threading.Thread(target=type_on, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    desk = quick.house.suggestions
    wait_until(lambda: not desk._keystrokes and not desk._flights)
