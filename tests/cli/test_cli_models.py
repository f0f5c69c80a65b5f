"""Verbs about models on disk, with a loopback hub as the only hub there is."""

from __future__ import annotations

import json
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from codehearth.errors import DoesNotFit
from codehearth.models.catalogue import catalogue
from tests.cli.command_line import STARTER, Hearth, served
from tests.cli.test_cli_chat import terminal
from tests.models.loopback_hub import LoopbackHub
from tests.tiny_models import make_gguf

REPO = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A GGUF with random weights, small enough to be many files of a hub."""
    return make_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf").read_bytes()


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture
def online(hearth: Hearth, hub: LoopbackHub) -> Hearth:
    hearth.variables |= {"HF_ENDPOINT": hub.endpoint, "MODELSCOPE_ENDPOINT": hub.endpoint}
    return hearth


def test_the_starter_is_always_here(hearth: Hearth) -> None:
    table = hearth("ls")
    (entry,) = hearth("ls", "--json").document

    assert table.out.splitlines()[1].startswith("starter ")
    assert (entry["name"], entry["is_here"], entry["source"]) == ("starter", True, "package")
    assert entry["num_bytes"] == STARTER.stat().st_size


def test_all_lists_what_the_catalogue_knows(hearth: Hearth) -> None:
    entries = {entry["name"]: entry for entry in hearth("ls", "--all", "--json").document}

    assert {row.name for row in catalogue().values() if row.files} <= entries.keys()
    assert not entries["qwen2.5-coder-7b"]["is_here"]
    assert "(not here)" in hearth("ls", "--all").out


def test_fits_lists_only_what_fits_at_a_precision_that_does(hearth: Hearth) -> None:
    entries = hearth("ls", "--all", "--fits", "--json").document

    names = [entry["name"] for entry in entries]
    assert names[0] == "starter"
    assert not any(name.startswith("qwen3-coder-480b") for name in names)
    for entry in entries[1:]:
        fit = hearth("fit", entry["name"], "--json") if entry is entries[1] else None
        assert entry["fits"]
        assert fit is None or fit.code == 0


def test_show_tells_what_the_weights_and_the_catalogue_say(hearth: Hearth) -> None:
    document = hearth("show", "starter", "--json").document
    text = hearth("show", "starter").out

    assert document["architecture"] == "qwen2"
    assert document["can_chat"] and document["can_infill"] and not document["can_embed"]
    assert document["licence"] == "mit"
    assert document["path"] == str(STARTER)
    assert "chat, fill in the middle" in text
    described, _, packages = STARTER.with_name("starter.md").read_text().partition("\n## Data\n")
    assert described.strip() in text
    assert packages.strip() not in text


def test_show_tells_what_is_published_about_a_model_that_is_not_here(hearth: Hearth) -> None:
    document = hearth("show", "qwen2.5-coder:7b", "--json").document

    assert not document["is_here"]
    assert "hf:Qwen/Qwen2.5-Coder-7B-Instruct-GGUF" in document["sources"]
    assert "ms:Qwen/Qwen2.5-Coder-7B-Instruct-GGUF" in document["sources"]
    assert any("HumanEval" in figure for figure in document["figures"])


def test_show_reads_a_path(hearth: Hearth, tiny: bytes) -> None:
    (hearth.home / "mine.gguf").write_bytes(tiny)

    document = hearth("show", "./mine.gguf", "--json").document

    assert (document["name"], document["source"]) == ("mine", "path")


@pytest.mark.parametrize("verb", ["show", "fit", "pull", "rm"])
def test_an_unknown_model_exits_4_and_suggests_one(hearth: Hearth, verb: str) -> None:
    result = hearth(verb, "qwen2.5-codr-7b")

    assert result.code == 4
    assert "did you mean qwen2.5-coder-7b" in result.err


def test_a_damaged_file_is_told_and_not_a_mistake_of_ours(hearth: Hearth) -> None:
    (hearth.home / "bad.gguf").write_bytes(b"GGUF" + bytes(1000))

    result = hearth("show", "./bad.gguf")

    assert result.code == 1
    assert "mistake" not in result.err


def test_fit_shows_parts_that_add_up(hearth: Hearth) -> None:
    document = hearth("fit", "starter", "--ctx", "2k", "--slots", "2", "--json").document
    table = hearth("fit", "starter", "--ctx", "2048").out

    assert (document["context_tokens"], document["num_slots"]) == (2048, 2)
    assert sum(document["parts_bytes"].values()) == document["total_bytes"]
    assert not document["is_estimate"]
    for word in ("weights", "context", "together", "free now"):
        assert word in table


def test_fit_estimates_what_is_not_here_and_says_so(hearth: Hearth) -> None:
    result = hearth("fit", "qwen2.5-coder-0.5b")

    assert result.code == 0
    assert "estimate" in result.out


def test_what_cannot_fit_exits_3_with_both_numbers_and_what_would(hearth: Hearth) -> None:
    result = hearth("fit", "qwen3-coder-480b-a35b:q8_0")

    assert result.code == DoesNotFit.exit_code == 3
    assert result.err.count("GiB") >= 2
    assert "hint: " in result.err


@pytest.mark.parametrize("context", ["0", "many", "-5", "99999999999999"])
def test_a_context_that_is_no_number_of_tokens_is_refused(hearth: Hearth, context: str) -> None:
    assert hearth("fit", "starter", f"--ctx={context}").code == 2


def test_a_model_is_pulled_listed_run_and_removed(online: Hearth, hub: LoopbackHub) -> None:
    hub.add(REPO, {"qwen2.5-coder-0.5b-instruct-q8_0.gguf": STARTER.read_bytes()})

    pulled = online("pull", "qwen2.5-coder:0.5b-q8_0")
    listed = online("ls", "--json").document
    answer = online("run", "qwen2.5-coder-0.5b", "hi", "--max-tokens", "2", "--json")
    planned = online("rm", "qwen2.5-coder-0.5b", "--dry-run")
    unasked = online("rm", "qwen2.5-coder-0.5b")
    removed = online("rm", "qwen2.5-coder-0.5b", "--yes")

    assert (pulled.code, pulled.out) == (0, "")
    assert "'qwen2.5-coder-0.5b:q8_0' is here" in pulled.err
    assert listed[1]["name"] == "qwen2.5-coder-0.5b:q8_0"
    assert listed[1]["source"] == f"hf:{REPO}"
    assert answer.documents[-1]["model"] == "qwen2.5-coder-0.5b:q8_0"
    assert planned.out.strip().endswith("q8_0.gguf")
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert removed.code == 0
    assert not Path(planned.out.strip()).exists()
    assert len(online("ls", "--json").document) == 1


def test_progress_is_lines_of_json_when_asked_for(
    online: Hearth, hub: LoopbackHub, tiny: bytes
) -> None:
    hub.add("org/coder-GGUF", {"coder-Q8_0.gguf": tiny})

    *reports, ready = online("pull", "hf:org/coder-GGUF", "--json").documents

    assert {report["stage"] for report in reports} <= {"plan", "download", "verify", "done"}
    assert reports[-1]["done_bytes"] == len(tiny)
    assert ready["model"] == "hf:org/coder-GGUF:q8_0"
    assert Path(ready["path"]).read_bytes() == tiny


def test_a_pull_that_is_interrupted_goes_on_where_it_was(online: Hearth, hub: LoopbackHub) -> None:
    body = STARTER.read_bytes()
    hub.add("org/coder-GGUF", {"coder-Q8_0.gguf": body})
    reached, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        goes_on.wait(60)

    hub.faults.at_offset = {4_000_000: hold}
    with online.started("pull", "hf:org/coder-GGUF") as process:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        goes_on.set()
        _, err = process.communicate(timeout=60)
    hub.faults.at_offset = {}
    again = online("pull", "hf:org/coder-GGUF")

    # The rest may have come before the signal was seen.
    assert process.returncode in (130, 0)
    assert process.returncode == 0 or b"`hearth pull hf:org/coder-GGUF` goes on" in err
    assert b"Traceback" not in err
    assert again.code == 0


def test_where_no_hub_answers_a_pull_fails_and_says_so(hearth: Hearth) -> None:
    result = hearth("pull", "qwen2.5-coder-0.5b")

    assert result.code == 1
    assert "could not be reached" in result.err


def test_a_terminal_sees_a_bar(online: Hearth, hub: LoopbackHub, tiny: bytes) -> None:
    hub.add("org/coder-GGUF", {"coder-Q8_0.gguf": tiny})

    with terminal(online, "pull", "hf:org/coder-GGUF") as screen:
        screen.wait_for("is here")

        assert screen.end() == 0


def test_run_fetches_a_model_when_told_to(online: Hearth, hub: LoopbackHub) -> None:
    hub.add(REPO, {"qwen2.5-coder-0.5b-instruct-q8_0.gguf": STARTER.read_bytes()})

    result = online("run", "qwen2.5-coder:0.5b-q8_0", "hi", "--yes", "--max-tokens", "2", "--json")

    assert result.code == 0
    assert result.documents[-1]["model"] == "qwen2.5-coder-0.5b:q8_0"


class TestUp:
    """The first command of a newcomer."""

    def test_without_a_hub_the_starter_is_served(self, hearth: Hearth) -> None:
        with hearth.started("up", "--port", "0", "--no-page", "--yes") as process:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            answer = hearth("run", "hi", "--max-tokens", "1", "--json")
            hearth("stop", "--server")
            _, err = process.communicate(timeout=60)

        assert url.startswith("http://127.0.0.1:")
        assert answer.documents[-1]["model"] == "starter"
        assert b"This machine: " in err
        assert b"No key is needed" in err
        assert process.returncode == 0

    def test_what_was_made_of_the_starter_does_not_take_its_place(self, hearth: Hearth) -> None:
        """After `hearth measure starter` one of its small precisions was served, by its name."""
        assert hearth("quantize", "starter", "--to", "q8_0,q2_k").code == 0

        with hearth.started("up", "--port", "0", "--no-page", "--offline") as process:
            assert process.stdout is not None
            process.stdout.readline()
            hearth("stop", "--server")
            _, err = process.communicate(timeout=60)

        assert b"Serving 'starter', a very small model" in err

    def test_the_best_model_that_fits_is_fetched_and_served(
        self, online: Hearth, hub: LoopbackHub, tiny: bytes
    ) -> None:
        for row in catalogue().values():
            for files in row.files:
                if files.format == "gguf" and files.huggingface:
                    name = f"{row.title}-{files.precision.upper()}.gguf"
                    known = hub.repositories.get(files.huggingface)
                    others = known.commits.pop().files if known else {}
                    hub.add(files.huggingface, {**others, name: tiny})

        with online.started("up", "--port", "0", "--no-page", "--yes") as process:
            assert process.stdout is not None
            process.stdout.readline()
            (_, served_model) = online("ls", "--json").document
            answer = online("run", "hi", "--max-tokens", "1", "--json")
            online("stop", "--server")
            _, err = process.communicate(timeout=60)

        assert f"The best model for it is {served_model['name']}".encode() in err
        assert answer.documents[-1]["model"] == served_model["name"]

    def test_nobody_is_asked_without_a_terminal(self, online: Hearth, hub: LoopbackHub) -> None:
        with online.started("up", "--port", "0", "--no-page") as process:
            assert process.stdout is not None
            process.stdout.readline()
            online("stop", "--server")
            _, err = process.communicate(timeout=60)

        assert b"add --yes" in err
        assert b"Serving 'starter'" in err

    def test_somebody_at_a_terminal_is_asked_and_may_say_no(
        self, online: Hearth, hub: LoopbackHub
    ) -> None:
        with terminal(online, "up", "--port", "0", "--no-page") as screen:
            asked = screen.wait_for("[Y/n]:")
            screen.type("n\n")
            screen.wait_for("serves 'starter' to any OpenAI client")
            stopped = online("stop", "--server")

            assert "Fetch it now (about " in asked
            assert stopped.code == 0
            assert screen.end() == 0

    def test_where_others_can_reach_it_a_key_is_made_and_needed(self, hearth: Hearth) -> None:
        arguments = ("up", "--port", "0", "--no-page", "--offline", "--host", "0.0.0.0")
        with hearth.started(*arguments) as process:
            assert process.stdout is not None
            key = process.stdout.readline().decode().strip()
            url = process.stdout.readline().decode().strip()
            variables = {"HEARTH_URL": url, "HEARTH_API_KEY": key}
            with_key = hearth("ps", variables=variables)
            without = hearth("ps", variables={"HEARTH_URL": url})

        assert key.startswith("sk-")
        assert (with_key.code, without.code) == (0, 6)


def test_doctor_finds_a_healthy_machine(hearth: Hearth) -> None:
    report = {check["name"]: check for check in hearth("doctor", "--json").document}
    text = hearth("doctor")

    assert text.code == 0
    assert report["starter"]["state"] == "ok"
    assert "tokens a second" in report["starter"]["detail"]
    assert report["hubs"]["state"] == "warn"
    assert "ok    engine" in text.out


def test_whatever_is_run_first_others_cannot_read_the_data_folder(hearth: Hearth) -> None:
    """A bundle's `install.sh` made it readable to everybody; keys and conversations go there."""
    hearth("ls")

    assert stat.S_IMODE(hearth.data.stat().st_mode) == 0o700


def test_doctor_names_what_is_wrong_and_exits_1(hearth: Hearth) -> None:
    variables = {
        "HEARTH_PROT": "1",
        "HEARTH_PORT": "many",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
    }

    result = hearth("doctor", "--json", variables=variables)

    checks = json.loads(result.out)
    settings = [check for check in checks if check["name"] == "settings"]
    assert result.code == 1
    assert [check["state"] for check in settings] == ["fail", "warn"]
    assert settings[1]["hint"] == "did you mean HEARTH_PORT?"
    assert next(check for check in checks if check["name"] == "proxy")["state"] == "warn"
    assert next(check for check in checks if check["name"] == "hubs")["state"] == "ok"
    assert "error: Failed: settings." in result.err


def test_doctor_sees_the_server_that_runs(house: Hearth) -> None:
    checks = {check["name"]: check for check in house("doctor", "--json").document}

    assert checks["server"]["detail"] == f"runs at {house.url}"


def test_a_model_served_by_path_is_listed_by_that_server(hearth: Hearth, tiny: bytes) -> None:
    (hearth.home / "mine.gguf").write_bytes(tiny)

    with served(hearth, "-m", "./mine.gguf", "--no-preload"), terminal(hearth, "run") as screen:
        screen.wait_for(">>> ")

        assert "* mine" in screen.say("/model")


@pytest.mark.parametrize(
    "words",
    [("show",), ("measure",), ("quantize", "--to", "q8_0"), ("tune", "--data", __file__)],
    ids=lambda words: words[0],
)
def test_a_file_that_is_not_there_is_named(hearth: Hearth, words: tuple[str, ...]) -> None:
    verb, *others = words

    done = hearth(verb, "./nowhere.gguf", *others)

    assert (done.code, done.out) == (4, "")
    assert "There is nothing at 'nowhere.gguf'." in done.err
