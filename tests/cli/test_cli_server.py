"""Verbs that speak to a running server: a real one, with the starter model in a real engine."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.cli.command_line import HEARTH, NOBODY, STARTER, Hearth, served

REVERSE = "write a function that reverses a string"


def test_an_answer_is_alone_on_standard_output(house: Hearth) -> None:
    result = house("run", "starter", REVERSE, "--max-tokens", "40", "--seed", "1")

    assert result.code == 0
    assert result.out.strip()
    assert result.out.endswith("\n")
    assert result.err == ""


def test_without_a_model_the_servers_default_answers(house: Hearth) -> None:
    result = house("run", REVERSE, "--max-tokens", "5", "--json")

    assert result.documents[-1]["model"] == "starter"


def test_a_seed_repeats_an_answer_and_piped_text_is_asked_too(house: Hearth) -> None:
    options = ("--max-tokens", "30", "--seed", "7", "--temperature", "0")
    asked = house("run", "starter", REVERSE, *options)

    assert house("run", "starter", *options, stdin=REVERSE + "\n").out == asked.out
    assert house("run", "-m", "starter", *REVERSE.split(), *options).out == asked.out


def test_json_lines_say_the_pieces_and_then_how_it_ended(house: Hearth) -> None:
    plain = house("run", "starter", REVERSE, "--max-tokens", "12", "--temperature", "0")
    lines = house("run", "starter", REVERSE, "--max-tokens", "12", "--temperature", "0", "--json")

    *pieces, end = lines.documents
    assert "".join(piece["text"] for piece in pieces).rstrip("\n") == plain.out.rstrip("\n")
    assert end["done"] is True
    assert end["finish_reason"] in ("stop", "length")
    assert end["completion_tokens"] <= 12
    assert end["prompt_tokens"] > 0


def test_a_system_prompt_is_sent(house: Hearth) -> None:
    short = house("run", "starter", "hi", "--max-tokens", "1", "--json")
    told = house("run", "starter", "hi", "-s", "x " * 50, "--max-tokens", "1", "--json")

    assert told.documents[-1]["prompt_tokens"] > short.documents[-1]["prompt_tokens"] + 50


def test_a_file_of_prompts_is_answered_in_its_order(house: Hearth) -> None:
    prompts = [f"write the number {number}" for number in range(12)]
    (house.home / "prompts.txt").write_text("\n\n".join(prompts) + "\n")

    result = house("run", "--file", "prompts.txt", "--max-tokens", "8", "--json")

    assert result.code == 0
    assert [line["prompt"] for line in result.documents] == prompts
    assert [line["number"] for line in result.documents] == list(range(1, 13))
    assert all(isinstance(line["response"], str) for line in result.documents)


def test_a_file_of_json_lines_keeps_its_ids(house: Hearth) -> None:
    lines = [{"prompt": "hi", "id": "a"}, {"prompt": "ho\nho", "system": "be brief", "id": 2}]
    text = "\n".join(json.dumps(line) for line in lines)

    result = house("run", "--file", "-", "--max-tokens", "4", "--json", stdin=text)

    assert [(line["id"], line["prompt"]) for line in result.documents] == [
        ("a", "hi"),
        (2, "ho\nho"),
    ]


def test_a_file_for_people_names_each_prompt(house: Hearth) -> None:
    result = house("run", "-f", "-", "--max-tokens", "4", stdin="one\ntwo\n")

    assert "== 1/2: one\n" in result.out
    assert "== 2/2: two\n" in result.out


def test_one_prompt_that_cannot_be_answered_does_not_stop_the_others(house: Hearth) -> None:
    too_long = json.dumps({"prompt": "word " * 20_000})
    text = f'{{"prompt": "hi"}}\n{too_long}\n{{"prompt": "ho"}}\n'

    result = house("run", "--file", "-", "--max-tokens", "4", "--json", stdin=text)

    first, second, third = result.documents
    assert "response" in first
    assert second["error"]["code"] == "context_length_exceeded"
    assert "response" in third
    assert result.code == 2
    assert "maximum context length" in result.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n \n", "no prompts"),
        ('{"prompt": "x"}\nplain', "Line 2 of the file is not a JSON object"),
        ('{"prompt": "x"}\n{"prompt": ""}', "Line 2 of the file has no text"),
    ],
)
def test_a_bad_file_of_prompts_is_refused_before_anything_is_asked(
    house: Hearth, text: str, complaint: str
) -> None:
    result = house("run", "--file", "-", stdin=text)

    assert (result.code, result.out) == (2, "")
    assert complaint in result.err


def test_a_place_in_a_file_is_completed(house: Hearth) -> None:
    (house.home / "app.py").write_text("def add(a, b):\n    return \n\nprint(add(1, 2))\n")

    plain = house("complete", "app.py:2", "--max-tokens", "8", "--temperature", "0")
    document = house("complete", "app.py:2", "--max-tokens", "8", "--temperature", "0", "--json")

    assert plain.code == 0
    assert plain.err == ""
    assert document.document["completion"] == plain.out
    assert document.document["line"] == 2
    assert document.document["file"] == "app.py"


def test_standard_input_is_completed_at_its_end(house: Hearth) -> None:
    result = house("complete", "--max-tokens", "8", stdin="def add(a, b):\n    return a")

    assert result.code == 0
    assert result.err == ""


def test_a_completion_ends_where_its_block_does(house: Hearth) -> None:
    asked = 'def add(a, b):\n    """Add two numbers."""\n'

    result = house(
        *("complete", "-", "--language", "python", "--temperature", "0", "--json"), stdin=asked
    )

    assert result.document["language"] == "Python"
    assert result.document["completion"].strip("\n") == "    return a + b"
    assert result.document["finish_reason"] == "stop"


def test_an_unknown_language_is_told_with_the_nearest(house: Hearth) -> None:
    result = house("complete", "-", "--language", "pyhton", stdin="x = ")

    assert result.code == 2
    assert "'pyhton' is not known" in result.err
    assert "Python" in result.err


def test_a_file_longer_than_the_context_is_completed_from_what_is_near(house: Hearth) -> None:
    # Numbers: the tokenizer has no long tokens for them.
    text = "".join(f"x{number} = {number * 7919}\n" for number in range(4000))
    (house.home / "long.py").write_text(text)

    within = house("complete", "long.py:2000:1", "--max-tokens", "4", "--json")
    at_end = house("complete", "long.py", "--max-tokens", "4", "--json")

    assert within.document["prompt_tokens"] > 1000  # the server cuts around a middle itself
    assert at_end.document["prompt_tokens"] > 1000
    assert "longer than the model's context; not sent: " in at_end.err
    assert "lines before the cursor" in at_end.err


@pytest.mark.parametrize(
    ("place", "code", "complaint"),
    [
        ("missing.py:3", 4, "There is no file 'missing.py'"),
        ("short.py:9", 2, "has 1 lines"),
        ("binary.py", 2, "not text in UTF-8"),
        ("zeros.py", 2, "is a binary file"),
        ("empty.py", 2, "is empty"),
        ("folder", 2, "is a folder"),
        ("short.py:1:9", 2, "has 5 characters"),
    ],
)
def test_a_place_that_is_not_there_is_told(
    house: Hearth, place: str, code: int, complaint: str
) -> None:
    (house.home / "short.py").write_text("x = 1\n")
    (house.home / "binary.py").write_bytes(b"\xff\xfe\x00")
    (house.home / "zeros.py").write_bytes(b"x = 1\0")
    (house.home / "empty.py").write_text("\n\n")
    (house.home / "folder").mkdir(exist_ok=True)

    result = house("complete", place)

    assert result.code == code
    assert complaint in result.err


def test_what_lives_is_shown_and_sent_away(house: Hearth) -> None:
    house("run", "starter", "hi", "--max-tokens", "1")

    (model,) = house("ps", "--json").document
    table = house("ps")
    stopped = house("stop", "starter")
    gone = house("ps")

    assert (model["name"], model["state"]) == ("starter", "ready")
    assert model["memory_bytes"] > 2**20
    assert table.out.splitlines()[1].startswith("starter  ready")
    assert "has left the memory" in stopped.err
    assert gone.out == ""
    assert "was not in memory" in house("stop", "starter").err


def test_the_servers_log_is_shown_and_holds_no_prompt(house: Hearth) -> None:
    house("run", "starter", "a-very-secret-prompt", "--max-tokens", "1")

    everything = house("logs", "-n", "100000")
    last = house("logs", "-n", "1")

    assert "POST /v1/chat/completions 200" in everything.out
    assert "a-very-secret-prompt" not in everything.out
    assert len(last.out.splitlines()) == 1
    assert house("logs", "starter").code == 0
    assert house("logs", "startr").code == 4


def test_following_a_log_prints_what_comes(house: Hearth) -> None:
    with house.started("logs", "-n", "0", "-f", text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        house("ps")

        assert "GET /hearth/ps" in process.stdout.readline()


def test_a_second_server_on_the_same_folder_is_refused(house: Hearth) -> None:
    result = house("serve", "--port", "0")

    assert result.code == 2
    assert f"A server already runs at {house.url}" in result.err


def test_up_finds_the_server_that_runs(house: Hearth) -> None:
    result = house("up")

    assert (result.code, result.out) == (0, f"{house.url}\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("run", "qwen2.5-codr:7b"), "did you mean qwen2.5-coder-7b"),
        (("run", "qwen2.5-coder:7b", "hi"), "`hearth pull qwen2.5-coder-7b`"),
        (("run", "hf:org/repo", "hi"), "`hearth pull hf:org/repo`"),
        (("run", "./missing.gguf", "hi"), "`hearth serve -m ./missing.gguf`"),
        (("stop", "strater"), "did you mean starter"),
    ],
)
def test_a_model_that_is_not_there_exits_4_with_what_helps(
    house: Hearth, arguments: tuple[str, ...], hint: str
) -> None:
    result = house(*arguments)

    assert result.code == 4
    assert hint in result.err


def test_an_environments_server_comes_first(house: Hearth) -> None:
    assert house("ps", variables={"HEARTH_URL": NOBODY}).code == 5
    assert house("ps", variables={"HEARTH_URL": f"{house.url}/v1"}).code == 0


def test_this_machines_server_comes_before_openais_variables(house: Hearth) -> None:
    """Many have OPENAI_BASE_URL set for other programs; a private prompt must not go there."""
    result = house("run", "hi", "--max-tokens", "1", variables={"OPENAI_BASE_URL": NOBODY})

    assert result.code == 0


def test_a_proxy_is_not_asked_for_this_machines_server(house: Hearth) -> None:
    variables = {"HTTP_PROXY": NOBODY, "http_proxy": NOBODY, "ALL_PROXY": NOBODY}

    assert house("ps", variables=variables).code == 0


def test_ctrl_c_stops_an_answer_with_130(house: Hearth) -> None:
    arguments = ("run", "starter", REVERSE, "--max-tokens", "4000", "--temperature", "2")
    process = subprocess.Popen(
        [*HEARTH, *arguments, "--json"],
        env=house.environment,
        cwd=house.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    # A short answer may have ended before the signal came.
    assert process.returncode in (0, 130)
    assert b"Traceback" not in err


def test_keys_guard_a_server_and_commands_say_how(hearth: Hearth) -> None:
    """The operator's own commands need no key; whoever names the address does."""
    created = hearth("keys", "create", "me")
    with served(hearth) as url:
        by_file = hearth("ps")
        without = hearth("ps", variables={"HEARTH_URL": url})
        wrong = hearth("ps", variables={"HEARTH_URL": url, "HEARTH_API_KEY": "sk-wrong"})
        key = {"HEARTH_URL": url, "HEARTH_API_KEY": created.out.strip()}
        right = hearth("ps", variables=key)
        forbidden = hearth("stop", "starter", variables=key)
        revoked = hearth("keys", "revoke", "me")
        after = hearth("ps", variables=key)

    assert (by_file.code, without.code, wrong.code, right.code) == (0, 6, 6, 0)
    assert "HEARTH_API_KEY" in without.err
    assert forbidden.code == 6
    assert (revoked.code, after.code) == (0, 6)


def test_stopping_the_server_waits_until_it_has_gone(hearth: Hearth) -> None:
    with hearth.started("serve", "--port", "0", "--no-page") as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = hearth("stop", "--server")
        process.wait(timeout=60)

    assert result.code == 0
    assert "has stopped" in result.err
    assert process.returncode == 0
    assert hearth("stop", "--server").code == 5


def test_a_path_is_served_under_its_stem(hearth: Hearth) -> None:
    models = hearth.home / "models"
    models.mkdir()
    (models / "my-coder.v2.gguf").write_bytes(STARTER.read_bytes())
    with served(hearth, "-m", "./models/my-coder.v2.gguf"):
        by_default = hearth("run", "hi there", "--max-tokens", "2", "--json")
        by_name = hearth("run", "my-coder.v2", "hi", "--max-tokens", "2", "--json")

    assert by_default.documents[-1]["model"] == "my-coder.v2"
    assert by_name.documents[-1]["model"] == "my-coder.v2"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("-m", "nonsense"), 4, "The model 'nonsense' is not known here"),
        (("-m", "qwen2.5-coder-7b"), 4, "hearth pull"),
        (("-m", "./missing.gguf"), 4, "missing"),
        (("--host", "0.0.0.0"), 2, "without a key"),
        (("--port", "99999"), 2, "at most 65535"),
        (("--hub", "nowhere"), 2, "nowhere"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    hearth: Hearth, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    result = hearth("serve", "--port", "0", *arguments)

    assert result.code == code
    assert complaint in result.err
    assert result.out == ""


def test_a_port_that_is_taken_is_told(hearth: Hearth, house: Hearth) -> None:
    port = house.url.rsplit(":", 1)[1]

    result = hearth("serve", "--port", port)

    assert result.code == 2
    assert f"port {port}" in result.err
