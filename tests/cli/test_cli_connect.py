"""Clients are pointed at the server, and their own settings lose nothing."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from codehearth.cli.connect.clients import Target, client_apps, find_client
from codehearth.cli.connect.merging import CannotMerge, merged
from codehearth.errors import NotFound
from tests.cli.command_line import Hearth

TARGET = Target("http://127.0.0.1:8123", "starter", "none", 4096)
READERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


def test_line_ends_of_windows_stay() -> None:
    text = '{\r\n  "a": 1\r\n}\r\n'

    changed = merged(text, '{"b": 2}', format="json")

    assert json.loads(changed) == {"a": 1, "b": 2}
    assert "\n" not in changed.replace("\r\n", "")
    assert merged(changed, '{"b": 2}', format="json") == changed


# --- The table ---


def test_the_page_can_say_every_row_in_both_languages() -> None:
    table = tomllib.loads((files("codehearth.data") / "clients.toml").read_text("utf-8"))

    for name, row in table.items():
        assert row["group"] in ("editor", "agent"), name
        assert row["uses"] and set(row["uses"]) <= {"fim", "chat", "messages", "responses"}, name
        assert row["works_zh"] and ("then" in row) == ("then_zh" in row), name


@pytest.mark.parametrize("name", client_apps())
def test_each_client_is_told_address_and_model(name: str) -> None:
    app = client_apps()[name]

    text = app.text(TARGET)

    assert "8123" in text
    assert "starter" in text or name == "tabby"  # its protocol names no model
    assert text.endswith("\n")
    assert app.works
    assert not app.works.endswith(".")
    assert app.cannot.endswith(".")
    if app.format in READERS:
        assert READERS[app.format](text)
        assert app.can_be_written
        assert not app.file("linux").startswith("/")
        assert not app.file("darwin").startswith("/")


@pytest.mark.parametrize(
    ("name", "found"),
    [("Zed", "zed"), ("llama-vscode", "llama.vscode"), ("claude-code", "claude")],
)
def test_clients_are_found_by_what_people_call_them(name: str, found: str) -> None:
    assert find_client(name).name == found


@pytest.mark.parametrize(
    ("name", "hint"), [("contiue", "did you mean continue?"), ("xyzzy", "lists them")]
)
def test_an_unknown_client_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        find_client(name)

    assert hint in str(caught.value.hint)


def test_what_cannot_be_pointed_at_us_is_said() -> None:
    with pytest.raises(NotFound, match="cannot be pointed"):
        find_client("cursor")


# --- Merging ---


def addition(name: str) -> tuple[str, dict[str, Any]]:
    app = client_apps()[name]
    return app.text(TARGET), {"format": app.format, "list_key": app.list_key}


@pytest.mark.parametrize("name", [n for n, app in client_apps().items() if app.can_be_written])
def test_a_new_file_is_what_is_printed_and_a_second_time_changes_nothing(name: str) -> None:
    text, how = addition(name)

    once = merged("", text, **how)

    assert once == text
    assert merged(once, text, **how) == once


def test_plain_json_keeps_its_entries_order_and_indentation() -> None:
    text, how = addition("claude")
    before = (
        '{\n    "model": "opus",\n    "env": {"A": "1", "ANTHROPIC_MODEL": "x"},\n    "é": []\n}\n'
    )

    made = merged(before, text, **how)

    document = json.loads(made)
    assert list(document) == ["model", "env", "é"]
    assert document["env"]["A"] == "1"
    assert document["env"]["ANTHROPIC_MODEL"] == "starter"
    assert '\n    "model": "opus"' in made
    assert "é" in made


def test_json_with_comments_gets_new_keys_and_keeps_every_word() -> None:
    text, how = addition("zed")
    before = (
        '// mine\n{\n  // the theme\n  "theme": "One", /* "x": 1 */\n  "url": "http://a//b",\n}\n'
    )

    made = merged(before, text, **how)

    assert made.endswith(before.partition("{")[2])
    assert made.startswith("// mine\n{\n")
    assert '"api_url": "http://127.0.0.1:8123/v1/completions"' in made
    assert merged(made, text, **how) == made


def test_json_with_comments_that_has_our_key_is_left_alone() -> None:
    text, how = addition("zed")

    with pytest.raises(CannotMerge, match="comments"):
        merged('{\n  // mine\n  "edit_predictions": {}\n}\n', text, **how)


def test_a_list_of_json_gets_our_entry_in_place_of_the_old_one() -> None:
    text, how = addition("vscode")
    before = json.dumps([{"name": "other"}, {"name": "CodeHearth", "models": []}])

    document = json.loads(merged(before, text, **how))

    assert [entry["name"] for entry in document] == ["other", "CodeHearth"]
    assert document[1]["models"][0]["id"] == "starter"


def test_toml_gets_our_tables_at_its_end() -> None:
    text, how = addition("tabby")
    before = 'theme = "dark"  # mine\n\n[logs]\nlevel = "silent"\n'

    made = merged(before, text, **how)

    assert made.startswith(before)
    assert tomllib.loads(made).keys() == {"theme", "logs", *tomllib.loads(text)}
    assert merged(made, text, **how) == made


def test_codex_gets_a_profile_of_its_own_file() -> None:
    """Codex 0.171 refuses a profile that stands in config.toml."""
    text, how = addition("codex")
    profile = tomllib.loads(merged("", text, **how))

    assert find_client("codex").file("linux") == ".codex/codehearth.config.toml"
    assert (profile["model_provider"], profile["model"]) == ("codehearth", "starter")
    assert profile["model_providers"]["codehearth"]["wire_api"] == "responses"
    assert merged(text, text, **how) == text


def test_toml_with_our_table_and_other_values_is_left_alone() -> None:
    text, how = addition("tabby")

    with pytest.raises(CannotMerge, match=r"\[server\]"):
        merged('[server]\nendpoint = "http://elsewhere"\n', text, **how)


YAML = """\
name: Mine  # a comment
version: 0.0.1
schema: v1

models:
  # first
  - name: other
    provider: ollama

rules:
  - be brief
"""


def test_yaml_gets_entries_behind_the_others() -> None:
    text, how = addition("continue")

    made = merged(YAML, text, **how)

    document = yaml.safe_load(made)
    assert document["name"] == "Mine"
    assert document["rules"] == ["be brief"]
    names = [model["name"] for model in document["models"]]
    assert names == ["other", "CodeHearth", "CodeHearth completion"]
    assert all(line in made.split("\n") for line in YAML.split("\n"))
    assert merged(made, text, **how) == made


@pytest.mark.parametrize("dash", ["- name: other", "    - name: other"])
def test_yaml_entries_stand_like_the_others(dash: str) -> None:
    text, how = addition("continue")

    made = merged(f"schema: v1\nmodels:\n{dash}\nname: x\nversion: 1.0.0\n", text, **how)

    assert len(yaml.safe_load(made)["models"]) == 3


def test_yaml_without_the_list_gets_it() -> None:
    text, how = addition("continue")

    made = merged("name: Mine\nrules: []\n", text, **how)

    document = yaml.safe_load(made)
    assert (document["name"], document["rules"], len(document["models"])) == ("Mine", [], 2)


@pytest.mark.parametrize(
    ("name", "before", "complaint"),
    [
        ("aider", "model: gpt\n", "model already"),
        ("aider", "- a\n- b\n", "not a table"),
        ("aider", "a: [\n", "cannot be read"),
        ("continue", "models: [{name: other}]\n", "a line of its own kind"),
        ("continue", "models:\n  - name: CodeHearth\n    model: x\n", "with other values"),
        ("zed", '{"a": }', "cannot be read"),
        ("codex", "a = \n", "cannot be read"),
    ],
)
def test_what_cannot_be_changed_safely_is_left_alone(
    name: str, before: str, complaint: str
) -> None:
    text, how = addition(name)

    with pytest.raises(CannotMerge, match=complaint):
        merged(before, text, **how)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(st.sampled_from("ab/*,]} "), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "theme", "//", "/*"]), VALUES, min_size=1))
@example({"a": "// "})  # it looks like a comment
def test_no_setting_is_lost_whatever_the_file_holds(before: dict[str, Any]) -> None:
    text, how = addition("zed")
    plain = json.dumps(before, indent=2)

    for content in (plain, "// a comment\n" + plain, plain.replace("\n}", "\n  // end\n}")):
        made = merged(content, text, **how)

        lines = (line for line in made.split("\n") if not line.strip().startswith("// "))
        read = json.loads("\n".join(lines))
        assert {key: read[key] for key in before} == before
        assert "edit_predictions" in read


# --- The command ---


def test_the_clients_are_listed(hearth: Hearth) -> None:
    listed = hearth("connect").out

    assert listed.splitlines()[0].startswith("continue ")
    assert len(hearth("connect", "--json").document) == len(client_apps())


def test_the_lines_have_the_live_address_and_the_model(house: Hearth) -> None:
    plain = house("connect", "minuet")
    document = house("connect", "zed", "--json").document

    assert f'end_point = "{house.url}/v1/completions"' in plain.out
    assert 'model = "starter"' in plain.out
    assert "Works: " in plain.err
    assert document["url"] == house.url
    assert document["model"] == "starter"
    assert document["file"].endswith(".config/zed/settings.json")
    assert '"max_tokens": 4096' in document["configuration"]


def test_without_a_server_the_next_ones_address_is_given(hearth: Hearth) -> None:
    result = hearth("connect", "aider")

    assert result.code == 0
    assert "No server is running" in result.err
    assert "openai-api-base: http://127.0.0.1:" in result.out


def test_a_file_is_written_after_the_difference_and_what_it_was_is_kept(hearth: Hearth) -> None:
    path = hearth.home / ".config" / "zed" / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text('{\n  "theme": "One"\n}\n')
    path.chmod(0o640)

    asked = hearth("connect", "zed", "--write")
    written = hearth("connect", "zed", "--write", "--yes")
    again = hearth("connect", "zed", "--write", "--yes")

    assert asked.code == 2
    assert "add --yes" in asked.err
    assert '+  "edit_predictions": {' in written.err
    assert written.code == 0
    assert json.loads(path.read_text())["theme"] == "One"
    assert "open_ai_compatible_api" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    backup = path.with_name("settings.json.before-hearth")
    assert backup.read_text() == '{\n  "theme": "One"\n}\n'
    assert "says so already" in again.err
    assert list(path.parent.iterdir()) in ([path, backup], [backup, path])


def test_a_new_file_is_made_with_its_folder_for_the_user_alone(hearth: Hearth) -> None:
    result = hearth("connect", "tabby", "--write", "--yes")

    path = hearth.home / ".tabby-client" / "agent" / "config.toml"
    assert result.code == 0
    assert tomllib.loads(path.read_text())["server"]["token"] == "none"
    assert path.stat().st_mode & 0o077 == 0


def test_a_link_stays_a_link(hearth: Hearth, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.yml"
    real.write_text("dark-mode: true\n")
    (hearth.home / ".aider.conf.yml").symlink_to(real)

    hearth("connect", "aider", "--write", "--yes")

    assert (hearth.home / ".aider.conf.yml").is_symlink()
    assert yaml.safe_load(real.read_text())["dark-mode"] is True
    assert "openai-api-base" in real.read_text()


@pytest.mark.parametrize(
    ("client", "code", "complaint"),
    [
        ("minuet", 2, "cannot be written by another program"),
        ("cline", 2, "cannot be written by another program"),
        ("nobody", 4, "There is no client 'nobody'"),
        ("cursor", 4, "cannot be pointed at another server"),
    ],
)
def test_what_cannot_be_written_says_why(
    hearth: Hearth, client: str, code: int, complaint: str
) -> None:
    result = hearth("connect", client, "--write", "--yes")

    assert result.code == code
    assert complaint in result.err


def test_a_file_that_cannot_be_changed_safely_is_left_as_it_is(hearth: Hearth) -> None:
    path = hearth.home / ".aider.conf.yml"
    path.write_text("model: gpt\n")

    result = hearth("connect", "aider", "--write", "--yes")

    assert result.code == 1
    assert "was left as it is" in result.err
    assert path.read_text() == "model: gpt\n"
    assert list(hearth.home.glob(".aider*")) == [path]


def test_where_keys_are_wanted_a_placeholder_stands_for_one(hearth: Hearth) -> None:
    made = hearth("keys", "create", "somebody")

    result = hearth("connect", "aider")

    assert "openai-api-key: YOUR-KEY" in result.out
    assert "hearth keys create aider" in result.err
    assert made.out.strip() not in result.out
